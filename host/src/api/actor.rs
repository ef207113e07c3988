//! Who asks the API to change something, in words for the histories of alerts.
//!
//! A token's name is certain; what the command line says of its user is what it says, no more.

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
        let user = headers.get(USER_HEADER).and_then(|user| user.to_str().ok());
        let user = user.map(|user| user.chars().take(LONGEST_USER).collect::<String>());
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
    let is_plain = |user: &String| !user.is_empty() && user.bytes().all(|b| b.is_ascii_graphic());
    named.filter(is_plain).unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()))
}
