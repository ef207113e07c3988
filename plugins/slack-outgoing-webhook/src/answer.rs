//! The text of an answer, with the source of each of its parts.
//!
//! An answer repeats parts of a message. It must not notify people again, so a mention is defused if
//! it comes from the message or if the message completes it. Mentions that the operator wrote into
//! the template work. Words that people chose for themselves as keywords are not known here.

use memchr::memchr_iter;

use crate::product::Product;

/// Names that mention everybody, in any product.
const EVERYBODY: [&str; 7] = ["all", "channel", "everyone", "group", "here", "stream", "topic"];

/// Invisible character between a sigil and its name, with which no product takes the two for a
/// mention.
const ZERO_WIDTH_SPACE: char = '\u{200B}';

/// Source of a part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The operator's template.
    Template,
    /// The sender's name. The template may mention the sender.
    Sender,
    /// Any other part of the message.
    Message,
}

/// The text of an answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    text: String,
    /// End and source of each part.
    parts: Vec<(usize, Source)>,
}

impl Answer {
    /// Adds a part. Control forms of Slack have to be escaped in it, unless they are the operator's.
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

    /// Returns the text without mentions that come from the message or that it completes.
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
        // The sigil of an address (`bob@example.com`) mentions nobody.
        let before = self.text[..sigil].chars().next_back();
        if before.is_some_and(char::is_alphanumeric) && !notifies_many {
            return false;
        }
        let sources = self.sources(sigil + 1, sigil + 1 + name.len());
        self.is_from_message(sigil, notifies_many, sources)
    }

    /// Escapes control forms that the message completes. It cannot make whole ones, because its
    /// brackets are escaped already.
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
                Source::Sender => notifies_many,
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

/// Returns how many bytes the name has with which the text after an `@` begins: a word, or words
/// between stars.
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

    fn answer(parts: &[(Source, &str)]) -> Answer {
        let mut answer = Answer::default();
        for (source, part) in parts {
            answer.push(*source, part);
        }
        answer
    }

    /// Checks that zero-width spaces were added, and nothing else.
    #[track_caller]
    fn assert_defused(parts: &[(Source, &str)]) {
        let answer = answer(parts);
        for product in RAW {
            let defused = answer.defused(product);
            assert_ne!(defused, answer.as_str(), "{product:?}");
            assert_eq!(defused.replace(ZERO_WIDTH_SPACE, ""), answer.as_str(), "{product:?}");
        }
    }

    #[track_caller]
    fn assert_left(parts: &[(Source, &str)]) {
        let answer = answer(parts);
        for product in RAW {
            assert_eq!(answer.defused(product), answer.as_str(), "{product:?}");
        }
    }

    use Source::{Message, Sender, Template};

    #[test]
    fn a_mention_in_the_message_is_shown_and_mentions_nobody() {
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
            assert_defused(&[(Sender, mention)]);
        }
        let defused = answer(&[(Message, "@all a@all @**all**")]).defused(Product::Zulip);
        assert_eq!(defused, "@\u{200B}all a@\u{200B}all @\u{200B}**all**");
    }

    #[test]
    fn what_mentions_nobody_stays() {
        for text in ["bob@example.com", "a @ b", "@", "@!", "é@x", "5@5"] {
            assert_left(&[(Template, "raised: "), (Message, text), (Template, " now")]);
        }
    }

    #[test]
    fn what_the_operator_wrote_works() {
        assert_left(&[(Template, "@channel @**all** @*ops*: "), (Message, "db1 down")]);
        assert_left(&[(Template, "@all "), (Message, "high"), (Template, " @here")]);
        assert_left(&[(Template, "thanks, @"), (Sender, "bob"), (Template, ": "), (Message, "x")]);
        assert_left(&[
            (Template, "thanks, @**"),
            (Sender, "Bob S"),
            (Template, "** "),
            (Message, "x"),
        ]);
        assert_left(&[(Template, "ops@"), (Message, "x"), (Template, ".example")]);
    }

    #[test]
    fn a_mention_that_the_message_completes_mentions_nobody() {
        for parts in [
            &[(Template, "@"), (Message, "all")][..],
            &[(Template, "@"), (Sender, "all")],
            &[(Template, "@"), (Sender, "Here"), (Template, ".")],
            &[(Template, "@**"), (Sender, "all"), (Template, "**")],
            &[(Template, "@*"), (Sender, "ops"), (Template, "*")],
            &[(Template, "@al"), (Message, "l")],
            &[(Template, "@a"), (Sender, "ll")],
            &[(Template, "@"), (Message, "bob")],
            &[(Template, "@"), (Sender, "dev"), (Message, "elopers")],
            &[(Template, "@*ops "), (Message, "team"), (Template, "*")],
            &[(Message, "@"), (Template, "all")],
            &[(Message, "@"), (Message, "all")],
            &[(Sender, "bob@"), (Message, "all")],
            &[(Message, "@*"), (Template, "*all**")],
            &[(Template, "@"), (Message, "**all**")],
            &[(Template, "@"), (Sender, ""), (Message, "here")],
        ] {
            assert_defused(parts);
        }
    }

    #[test]
    fn a_control_form_that_the_message_completes_is_text() {
        let defused = |parts| answer(parts).defused(Product::Slack);
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
        assert_eq!(defused(&[(Template, "<"), (Sender, "@U1"), (Template, ">")]), "&lt;@U1>");
        assert_eq!(defused(&[(Template, "<!"), (Sender, "here"), (Template, ">")]), "&lt;!here>");
        assert_eq!(defused(&[(Template, "<@"), (Sender, "here"), (Template, ">")]), "&lt;@here>");
    }

    #[test]
    fn control_forms_of_the_operator_work() {
        for parts in [
            &[(Template, "<!here> <!subteam^S1|ops>: "), (Message, "@here &lt;!here&gt;")][..],
            &[(Template, "<!here|"), (Message, "x"), (Template, ">")],
            &[(Template, "<@"), (Sender, "bob"), (Template, ">")],
            &[(Template, "<https://x.example/"), (Message, "a"), (Template, "|"), (Message, "!b")],
            &[(Template, "1 < "), (Message, "2")],
            &[(Template, "<#"), (Message, "C1"), (Template, ">")],
        ] {
            let answer = answer(parts);
            assert_eq!(answer.defused(Product::Slack), answer.as_str());
        }
    }
}
