//! People and groups that an operator wants to be mentioned.
//!
//! Slack documents the forms at <https://docs.slack.dev/messaging/formatting-message-text>.

use tocsin_plugin_api::{
    OptionsError, Urgency,
    notification::{Kind, Notification, Status, Subject},
};

/// Largest number of mentions.
const LIMIT: usize = 20;

/// Mentions, ready for a [`Message`](crate::message::Message).
pub(crate) struct Mentions {
    text: String,
    lowest_urgency: Urgency,
}

impl Mentions {
    /// Checks the options `mentions` and `mention_urgency`.
    ///
    /// # Errors
    ///
    /// If a mention is neither an id nor one of the names that Slack knows.
    pub(crate) fn new(names: &[String], lowest_urgency: Urgency) -> Result<Self, OptionsError> {
        if names.len() > LIMIT {
            let message = format!("more than {LIMIT}\nhint: use a user group");
            return Err(OptionsError::at("mentions", message));
        }
        let mut text = String::new();
        for (at, name) in names.iter().enumerate() {
            let Some(mention) = mention(name) else {
                return Err(OptionsError::at(
                    format!("mentions[{at}]"),
                    "neither the id of a user (`U0123456789`) or of a user group (`S0123456789`), nor \
                     `here`, `channel` or `everyone`",
                ));
            };
            text.push_str(if text.is_empty() { "" } else { " " });
            text.push_str(&mention);
        }
        Ok(Self { text, lowest_urgency })
    }

    /// Returns the mentions for a new alert, an escalation or a digest; `None` if the operator wants none.
    pub(crate) fn of(&self, notification: &Notification) -> Option<&str> {
        let urgent = |urgency| urgency >= self.lowest_urgency;
        let calls = match &notification.subject {
            Subject::Alert(alert) => {
                let told = notification.skipped.iter().chain([&notification.kind]);
                alert.status == Status::Open
                    && urgent(alert.urgency)
                    && told.into_iter().any(|kind| matches!(kind, Kind::Opened | Kind::Escalated))
            }
            Subject::Digest(digest) => digest.urgencies.iter().any(|(urgency, _)| urgent(*urgency)),
            _ => false,
        };
        (calls && !self.text.is_empty()).then_some(&self.text)
    }
}

fn mention(name: &str) -> Option<String> {
    if ["here", "channel", "everyone"].contains(&name) {
        return Some(format!("<!{name}>"));
    }
    let is_id = (2..=20).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    match name.chars().next().filter(|_| is_id)? {
        'U' | 'W' => Some(format!("<@{name}>")),
        'S' => Some(format!("<!subteam^{name}>")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::notification::{Alert, Digest, Time};

    use super::*;

    fn mentions(names: &[&str], urgency: Urgency) -> Result<Mentions, OptionsError> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Mentions::new(&names, urgency)
    }

    fn news(kind: Kind, urgency: Urgency, status: Status) -> Notification {
        let mut alert = Alert::new(1, "t", urgency, Time::default());
        alert.status = status;
        Notification::new("d", kind, alert, Time::default())
    }

    #[test]
    fn writes_each_form_and_refuses_others() {
        let all = mentions(&["here", "U01", "S02", "W03"], Urgency::Low).expect("valid");
        let opened = news(Kind::Opened, Urgency::Low, Status::Open);
        assert_eq!(all.of(&opened), Some("<!here> <@U01> <!subteam^S02> <@W03>"));
        for wrong in ["@here", "anna", "U", "<!here>", "C01", "U01>", "u01", ""] {
            let error = mentions(&["here", wrong], Urgency::Low).err().expect("refused");
            assert_eq!(error.path, "mentions[1]", "{wrong}");
        }
    }

    #[test]
    fn only_news_that_call_somebody_mention() {
        let high = mentions(&["here"], Urgency::High).expect("valid");
        let of = |kind, urgency, status| high.of(&news(kind, urgency, status)).is_some();
        assert!(of(Kind::Opened, Urgency::High, Status::Open));
        assert!(of(Kind::Escalated, Urgency::Critical, Status::Open));
        assert!(!of(Kind::Opened, Urgency::Medium, Status::Open));
        assert!(!of(Kind::Occurred, Urgency::High, Status::Open));
        assert!(!of(Kind::Opened, Urgency::High, Status::Acknowledged));
        let mut late = news(Kind::Occurred, Urgency::High, Status::Open);
        late.skipped = vec![Kind::Opened];
        assert!(high.of(&late).is_some());
        let mut digest = Digest::default();
        digest.urgencies = vec![(Urgency::Low, 3)];
        let about = |digest: &Digest| {
            let subject = Subject::Digest(digest.clone());
            Notification::about("d", Kind::Digest, subject, Time::default())
        };
        assert!(high.of(&about(&digest)).is_none());
        digest.urgencies.insert(0, (Urgency::Critical, 1));
        assert!(high.of(&about(&digest)).is_some());
    }
}
