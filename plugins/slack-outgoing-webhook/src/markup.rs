//! The control forms of Slack's text, `<...>`, and its three character entities.
//!
//! The other marks of the format (`*bold*`, `` `code` ``) it leaves alone: they read well as they
//! are. The rules are those of <https://docs.slack.dev/messaging/formatting-message-text>.

use memchr::memchr3;

/// What is shown for a control form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown<'a> {
    pub(crate) before: &'static str,
    /// Still with entities.
    pub(crate) text: &'a str,
    pub(crate) after: &'static str,
    /// Whether it is a URL, a mention or the name of a channel, and not something that was said.
    pub(crate) is_reference: bool,
}

impl<'a> Shown<'a> {
    fn said(before: &'static str, text: &'a str, after: &'static str) -> Self {
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

/// The control form with which `text` begins, and what follows it.
pub(crate) fn control_form(text: &str) -> Option<(Shown<'_>, &str)> {
    let inside = text.strip_prefix('<')?;
    let (form, closed) = inside.split_at_checked(memchr3(b'<', b'>', b'\n', inside.as_bytes())?)?;
    Some((shown(form)?, closed.strip_prefix('>')?))
}

fn shown(form: &str) -> Option<Shown<'_>> {
    let (target, label) = form.split_once('|').unwrap_or((form, ""));
    let label = Some(label).filter(|label| !label.trim().is_empty());
    if let Some(user) = target.strip_prefix('@') {
        return is_id(user).then(|| Shown::name("@", label.unwrap_or(user)));
    }
    if let Some(channel) = target.strip_prefix('#') {
        return is_id(channel).then(|| Shown::name("#", label.unwrap_or(channel)));
    }
    if let Some(command) = target.strip_prefix('!') {
        return special(command, label);
    }
    is_url(target).then(|| label.map_or(Shown::url(target), |label| Shown::said("", label, "")))
}

fn special<'a>(command: &'a str, label: Option<&'a str>) -> Option<Shown<'a>> {
    if ["here", "channel", "everyone", "group"].contains(&command) {
        return Some(Shown::name("@", command));
    }
    if let Some(group) = command.strip_prefix("subteam^").filter(|group| is_id(group)) {
        return Some(Shown::name("@", label.unwrap_or(group)));
    }
    if let Some(fallback) = label.filter(|_| command.starts_with("date^")) {
        return Some(Shown::said("", fallback, ""));
    }
    let is_command = command.starts_with(|first: char| first.is_ascii_alphabetic());
    is_command.then(|| Shown::said("<", label.unwrap_or(command), ">"))
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_url(text: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| {
        let start = text.get(..scheme.len());
        text.len() > scheme.len() && start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// The character whose entity `text` begins with, and what follows it.
pub(crate) fn entity(text: &str) -> Option<(char, &str)> {
    [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&')]
        .into_iter()
        .find_map(|(entity, character)| Some((character, text.strip_prefix(entity)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown for a control form, and whether it is a reference.
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
    fn assert_said(form: &str, shown: &str) {
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
    fn dates_are_their_fallback() {
        assert_said("<!date^1392734382^{date} at {time}|Feb 18, 2014>", "Feb 18, 2014");
        assert_said("<!date^1^{date}^https://example.com/|today>", "today");
        assert_said("<!date^1^{date}>", "<date^1^{date}>");
    }

    #[test]
    fn unknown_commands_keep_their_brackets() {
        assert_said("<!foo|label>", "<label>");
        assert_said("<!foo>", "<foo>");
        assert_said("<!foo|>", "<foo>");
        assert_said("<!subteam^>", "<subteam^>");
    }

    #[test]
    fn links_are_their_label_or_their_url() {
        assert_said("<https://example.com/high|graph>", "graph");
        assert_said("<https://example.com|a|b>", "a|b");
        assert_reference("<http://example.com/>", "http://example.com/");
        assert_reference("<https://example.com/|>", "https://example.com/");
        assert_reference("<HTTPS://example.com>", "HTTPS://example.com");
        assert_reference("<mailto:bob@example.com>", "mailto:bob@example.com");
        assert_said("<mailto:bob@example.com|bob@example.com>", "bob@example.com");
    }

    #[test]
    fn everything_else_in_angle_brackets_stays() {
        for other in [
            "<",
            "<>",
            "<|>",
            "<|x>",
            "<b>",
            "</b>",
            "<@>",
            "<@|bob>",
            "<@U1 x>",
            "<#>",
            "<# x>",
            "<!>",
            "<!|x>",
            "<!--x-->",
            "<https://>",
            "<mailto:>",
            "<ftp://example.com>",
            "<tel:123|call>",
            "<@U1",
            "<@U1\n>",
            "<@U1<",
            "<é>",
        ] {
            assert_eq!(control_form(other), None, "{other}");
        }
    }

    #[test]
    fn a_form_ends_where_it_closes() {
        let (_, rest) = control_form("<@U1> and <@U2>").expect("a mention");
        assert_eq!(rest, " and <@U2>");
    }

    #[test]
    fn there_are_three_entities() {
        assert_eq!(entity("&lt;b"), Some(('<', "b")));
        assert_eq!(entity("&gt;"), Some(('>', "")));
        assert_eq!(entity("&amp;lt;"), Some(('&', "lt;")));
        for other in ["&", "&quot;", "&LT;", "&lt", "&#60;", "lt;"] {
            assert_eq!(entity(other), None, "{other}");
        }
    }
}
