//! Message that is in the channel: the state that the host keeps for the plugin.

use serde_json::{Value, json};

/// Place of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    /// Id of the channel, as the server names it.
    pub(crate) channel: String,
    /// Timestamp, which is the id of a message in its channel.
    pub(crate) ts: String,
}

impl Posted {
    /// Reads the state; `None` if there is none, or if the message is in a channel that the operator has
    /// replaced since. `option` is the configured channel.
    pub(crate) fn from_state(state: Option<&Value>, option: &str) -> Option<Self> {
        let text = |key: &str| Some(state?.get(key)?.as_str()?.to_owned());
        let posted = Self { channel: text("channel")?, ts: text("ts")? };
        (text("to")? == option && !posted.channel.is_empty() && !posted.ts.is_empty())
            .then_some(posted)
    }

    /// Reads the answer to a post.
    pub(crate) fn from_answer(answer: &Value) -> Option<Self> {
        let text = |key: &str| Some(answer.get(key)?.as_str()?.to_owned());
        Some(Self { channel: text("channel")?, ts: text("ts")? })
    }

    /// Returns the state, for [`Posted::from_state`].
    pub(crate) fn to_state(&self, option: &str) -> Value {
        json!({"channel": self.channel, "ts": self.ts, "to": option})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_for_the_same_channel_only() {
        let posted = Posted { channel: "D9".into(), ts: "1.2".into() };
        let state = posted.to_state("U1");
        assert_eq!(Posted::from_state(Some(&state), "U1"), Some(posted));
        assert_eq!(Posted::from_state(Some(&state), "C1"), None);
        for other in [json!(null), json!({"ts": 1}), json!({"channel": "", "ts": "", "to": "C1"})] {
            assert_eq!(Posted::from_state(Some(&other), "C1"), None, "{other}");
        }
        assert_eq!(Posted::from_state(None, "C1"), None);
    }
}
