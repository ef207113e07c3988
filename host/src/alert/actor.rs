//! Persons and programs that change alerts, as the histories of alerts name them.
//!
//! An [`Actor`] says who acted, and holds no permission.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Person or program that changed an alert.
///
/// Stores and the API hold an actor as one text. Reading a text and writing it again gives the same
/// bytes, for every text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Actor {
    /// Integration with this name, because of an event: `integration NAME`.
    Integration(Arc<str>),
    /// Client of the admin API, with its token unless the API needs none: `api`, `api token NAME`.
    Api(Option<ApiToken>),
    /// Command line, which names its user itself: `command line, USER`, `command line, USER, api token
    /// NAME`.
    CommandLine {
        /// User as the command line names it, one word.
        user: String,
        /// Token that the command line presented, unless the API needs none.
        token: Option<ApiToken>,
    },
    /// Replay of a request, asked for by another actor: `replay by ACTOR`.
    Replay {
        /// Actor that asked for the replay.
        by: Box<Actor>,
    },
    /// Host, after an alert was not reported for as long as its integration allows: `automatic resolve`.
    AutomaticResolve,
    /// Signal that asked the host for a reload: `signal`.
    Signal,
    /// Host, after files changed: `file watch`.
    FileWatch,
    /// Text that this host does not understand, as it was read.
    Unknown(String),
}

/// Token of the admin API, by which histories name its owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ApiToken {
    /// Name from the configuration: `token NAME`.
    Named(String),
    /// Place in `admin.tokens`, counted from 1, of a token without a name: `token #PLACE`.
    Unnamed(usize),
}

const INTEGRATION: &str = "integration ";
const API: &str = "api";
const TOKEN: &str = "token ";
const COMMAND_LINE: &str = "command line, ";
const REPLAY: &str = "replay by ";
const AUTOMATIC_RESOLVE: &str = "automatic resolve";
const SIGNAL: &str = "signal";
const FILE_WATCH: &str = "file watch";

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integration(name) => write!(f, "{INTEGRATION}{name}"),
            Self::Api(None) => f.write_str(API),
            Self::Api(Some(token)) => write!(f, "{API} {token}"),
            Self::CommandLine { user, token: None } => write!(f, "{COMMAND_LINE}{user}"),
            Self::CommandLine { user, token: Some(token) } => {
                write!(f, "{COMMAND_LINE}{user}, {API} {token}")
            }
            Self::Replay { by } => write!(f, "{REPLAY}{by}"),
            Self::AutomaticResolve => f.write_str(AUTOMATIC_RESOLVE),
            Self::Signal => f.write_str(SIGNAL),
            Self::FileWatch => f.write_str(FILE_WATCH),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "{TOKEN}{name}"),
            Self::Unnamed(place) => write!(f, "{TOKEN}#{place}"),
        }
    }
}

impl From<&str> for Actor {
    /// Reads the text of an actor. A text of an unknown form becomes [`Actor::Unknown`].
    fn from(text: &str) -> Self {
        known(text).unwrap_or_else(|| Self::Unknown(text.into()))
    }
}

impl From<String> for Actor {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}

fn known(text: &str) -> Option<Actor> {
    if let Some(name) = text.strip_prefix(INTEGRATION) {
        return Some(Actor::Integration(name.into()));
    }
    if let Some(by) = text.strip_prefix(REPLAY) {
        return Some(Actor::Replay { by: Box::new(by.into()) });
    }
    if let Some(rest) = text.strip_prefix(COMMAND_LINE) {
        let (user, api) = match rest.split_once(", ") {
            Some((user, api)) => (user, Some(api)),
            None => (rest, None),
        };
        let token = match api {
            Some(api) => Some(token(api.strip_prefix(API)?.strip_prefix(' ')?)?),
            None => None,
        };
        return Some(Actor::CommandLine { user: user.into(), token });
    }
    match text {
        AUTOMATIC_RESOLVE => Some(Actor::AutomaticResolve),
        SIGNAL => Some(Actor::Signal),
        FILE_WATCH => Some(Actor::FileWatch),
        API => Some(Actor::Api(None)),
        text => {
            let token = token(text.strip_prefix(API)?.strip_prefix(' ')?)?;
            Some(Actor::Api(Some(token)))
        }
    }
}

fn token(text: &str) -> Option<ApiToken> {
    let name = text.strip_prefix(TOKEN)?;
    let Some(place) = name.strip_prefix('#') else { return Some(ApiToken::Named(name.into())) };
    let number = place.parse().ok()?;
    // `#01` would be written as `#1`.
    (place == format!("{number}")).then_some(ApiToken::Unnamed(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_form(actor: &Actor, text: &str) {
        assert_eq!(actor.to_string(), text);
        assert_eq!(Actor::from(text), *actor);
        assert_eq!(serde_json::to_string(actor).unwrap(), format!("\"{text}\""));
    }

    #[test]
    fn names_an_integration() {
        assert_form(&Actor::Integration("ops-slack".into()), "integration ops-slack");
    }

    #[test]
    fn names_a_client_of_the_api_by_its_token() {
        assert_form(&Actor::Api(None), "api");
        assert_form(&Actor::Api(Some(ApiToken::Named("alice".into()))), "api token alice");
        assert_form(&Actor::Api(Some(ApiToken::Unnamed(1))), "api token #1");
    }

    #[test]
    fn names_the_user_of_the_command_line_and_its_token() {
        let steve = |token| Actor::CommandLine { user: "steve".into(), token };
        assert_form(&steve(None), "command line, steve");
        let alice = ApiToken::Named("alice".into());
        assert_form(&steve(Some(alice)), "command line, steve, api token alice");
        assert_form(&steve(Some(ApiToken::Unnamed(12))), "command line, steve, api token #12");
    }

    #[test]
    fn names_the_actor_that_asked_for_a_replay() {
        let by = Box::new(Actor::CommandLine { user: "steve".into(), token: None });
        assert_form(&Actor::Replay { by }, "replay by command line, steve");
    }

    #[test]
    fn names_the_automatic_resolve() {
        assert_form(&Actor::AutomaticResolve, "automatic resolve");
    }

    #[test]
    fn names_the_reason_of_a_reload_that_no_request_asked_for() {
        assert_form(&Actor::Signal, "signal");
        assert_form(&Actor::FileWatch, "file watch");
    }

    #[test]
    fn keeps_unknown_texts_as_they_are() {
        for text in ["", "steve", "api ", "api token #01", "api token #x", "command line, a, b"] {
            assert_form(&Actor::Unknown(text.into()), text);
        }
    }

    proptest! {
        #[test]
        fn every_text_is_written_as_it_was_read(
            text in "(integration |replay by |command line, |api|automatic resolve)?(, api| )?(token )?(#?[0-9a-z, ]{0,4})"
        ) {
            prop_assert_eq!(Actor::from(text.as_str()).to_string(), text);
        }
    }
}
