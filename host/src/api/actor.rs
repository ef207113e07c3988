//! The actor of a request to the API, as the histories of alerts name it.
//!
//! The name of a token is certain. The user that the command line names is a claim: it is reduced to one
//! word, so that it cannot look like another actor or a token.

use axum::http::HeaderMap;

use crate::{
    alert::{Actor, ApiToken},
    config::AdminToken,
};

/// Header in which the command line names its user.
pub(crate) const USER_HEADER: &str = "x-tocsin-user";

const LONGEST_USER: usize = 64;

/// Returns the actor of a request: the owner of the token at that place in the configuration, if the API
/// needs one, and the user that the command line names.
pub(super) fn actor(headers: &HeaderMap, token: Option<(usize, &AdminToken)>) -> Actor {
    let user = headers.get(USER_HEADER).map(|user| as_word(user.as_bytes()));
    let token = token.map(|(place, token)| match &token.name {
        Some(name) => ApiToken::Named(name.clone()),
        None => ApiToken::Unnamed(place + 1),
    });
    match user.filter(|user| !user.is_empty()) {
        Some(user) => Actor::CommandLine { user, token },
        None => Actor::Api(token),
    }
}

/// Returns the user that runs this process.
pub(crate) fn user() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let is_word = |user: &String| !user.is_empty() && as_word(user.as_bytes()) == *user;
    named.filter(is_word).unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

/// Replaces every character that a token's name cannot hold with `_`, and cuts off a long name.
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
    use crate::config::Scope;

    fn text(user: Option<&[u8]>, token: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(user) = user {
            headers.insert(USER_HEADER, HeaderValue::from_bytes(user).expect("a value"));
        }
        let token = token.map(|name| AdminToken {
            name: (!name.is_empty()).then(|| name.into()),
            token: Secret::new("x"),
            scope: Some(Scope::Admin),
        });
        super::actor(&headers, token.as_ref().map(|token| (0, token))).to_string()
    }

    #[test]
    fn names_the_user_and_the_token() {
        assert_eq!(text(None, None), "api");
        assert_eq!(text(Some(b"steve"), None), "command line, steve");
        assert_eq!(text(Some(b"steve"), Some("alice")), "command line, steve, api token alice");
        assert_eq!(text(None, Some("alice")), "api token alice");
        assert_eq!(text(None, Some("")), "api token #1");
        assert_eq!(text(Some(b""), Some("alice")), "api token alice");
    }

    #[test]
    fn a_user_name_cannot_look_like_another_actor() {
        assert_eq!(text(Some(b"x, api token alice"), None), "command line, x__api_token_alice");
        assert_eq!(text(Some(b"x\xe2\x80\xae\tz#1"), None), "command line, x____z_1");
        let long = text(Some("a".repeat(1000).as_bytes()), None);
        assert_eq!(long, format!("command line, {}", "a".repeat(64)));
    }

    #[test]
    fn the_command_line_names_its_user_in_one_word() {
        let user = user();
        assert!(!user.is_empty() && as_word(user.as_bytes()) == user, "{user}");
    }
}
