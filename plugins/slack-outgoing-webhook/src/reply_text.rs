//! Text of a reply, with the source of each part.
//!
//! A reply repeats parts of a message and must not notify people again. A mention is therefore
//! defused if it comes from the message, or if the message completes it, such as `@{title}` with
//! the title `all`. Mentions in the operator's template work. Keywords that people chose to be
//! notified of are unknown here and not defused.

use memchr::memchr_iter;

use crate::product::Product;

/// Names that mention everybody, in any product.
const EVERYBODY: [&str; 7] = ["all", "channel", "everyone", "group", "here", "stream", "topic"];

/// Invisible character that is put between an `@` and a name. With it, no product takes the two for
/// a mention.
const ZERO_WIDTH_SPACE: char = '\u{200B}';

/// Source of a part of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Operator's template.
    Template,
    /// Name of the message's author, whom the template may mention.
    Author,
    /// Other part of the message.
    Message,
}

/// Text of a reply.
#[derive(Debug, Default)]
pub(crate) struct ReplyText {
    text: String,
    /// End and source of each part.
    parts: Vec<(usize, Source)>,
}

impl ReplyText {
    /// Adds a part. For Slack, [control forms](crate::markup) of the message must be escaped in it.
    pub(crate) fn push(&mut self, source: Source, part: &str) {
        if !part.is_empty() {
            self.text += part;
            self.parts.push((self.text.len(), source));
        }
    }

    /// Returns the text with all mentions.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the text without mentions that come from the message or that the message completes.
    pub(crate) fn defused(&self, product: Product) -> String {
        if product.is_raw() { self.without_mentions() } else { self.without_control_forms() }
    }

    fn without_mentions(&self) -> String {
        let mut defused = String::with_capacity(self.text.len());
        let mut written = 0;
        for sigil in memchr_iter(b'@', self.text.as_bytes()) {
            if self.is_mention_of_message(sigil) {
                defused += &self.text[written..=sigil];
                defused.push(ZERO_WIDTH_SPACE);
                written = sigil + 1;
            }
        }
        defused + &self.text[written..]
    }

    /// Returns whether the mention that begins with this `@` comes from the message, or the message
    /// completes it.
    fn is_mention_of_message(&self, sigil: usize) -> bool {
        let name = &self.text[sigil + 1..];
        let name = &name[..name_len(name)];
        if name.is_empty() {
            return false;
        }
        let notifies_many = notifies_many(name);
        // The `@` of an address (`bob@example.com`) mentions nobody.
        let before = self.text[..sigil].chars().next_back();
        if before.is_some_and(char::is_alphanumeric) && !notifies_many {
            return false;
        }
        let sources = self.sources(sigil + 1, sigil + 1 + name.len());
        self.is_from_message(sigil, notifies_many, sources)
    }

    /// Escapes control forms that the message completes. Those that are wholly from the message are
    /// escaped already.
    fn without_control_forms(&self) -> String {
        let mut defused = String::with_capacity(self.text.len());
        let mut written = 0;
        for bracket in memchr_iter(b'<', self.text.as_bytes()) {
            if self.is_control_form_of_message(bracket) {
                defused += &self.text[written..bracket];
                defused += "&lt;";
                written = bracket + 1;
            }
        }
        defused + &self.text[written..]
    }

    /// Returns whether the message completes the mention in the control form that begins with this
    /// `<`.
    fn is_control_form_of_message(&self, bracket: usize) -> bool {
        let form = &self.text[bracket + 1..];
        let form = &form[..form.find(['<', '>', '\n']).unwrap_or(form.len())];
        let target = form.split('|').next().unwrap_or_default();
        let notifies_many = match target.chars().next() {
            Some('!') => true,
            Some('@') => notifies_many(&target[1..]),
            _ => return false,
        };
        let sources = self.sources(bracket + 2, bracket + 1 + target.len());
        self.is_from_message(bracket + 1, notifies_many, sources)
    }

    /// Returns whether the sigil or a part of the name is from the message. The name of the author
    /// counts only if the mention notifies many.
    fn is_from_message(
        &self,
        sigil: usize,
        notifies_many: bool,
        mut of_name: impl Iterator<Item = Source>,
    ) -> bool {
        let is_of_template =
            self.sources(sigil, sigil + 1).all(|source| source == Source::Template);
        !is_of_template
            || of_name.any(|source| match source {
                Source::Template => false,
                Source::Author => notifies_many,
                Source::Message => true,
            })
    }

    /// Returns the sources of the text between two places.
    fn sources(&self, start: usize, end: usize) -> impl Iterator<Item = Source> {
        let first = self.parts.partition_point(|(part_end, _)| *part_end <= start);
        let mut next = start;
        self.parts[first..].iter().map_while(move |(part_end, source)| {
            let is_inside = next < end;
            next = *part_end;
            is_inside.then_some(*source)
        })
    }
}

/// Returns the length in bytes of the name at the beginning of a text: a word, or words between
/// stars.
fn name_len(text: &str) -> usize {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let stars = text.strip_prefix('_').unwrap_or(text);
    if !stars.starts_with('*') {
        return text.find(|c| !is_of_name(c)).unwrap_or(text.len());
    }
    let name = stars.trim_start_matches('*');
    let start = text.len() - name.len();
    start + name.find(['*', '\n']).unwrap_or(name.len())
}

/// Returns whether a name mentions everybody, or a group.
fn notifies_many(name: &str) -> bool {
    let in_stars = name.strip_prefix('_').unwrap_or(name);
    let is_group = in_stars.starts_with('*') && !in_stars.starts_with("**");
    let is_separator = |c: char| !c.is_alphanumeric();
    let first = name.trim_start_matches(is_separator).split(is_separator).next();
    is_group
        || first.is_some_and(|word| EVERYBODY.iter().any(|name| name.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: [Product; 3] = [Product::Mattermost, Product::Zulip, Product::RocketChat];

    fn reply(parts: &[(Source, &str)]) -> ReplyText {
        let mut reply = ReplyText::default();
        for (source, part) in parts {
            reply.push(*source, part);
        }
        reply
    }

    /// Asserts that zero-width spaces are added, and nothing else.
    #[track_caller]
    fn assert_defused(parts: &[(Source, &str)]) {
        let reply = reply(parts);
        for product in RAW {
            let defused = reply.defused(product);
            assert_ne!(defused, reply.as_str(), "{product:?}");
            assert_eq!(defused.replace(ZERO_WIDTH_SPACE, ""), reply.as_str(), "{product:?}");
        }
    }

    #[track_caller]
    fn assert_unchanged(parts: &[(Source, &str)]) {
        let reply = reply(parts);
        for product in RAW {
            assert_eq!(reply.defused(product), reply.as_str(), "{product:?}");
        }
    }

    use Source::{Author, Message, Template};

    #[test]
    fn a_mention_in_the_message_is_defused() {
        for mention in [
            "@all",
            "@ALL",
            "@Channel",
            "@here",
            "@everyone",
            "@all-hands",
            "@here.",
            "(@all)",
            "x.@all",
            "x@all",
            "@bob",
            "@oncall-team",
            "@élodie",
            "@**all**",
            "@**Everyone**",
            "@**channel**",
            "@**stream**",
            "@**topic**",
            "@**Bob Smith|12**",
            "@*ops team*",
            "@_*ops*",
            "x@**all**",
            "@@all",
        ] {
            assert_defused(&[(Template, "raised: "), (Message, mention), (Template, " now")]);
            assert_defused(&[(Template, "raised: "), (Message, "db1 down "), (Message, mention)]);
            assert_defused(&[(Author, mention)]);
        }
        let defused = reply(&[(Message, "@all a@all @**all**")]).defused(Product::Zulip);
        assert_eq!(defused, "@\u{200B}all a@\u{200B}all @\u{200B}**all**");
    }

    #[test]
    fn text_that_is_no_mention_stays() {
        for text in ["bob@example.com", "a @ b", "@", "@!", "é@x", "5@5"] {
            assert_unchanged(&[(Template, "raised: "), (Message, text), (Template, " now")]);
        }
    }

    #[test]
    fn mentions_in_the_template_stay() {
        assert_unchanged(&[(Template, "@channel @**all** @*ops*: "), (Message, "db1 down")]);
        assert_unchanged(&[(Template, "@all "), (Message, "high"), (Template, " @here")]);
        assert_unchanged(&[
            (Template, "thanks, @"),
            (Author, "bob"),
            (Template, ": "),
            (Message, "x"),
        ]);
        assert_unchanged(&[
            (Template, "thanks, @**"),
            (Author, "Bob S"),
            (Template, "** "),
            (Message, "x"),
        ]);
        assert_unchanged(&[(Template, "ops@"), (Message, "x"), (Template, ".example")]);
    }

    #[test]
    fn a_mention_that_the_message_completes_is_defused() {
        for parts in [
            &[(Template, "@"), (Message, "all")][..],
            &[(Template, "@"), (Author, "all")],
            &[(Template, "@"), (Author, "Here"), (Template, ".")],
            &[(Template, "@**"), (Author, "all"), (Template, "**")],
            &[(Template, "@*"), (Author, "ops"), (Template, "*")],
            &[(Template, "@al"), (Message, "l")],
            &[(Template, "@a"), (Author, "ll")],
            &[(Template, "@"), (Message, "bob")],
            &[(Template, "@"), (Author, "dev"), (Message, "elopers")],
            &[(Template, "@*ops "), (Message, "team"), (Template, "*")],
            &[(Message, "@"), (Template, "all")],
            &[(Message, "@"), (Message, "all")],
            &[(Author, "bob@"), (Message, "all")],
            &[(Message, "@*"), (Template, "*all**")],
            &[(Template, "@"), (Message, "**all**")],
            &[(Template, "@"), (Author, ""), (Message, "here")],
        ] {
            assert_defused(parts);
        }
    }

    #[test]
    fn a_control_form_that_the_message_completes_is_escaped() {
        let defused = |parts| reply(parts).defused(Product::Slack);
        assert_eq!(defused(&[(Template, "<!"), (Message, "here"), (Template, ">")]), "&lt;!here>");
        assert_eq!(defused(&[(Template, "<"), (Message, "!all"), (Template, ">")]), "&lt;!all>");
        assert_eq!(
            defused(&[(Template, "<!he"), (Message, "re|x"), (Template, ">")]),
            "&lt;!here|x>"
        );
        assert_eq!(
            defused(&[(Template, "a <!subteam^"), (Message, "S1"), (Template, "> b")]),
            "a &lt;!subteam^S1> b"
        );
        assert_eq!(defused(&[(Template, "<@"), (Message, "U1"), (Template, ">")]), "&lt;@U1>");
        assert_eq!(defused(&[(Template, "<"), (Author, "@U1"), (Template, ">")]), "&lt;@U1>");
        assert_eq!(defused(&[(Template, "<!"), (Author, "here"), (Template, ">")]), "&lt;!here>");
        assert_eq!(defused(&[(Template, "<@"), (Author, "here"), (Template, ">")]), "&lt;@here>");
    }

    #[test]
    fn control_forms_in_the_template_stay() {
        for parts in [
            &[(Template, "<!here> <!subteam^S1|ops>: "), (Message, "@here &lt;!here&gt;")][..],
            &[(Template, "<!here|"), (Message, "x"), (Template, ">")],
            &[(Template, "<@"), (Author, "bob"), (Template, ">")],
            &[(Template, "<https://x.example/"), (Message, "a"), (Template, "|"), (Message, "!b")],
            &[(Template, "1 < "), (Message, "2")],
            &[(Template, "<#"), (Message, "C1"), (Template, ">")],
        ] {
            let reply = reply(parts);
            assert_eq!(reply.defused(Product::Slack), reply.as_str());
        }
    }
}
