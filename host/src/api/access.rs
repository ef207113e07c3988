//! Access to the API: the token of a request, and the scope that its route needs.
//!
//! [`actor`](super::actor) names the owner of a token.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::actor::actor;
use crate::{
    config::Scope,
    host::Host,
    http::{error::ApiError, sender::Peer},
    limits::reached::Limit,
};

/// Lets a request pass that presents one of the tokens. If none is configured, every request passes that
/// [`foreign`](super::foreign) let through, with every scope.
pub(super) async fn authorize(
    State(host): State<Arc<Host>>,
    mut request: Request,
    next: Next,
) -> Response {
    let granted = {
        let in_force = host.in_force();
        let headers = request.headers();
        match in_force.config.config.admin.tokens.as_slice() {
            [] => Some((actor(headers, None), Some(Scope::Admin))),
            tokens => {
                let presented = bearer(headers);
                // All tokens are compared, so that the time does not reveal which one matched.
                let tokens = tokens.iter().enumerate();
                let found = tokens.fold(None, |found, (place, token)| {
                    token.token.matches(presented).then_some((place, token)).or(found)
                });
                found.map(|token| (actor(headers, Some(token)), token.1.scope))
            }
        }
    };
    if let Some((actor, scope)) = granted {
        request.extensions_mut().insert(actor);
        scope.map(|scope| request.extensions_mut().insert(scope));
        return next.run(request).await;
    }
    if let Err(refusal) = count_refusal(&host, &request, ApiError::too_many_wrong_tokens) {
        return refusal.into_response();
    }
    let mut response = ApiError::unauthorized().into_response();
    let bearer = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    response
}

/// Checks that the token of a request has the scope of its route.
pub(super) fn check_scope(host: &Host, request: &Request, needed: Scope) -> Result<(), ApiError> {
    // Without the extension, nothing was granted.
    let granted = request.extensions().get::<Scope>();
    if granted.is_some_and(|granted| granted.includes(needed)) {
        return Ok(());
    }
    count_refusal(host, request, ApiError::too_many_forbidden)?;
    let granted = granted.map_or_else(|| "none".into(), |granted| granted.included_names());
    Err(ApiError::forbidden(&format!("`{needed}`"), &granted))
}

/// Counts a request whose token opens nothing, or not enough. An address has the same limit for both.
fn count_refusal(
    host: &Host,
    request: &Request,
    too_many: fn(std::time::Duration) -> ApiError,
) -> Result<(), ApiError> {
    let Some(Peer(peer)) = request.extensions().get() else { return Ok(()) };
    host.wrong_tokens.check(peer.ip()).map_err(|over| {
        host.metrics.limits.reached(Limit::WrongTokens, format_args!("{}, to the API", peer.ip()));
        too_many(over.retry_after)
    })
}

fn bearer(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer abc")])), b"abc");
        assert_eq!(bearer(&headers(&[("authorization", "Basic abc")])), b"");
        assert_eq!(bearer(&headers(&[])), b"");
    }
}
