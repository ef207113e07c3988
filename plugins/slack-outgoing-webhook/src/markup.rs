//! Slack's markup: control forms (`<...>`) and the three character entities.
//!
//! Other marks of the format (`*bold*`, `` `code` ``) stay, because they are readable as they are.
//! Slack documents the format at <https://docs.slack.dev/messaging/formatting-message-text>.

use memchr::memchr3;
use tocsin_plugin_kit::text::is_blank;

/// Visible text of a control form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown<'a> {
    pub(crate) before: &'static str,
    /// Main part. Its entities are not resolved yet.
    pub(crate) text: &'a str,
    pub(crate) after: &'static str,
    /// Set for a URL, a mention or the name of a channel, which are no words of the author.
    pub(crate) is_reference: bool,
}

impl<'a> Shown<'a> {
    fn words(before: &'static str, text: &'a str, after: &'static str) -> Self {
        Self { before, text, after, is_reference: false }
    }

    fn name(sigil: &'static str, name: &'a str) -> Self {
        let text = name.strip_prefix(sigil).unwrap_or(name);
        Self { before: sigil, text, after: "", is_reference: true }
    }

    fn url(url: &'a str) -> Self {
        Self { before: "", text: url, after: "", is_reference: true }
    }
}

/// Resolves the control form at the beginning of `text`, and returns the text after it.
pub(crate) fn control_form(text: &str) -> Option<(Shown<'_>, &str)> {
    let inside = text.strip_prefix('<')?;
    let (form, closed) = inside.split_at_checked(memchr3(b'<', b'>', b'\n', inside.as_bytes())?)?;
    Some((shown(form)?, closed.strip_prefix('>')?))
}

/// Returns the visible text of a control form. A form of no other kind is a link, because Slack
/// escapes every bracket that people type.
fn shown(form: &str) -> Option<Shown<'_>> {
    let (target, label) = form.split_once('|').unwrap_or((form, ""));
    let label = Some(label).filter(|label| !is_blank(label));
    if let Some(user) = target.strip_prefix('@').filter(|user| is_id(user)) {
        return Some(Shown::name("@", label.unwrap_or(user)));
    }
    if let Some(channel) = target.strip_prefix('#').filter(|channel| is_id(channel)) {
        return Some(Shown::name("#", label.unwrap_or(channel)));
    }
    if let Some(command) = target.strip_prefix('!').filter(|command| !is_blank(command)) {
        return Some(special(command, label));
    }
    match label {
        Some(label) => Some(Shown::words("", label, "")),
        None => (!is_blank(target)).then(|| Shown::url(target)),
    }
}

fn special<'a>(command: &'a str, label: Option<&'a str>) -> Shown<'a> {
    if ["here", "channel", "everyone", "group"].contains(&command) {
        return Shown::name("@", command);
    }
    if let Some(group) = command.strip_prefix("subteam^").filter(|group| is_id(group)) {
        return Shown::name("@", label.unwrap_or(group));
    }
    if let Some(fallback) = label.filter(|_| command.starts_with("date^")) {
        return Shown::words("", fallback, "");
    }
    Shown::words("<", label.unwrap_or(command), ">")
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Resolves the entity at the beginning of `text`, and returns the text after it.
pub(crate) fn entity(text: &str) -> Option<(char, &str)> {
    [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&')]
        .into_iter()
        .find_map(|(entity, character)| Some((character, text.strip_prefix(entity)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the visible text of a control form, and `is_reference`.
    fn seen(text: &str) -> Option<(String, bool)> {
        let (Shown { before, text, after, is_reference }, rest) = control_form(text)?;
        assert_eq!(rest, "");
        Some((format!("{before}{text}{after}"), is_reference))
    }

    #[track_caller]
    fn assert_reference(form: &str, shown: &str) {
        assert_eq!(seen(form), Some((shown.into(), true)), "{form}");
    }

    #[track_caller]
    fn assert_words(form: &str, shown: &str) {
        assert_eq!(seen(form), Some((shown.into(), false)), "{form}");
    }

    #[test]
    fn users_are_mentioned_by_name_or_id() {
        assert_reference("<@U1|bob>", "@bob");
        assert_reference("<@U1|@bob>", "@bob");
        assert_reference("<@U1>", "@U1");
        assert_reference("<@U1|>", "@U1");
    }

    #[test]
    fn channels_are_named_by_name_or_id() {
        assert_reference("<#C1|ops>", "#ops");
        assert_reference("<#C1>", "#C1");
        assert_reference("<#C1|>", "#C1");
    }

    #[test]
    fn everyone_is_mentioned_with_or_without_a_label() {
        for name in ["here", "channel", "everyone", "group"] {
            assert_reference(&format!("<!{name}>"), &format!("@{name}"));
            assert_reference(&format!("<!{name}|{name}>"), &format!("@{name}"));
            assert_reference(&format!("<!{name}|@{name}>"), &format!("@{name}"));
        }
    }

    #[test]
    fn groups_are_mentioned_by_handle_or_id() {
        assert_reference("<!subteam^S1|@oncall>", "@oncall");
        assert_reference("<!subteam^S1|oncall>", "@oncall");
        assert_reference("<!subteam^S1>", "@S1");
        assert_reference("<!subteam^S1|>", "@S1");
    }

    #[test]
    fn dates_show_their_fallback() {
        assert_words("<!date^1392734382^{date} at {time}|Feb 18, 2014>", "Feb 18, 2014");
        assert_words("<!date^1^{date}^https://example.com/|today>", "today");
        assert_words("<!date^1^{date}>", "<date^1^{date}>");
    }

    #[test]
    fn unknown_commands_keep_their_brackets() {
        assert_words("<!foo|label>", "<label>");
        assert_words("<!foo>", "<foo>");
        assert_words("<!foo|>", "<foo>");
        assert_words("<!subteam^>", "<subteam^>");
        assert_words("<!--x-->", "<--x-->");
    }

    #[test]
    fn links_show_their_label_or_else_their_url() {
        assert_words("<https://example.com/high|graph>", "graph");
        assert_words("<https://example.com|a|b>", "a|b");
        assert_reference("<http://example.com/>", "http://example.com/");
        assert_reference("<https://example.com/|>", "https://example.com/");
        assert_reference("<HTTPS://example.com>", "HTTPS://example.com");
        assert_reference("<mailto:bob@example.com>", "mailto:bob@example.com");
        assert_words("<mailto:bob@example.com|bob@example.com>", "bob@example.com");
    }

    #[test]
    fn links_have_any_scheme_or_none() {
        for url in [
            "tel:+15551234567",
            "callto:bob",
            "sip:bob@example.com",
            "ftp://example.com/high",
            "slack://channel?team=T1&id=C1",
            "vscode+x:high",
            "#/critical",
            "high",
            "https://",
            "!",
            "@U1 x",
            "é",
        ] {
            assert_reference(&format!("<{url}>"), url);
            assert_reference(&format!("<{url}|>"), url);
            assert_words(&format!("<{url}|call>"), "call");
        }
        assert_words("<|x>", "x");
    }

    #[test]
    fn a_blank_label_counts_as_none() {
        for label in [" ", "\u{200B}", "\u{2800}", "\u{3164}", "\u{E0067}"] {
            assert_reference(&format!("<https://example.com/|{label}>"), "https://example.com/");
            assert_reference(&format!("<@U1|{label}>"), "@U1");
            assert_words(&format!("<!foo|{label}>"), "<foo>");
        }
    }

    #[test]
    fn empty_and_unclosed_brackets_stay() {
        for other in ["<", "<>", "<|>", "< | >", "<\u{2800}>", "<@U1", "<@U1\n>", "<@U1<"] {
            assert_eq!(control_form(other), None, "{other}");
        }
    }

    #[test]
    fn a_form_ends_at_its_closing_bracket() {
        let (_, rest) = control_form("<@U1> and <@U2>").expect("a mention");
        assert_eq!(rest, " and <@U2>");
    }

    #[test]
    fn only_three_entities_are_resolved() {
        assert_eq!(entity("&lt;b"), Some(('<', "b")));
        assert_eq!(entity("&gt;"), Some(('>', "")));
        assert_eq!(entity("&amp;lt;"), Some(('&', "lt;")));
        for other in ["&", "&quot;", "&LT;", "&lt", "&#60;", "lt;"] {
            assert_eq!(entity(other), None, "{other}");
        }
    }
}
