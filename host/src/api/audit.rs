//! The gate before the routes of a scope: a request passes if its token has the scope, and each act leaves an entry
//! in the audit, done or refused.
//!
//! Requests that only read leave no entry, and neither do those without a valid token.

pub(crate) mod entries;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::openapi::OpenApi;

use super::access;
use crate::{
    alert::Actor,
    config::Scope,
    host::{Host, audit::DONE},
    http::{
        error::{ApiError, ErrorCode},
        request_id::RequestId,
        sender::{self, Peer},
    },
    printable::one_line,
    store::audit::AuditEntry,
};

/// Most characters of an object in an entry.
const LONGEST_OBJECT: usize = 100;

/// Gate before all routes of one scope.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) host: Arc<Host>,
    pub(super) needed: Scope,
    pub(super) acts: Arc<Acts>,
}

/// Operation ids of the routes that change something, by method and path.
pub(super) struct Acts(HashMap<(Method, String), String>);

impl Acts {
    /// Returns the acts among the routes of a scope, as their description names them. Routes of
    /// [`Scope::Read`] change nothing, whatever their method is.
    pub(super) fn among(description: &OpenApi, needed: Scope) -> Self {
        let mut acts = HashMap::new();
        if needed == Scope::Read {
            return Self(acts);
        }
        for (path, item) in &description.paths.paths {
            let methods = [
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ];
            for (method, operation) in methods {
                let Some(operation) = operation else { continue };
                // A test checks that every route has an id.
                let id = operation.operation_id.clone().unwrap_or_else(|| path.clone());
                acts.insert((method, path.clone()), id);
            }
        }
        Self(acts)
    }

    /// Returns the operation id and the path of the route of a request, if it changes something.
    fn of<'r>(&self, request: &'r Request) -> Option<(&str, &'r str)> {
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        let action = self.0.get(&(request.method().clone(), path.to_owned()))?;
        Some((action, path))
    }
}

/// Answer to an act, with words for the audit that only the handler knows.
#[derive(Debug)]
pub(super) struct Acted<T> {
    pub(super) body: T,
    pub(super) words: Words,
}

/// Words of a handler about its act, which replace those from the request.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// As [`AuditEntry::object`].
    pub(super) object: Option<String>,
    /// As [`AuditEntry::detail`].
    pub(super) detail: Option<String>,
}

impl<T: Serialize> IntoResponse for Acted<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        response.extensions_mut().insert(self.words);
        response
    }
}

/// Result of a handler that has [`Words`] for the audit.
pub(super) type ActResult<T> = Result<Acted<T>, ApiError>;

/// Lets a request pass if its token has the scope of the route, and writes the act to the audit before the answer is
/// sent.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Gate { host, needed, acts } = gate;
    let checked = access::check_scope(&host, &request, needed);
    let Some((action, path)) = acts.of(&request) else {
        return match checked {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        };
    };
    let entry = begin(&host, &request, action, path);
    // On a task of its own: a client that closes the connection cuts off neither the act nor its entry.
    let whole = tokio::spawn(async move {
        let response = match checked {
            Ok(()) => tokio::spawn(next.run(request)).await,
            Err(refusal) => Ok(refusal.into_response()),
        };
        let response = response.unwrap_or_else(|_| ApiError::panicked().into_response());
        // Refusals beyond the limit of an address would fill the store.
        if response.status() != StatusCode::TOO_MANY_REQUESTS {
            host.audit(end(entry, &response)).await;
        }
        response
    });
    whole.await.unwrap_or_else(|_| ApiError::panicked().into_response())
}

/// Returns the entry of an act that begins, without its result.
fn begin(host: &Host, request: &Request, action: &str, path: &str) -> AuditEntry {
    let extensions = request.extensions();
    let peer = extensions.get().map(|Peer(peer)| peer.ip());
    let address = peer.map(|peer| {
        let in_force = host.in_force();
        sender::sender(peer, request.headers(), &in_force.config.config.server.trusted_proxies)
    });
    AuditEntry {
        number: 0,
        at: Timestamp::now(),
        actor: extensions.get::<Actor>().cloned().unwrap_or(Actor::Api(None)),
        action: action.into(),
        object: object(path, request.uri().path()),
        result: String::new(),
        detail: None,
        status: None,
        request: extensions.get().map(|RequestId(id)| *id),
        address: address.map(|address| address.to_string()),
    }
}

/// Returns the entry with the result that an answer has.
fn end(entry: AuditEntry, response: &Response) -> AuditEntry {
    let status = response.status();
    let result = match response.extensions().get::<ErrorCode>() {
        Some(ErrorCode(code)) => code,
        None if status.is_success() => DONE,
        // The router itself refused, for instance a path that is not UTF-8.
        None => "refused",
    };
    let words = response.extensions().get::<Words>().cloned().unwrap_or_default();
    AuditEntry {
        at: Timestamp::now(),
        object: words.object.or(entry.object),
        detail: words.detail,
        result: result.into(),
        status: Some(status.as_u16()),
        ..entry
    }
}

/// Returns the object that a path names, such as `alert 17` for the route `/api/v1/alerts/{id}/resolve`.
fn object(route: &str, path: &str) -> Option<String> {
    let mut kind = "";
    for (segment, given) in route.split('/').zip(path.split('/')) {
        if segment.starts_with('{') {
            let singular = match kind.strip_suffix("ies") {
                Some(stem) => format!("{stem}y"),
                None => kind.strip_suffix('s').unwrap_or(kind).into(),
            };
            let object = format!("{singular} {}", one_line(given));
            return Some(object.chars().take(LONGEST_OBJECT).collect());
        }
        kind = segment;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_of_an_act_is_the_kind_and_the_name_in_its_path() {
        for (route, path, expected) in [
            ("/api/v1/alerts/{id}/resolve", "/api/v1/alerts/17/resolve", Some("alert 17")),
            ("/api/v1/deliveries/{id}/retry", "/api/v1/deliveries/01J/retry", Some("delivery 01J")),
            ("/api/v1/plugins/{name}/retry", "/api/v1/plugins/%1b/retry", Some("plugin %1b")),
            ("/api/v1/reload", "/api/v1/reload", None),
        ] {
            assert_eq!(object(route, path).as_deref(), expected);
        }
    }

    #[test]
    fn the_object_of_an_act_is_one_short_line() {
        let long = format!("/api/v1/alerts/a\u{1b}b{}/resolve", "x".repeat(10_000));
        let object = object("/api/v1/alerts/{id}/resolve", &long).expect("an object");
        assert!(object.starts_with("alert a bxxx") && object.len() == LONGEST_OBJECT, "{object}");
    }
}
