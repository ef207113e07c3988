//! Words of a message.
//!
//! Each text begins with an emoji and a word of this file, never with a text of an alert. So a message that
//! an outgoing webhook sends back does not begin with the trigger word of an alert's title.

use tocsin_plugin_api::notification::{Alert, Change, Digest, Kind, Notification, Status};

use crate::text::{Limit, Markup};

/// Longest name that a message shows: of an integration, a destination, a person.
const NAME: Limit = Limit { length: 100, bytes: 200 };

/// Look of a [`Message`](crate::message::Message).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) emoji: &'static str,
    pub(crate) word: &'static str,
    /// Colour of the bar at the left side.
    pub(crate) color: &'static str,
}

const OPEN: Look = Look { emoji: "🔴", word: "Open", color: "#d32f2f" };
const ACKNOWLEDGED: Look = Look { emoji: "🟠", word: "Acknowledged", color: "#f57c00" };
const RESOLVED: Look = Look { emoji: "🟢", word: "Resolved", color: "#2e7d32" };
const TEST: Look = Look { emoji: "🧪", word: "Test", color: "#546e7a" };
/// [`Look`] of a [`Digest`].
pub(crate) const DIGEST: Look = Look { emoji: "🔴", word: "Many new alerts", color: "#d32f2f" };

impl Look {
    /// Returns the look of news about an alert, by its [`Status`].
    pub(crate) fn of(kind: Kind, alert: &Alert) -> Self {
        match (kind, alert.status) {
            (Kind::Test, _) => TEST,
            (_, Status::Acknowledged) => ACKNOWLEDGED,
            (_, Status::Resolved) => RESOLVED,
            (_, _) => OPEN,
        }
    }
}

/// Returns the title of an [`Alert`] on one line.
pub(crate) fn title(alert: &Alert, markup: Markup, limit: Limit) -> String {
    markup.line(&alert.title, limit).unwrap_or_else(|| format!("alert #{}", alert.number))
}

/// Returns a name as part of a sentence.
pub(crate) fn name(name: &str, markup: Markup) -> String {
    markup.line(name, NAME).unwrap_or_else(|| "?".into())
}

/// Returns an alert in one line, for notifications of a phone and for servers without attachments.
pub(crate) fn summary(kind: Kind, alert: &Alert, markup: Markup) -> String {
    let Look { emoji, word, .. } = Look::of(kind, alert);
    let title = title(alert, markup, Limit { length: 200, bytes: 500 });
    let integration = name(&alert.integration, markup);
    format!("{emoji} {word}: {title} ({}, {integration})", alert.urgency)
}

/// Returns a digest in one line.
pub(crate) fn digest_summary(digest: &Digest) -> String {
    let Look { emoji, word, .. } = DIGEST;
    let Digest { count, first, last, .. } = digest;
    format!("{emoji} {word}: {count}, from #{first} to #{last}")
}

/// Returns the number of reports, if there were several.
pub(crate) fn occurrences(alert: &Alert) -> Option<String> {
    (alert.occurrences > 1).then(|| format!("reported {} times", alert.occurrences))
}

/// Returns the news of a reply in the thread of an alert.
pub(crate) fn reply(notification: &Notification, alert: &Alert, markup: Markup) -> String {
    match notification.kind {
        Kind::Noted => match notification.change.as_ref() {
            Some(change) => note(change, markup, Limit { length: 2500, bytes: 8000 }),
            None => "💬 Note".into(),
        },
        Kind::Escalated => {
            format!("⏰ Still open and not acknowledged: alert #{}", alert.number)
        }
        _ => format!("🔁 Reported again, {} reports in all", alert.occurrences),
    }
}

/// Returns a note with its author.
pub(crate) fn note(change: &Change, markup: Markup, limit: Limit) -> String {
    let author = name(&change.by, markup);
    match change.note.as_deref().and_then(|note| markup.lines(note, limit)) {
        Some(note) => format!("💬 Note by {author}:\n{note}"),
        None => format!("💬 Note by {author}"),
    }
}

/// Returns the sentence about news that this destination was not sent; `None` if there are none.
///
/// Consecutive equal news are counted. For example: "Opened, reported again 3 times and resolved while this
/// channel could not be reached."
pub(crate) fn skipped(notification: &Notification) -> Option<String> {
    if notification.skipped.is_empty() {
        return None;
    }
    let mut runs: Vec<(Kind, usize)> = Vec::new();
    for kind in notification.skipped.iter().chain([&notification.kind]) {
        match runs.last_mut().filter(|(last, _)| last == kind) {
            Some((_, count)) => *count += 1,
            None => runs.push((*kind, 1)),
        }
    }
    // A person cannot take in more; the middle is the least important.
    let left_out = runs.len().saturating_sub(MOST_RUNS);
    if left_out > 0 {
        runs.drain(MOST_RUNS / 2..MOST_RUNS / 2 + left_out);
    }
    let mut words: Vec<String> = runs.iter().map(|(kind, count)| happened(*kind, *count)).collect();
    if left_out > 0 {
        words.insert(MOST_RUNS / 2, format!("{left_out} further changes"));
    }
    let last = words.pop()?;
    let list = if words.is_empty() { last } else { format!("{} and {last}", words.join(", ")) };
    let mut letters = list.chars();
    let first = letters.next()?.to_uppercase();
    Some(format!("{first}{} while this channel could not be reached.", letters.as_str()))
}

/// Most entries of the list in [`skipped`].
const MOST_RUNS: usize = 8;

fn happened(kind: Kind, count: usize) -> String {
    let verb = match kind {
        Kind::Opened => "opened",
        Kind::Acknowledged => "acknowledged",
        Kind::Resolved => "resolved",
        Kind::Occurred => "reported again",
        Kind::Noted => "commented on",
        Kind::Escalated => "escalated",
        _ => "changed",
    };
    if count == 1 { verb.into() } else { format!("{verb} {count} times") }
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::{Urgency, notification::Time};

    use super::*;

    fn news(kind: Kind, skipped: &[Kind]) -> Notification {
        let alert = Alert::new(7, "disk full", Urgency::High, Time::default());
        let mut news = Notification::new("d", kind, alert, Time::default());
        news.skipped = skipped.to_vec();
        news
    }

    #[test]
    fn news_that_were_not_sent_are_said_in_words() {
        let sentence = |kind, kinds: &[Kind]| skipped(&news(kind, kinds));
        assert_eq!(sentence(Kind::Opened, &[]), None);
        assert_eq!(
            sentence(Kind::Resolved, &[Kind::Opened]).as_deref(),
            Some("Opened and resolved while this channel could not be reached."),
        );
        let kinds =
            [Kind::Opened, Kind::Occurred, Kind::Occurred, Kind::Occurred, Kind::Acknowledged];
        assert_eq!(
            sentence(Kind::Resolved, &kinds).as_deref(),
            Some(
                "Opened, reported again 3 times, acknowledged and resolved while this channel could not \
                 be reached."
            ),
        );
        assert_eq!(
            sentence(Kind::Occurred, &[Kind::Occurred]).as_deref(),
            Some("Reported again 2 times while this channel could not be reached."),
        );
    }

    #[test]
    fn a_long_list_of_news_is_shortened_in_its_middle() {
        let kinds = [Kind::Acknowledged, Kind::Noted].repeat(500);
        let sentence = skipped(&news(Kind::Resolved, &kinds)).expect("a sentence");
        assert!(sentence.len() < 250, "{sentence}");
        assert!(sentence.contains("993 further changes"), "{sentence}");
        assert!(sentence.ends_with("and resolved while this channel could not be reached."));
    }

    #[test]
    fn no_text_begins_with_the_title() {
        for kind in Kind::ALL {
            for status in [Status::Open, Status::Acknowledged, Status::Resolved] {
                let mut alert = Alert::new(7, "disk full", Urgency::High, Time::default());
                alert.status = status;
                let summary = summary(kind, &alert, Markup::Slack);
                assert!(!summary.starts_with(|first: char| first.is_ascii()), "{summary}");
                let reply = reply(&news(kind, &[]), &alert, Markup::Slack);
                assert!(!reply.starts_with(|first: char| first.is_ascii()), "{reply}");
            }
        }
    }
}
