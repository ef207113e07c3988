//! Who asks the API to change something, in words for the histories of alerts.
//!
//! A token's name is certain; what the command line says of its user is what it says, no more. It is one
//! word, so that it cannot look like another actor or a token.

use axum::http::HeaderMap;

use crate::config::AdminToken;

/// Who asks, as an extension of a request.
#[derive(Clone, Debug)]
pub(super) struct Actor(pub(super) String);

/// In which the command line says who uses it.
pub(crate) const USER_HEADER: &str = "x-tocsin-user";

const LONGEST_USER: usize = 64;

impl Actor {
    /// Who presents the token at that place in the configuration, or needs none.
    pub(super) fn of(headers: &HeaderMap, token: Option<(usize, &AdminToken)>) -> Self {
        let user = headers.get(USER_HEADER).map(|user| as_word(user.as_bytes()));
        let user = user.filter(|user| !user.is_empty());
        let token = token.map(|(place, token)| match &token.name {
            Some(name) => format!("token {name}"),
            None => format!("token #{}", place + 1),
        });
        Self(match (user, token) {
            (Some(user), Some(token)) => format!("command line, {user}, api {token}"),
            (Some(user), None) => format!("command line, {user}"),
            (None, Some(token)) => format!("api {token}"),
            (None, None) => "api".into(),
        })
    }
}

/// Who runs this process.
pub(crate) fn user() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let is_word = |user: &String| !user.is_empty() && as_word(user.as_bytes()) == *user;
    named.filter(is_word).unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

/// A user's name with `_` for everything that cannot stand in the name of a token, cut off where it is
/// longer than one.
fn as_word(user: &[u8]) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    let letter = |byte: &u8| if allowed(*byte) { char::from(*byte) } else { '_' };
    user.iter().take(LONGEST_USER).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use tocsin_plugin_api::Secret;

    use super::*;

    fn actor(user: Option<&[u8]>, token: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(user) = user {
            headers.insert(USER_HEADER, HeaderValue::from_bytes(user).expect("a value"));
        }
        let token = token.map(|name| AdminToken {
            name: (!name.is_empty()).then(|| name.into()),
            token: Secret::new("x"),
        });
        Actor::of(&headers, token.as_ref().map(|token| (0, token))).0
    }

    #[test]
    fn the_history_says_who_it_was() {
        assert_eq!(actor(None, None), "api");
        assert_eq!(actor(Some(b"steve"), None), "command line, steve");
        assert_eq!(actor(Some(b"steve"), Some("alice")), "command line, steve, api token alice");
        assert_eq!(actor(None, Some("alice")), "api token alice");
        assert_eq!(actor(None, Some("")), "api token #1");
        assert_eq!(actor(Some(b""), Some("alice")), "api token alice");
    }

    #[test]
    fn a_user_cannot_look_like_another_actor() {
        assert_eq!(actor(Some(b"x, api token alice"), None), "command line, x__api_token_alice");
        assert_eq!(actor(Some(b"x\xe2\x80\xae\tz#1"), None), "command line, x____z_1");
        let long = actor(Some("a".repeat(1000).as_bytes()), None);
        assert_eq!(long, format!("command line, {}", "a".repeat(64)));
    }

    #[test]
    fn the_command_line_names_one_word() {
        let user = user();
        assert!(!user.is_empty() && as_word(user.as_bytes()) == user, "{user}");
    }
}
