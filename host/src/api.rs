//! Routes of the admin listener: health, metrics and the API, with an OpenAPI description generated from
//! the code.
//!
//! Webhooks have a listener of their own, see [`ingest`](crate::ingest).

pub(crate) mod actor;
pub(crate) mod alerts;
pub(crate) mod backup;
mod body;
pub(crate) mod deliveries;
pub(crate) mod destinations;
mod foreign;
pub(crate) mod health;
mod page;
pub(crate) mod plugins;
pub(crate) mod reload;
pub(crate) mod requests;
pub(crate) mod routes;
pub(crate) mod silences;
pub(crate) mod status;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::actor::actor;
use crate::http::error::ApiError;
use crate::{
    host::Host,
    http::{request_id, sender::Peer},
    limits::reached::Limit,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Tocsin admin API", description = "Alerts, integrations, plugins and health of a Tocsin host."),
    servers((url = "/", description = "The host that gave this description")),
    modifiers(&BearerToken),
    tags(
        (name = "alerts", description = "Alerts and their history"),
        (name = "requests", description = "The outcome of every request, and replays"),
        (name = "deliveries", description = "News about alerts: who was told, who was not, and silences"),
        (name = "status", description = "Integrations, destinations, plugins and reloads"),
        (name = "health", description = "Health checks and metrics"),
    )
)]
struct Description;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Returns the routes of the admin listener.
pub(crate) fn router(host: Arc<Host>) -> Router {
    let (open, guarded, description) = routes_and_description();
    // Strings and numbers can always be written as JSON.
    let description = Bytes::from(serde_json::to_vec(&description).unwrap_or_default());
    // Without a valid token, the body is not read.
    let guarded = guarded
        .layer(middleware::from_fn_with_state(Arc::clone(&host), body::read))
        .layer(middleware::from_fn_with_state(Arc::clone(&host), authorize));
    open.merge(guarded)
        .route(
            "/openapi.json",
            get(async move || ([(header::CONTENT_TYPE, "application/json")], description.clone())),
        )
        .fallback(async || {
            ApiError::not_found("there is no such route; `/openapi.json` lists them")
        })
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(middleware::from_fn_with_state(Arc::clone(&host), foreign::keep_out))
        .layer(middleware::from_fn(identify))
        .with_state(host)
}

/// Returns the routes for connections beyond the limit of the admin listener: health checks only.
pub(crate) fn health_router(host: Arc<Host>) -> Router {
    let (open, ..) = routes_and_description();
    let busy =
        async || ApiError::busy("too many connections are open, only health checks are answered");
    open.fallback(busy)
        .layer(middleware::from_fn_with_state(Arc::clone(&host), foreign::keep_out))
        .layer(middleware::map_response(async |mut response: Response| {
            // Closed after one answer, since other connections wait for this place.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            response
        }))
        .layer(middleware::from_fn(identify))
        .with_state(host)
}

fn routes_and_description() -> (Router<Arc<Host>>, Router<Arc<Host>>, utoipa::openapi::OpenApi) {
    let open = OpenApiRouter::new().routes(routes!(health::live)).routes(routes!(health::ready));
    let guarded = OpenApiRouter::new()
        .routes(routes!(health::metrics))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::show))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::resolve))
        .routes(routes!(alerts::note))
        .routes(routes!(requests::list))
        .routes(routes!(requests::show))
        .routes(routes!(requests::raw))
        .routes(routes!(requests::replay))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::show))
        .routes(routes!(deliveries::retry))
        .routes(routes!(deliveries::discard))
        .routes(routes!(destinations::test))
        .routes(routes!(destinations::retry_all))
        .routes(routes!(destinations::discard_all))
        .routes(routes!(deliveries::of_alert))
        .routes(routes!(silences::list))
        .routes(routes!(silences::add))
        .routes(routes!(silences::end))
        .routes(routes!(routes::test))
        .routes(routes!(reload::reload))
        .routes(routes!(backup::back_up))
        .routes(routes!(status::integrations))
        .routes(routes!(status::destinations))
        .routes(routes!(status::plugins))
        .routes(routes!(plugins::retry));
    let (open, mut description) =
        OpenApiRouter::with_openapi(Description::openapi()).merge(open).split_for_parts();
    let (guarded, rest) = guarded.split_for_parts();
    description.merge(rest);
    describe_refusals(&mut description);
    (open, guarded, description)
}

/// Adds to every route the answers that come before its handler runs.
fn describe_refusals(description: &mut utoipa::openapi::OpenApi) {
    let refusal = |text: &str| {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        ResponseBuilder::new().description(text).content("application/json", body).build()
    };
    for (path, item) in &mut description.paths.paths {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            let mut answers = vec![
                ("408", "The body took too long"),
                ("413", "The body is too large"),
                ("503", "Too many connections are open, or too many searches run"),
            ];
            if path != "/health/live" {
                answers.push((
                    "401",
                    "The request comes from a web page, or the token is missing or wrong",
                ));
            }
            if !path.starts_with("/health/") {
                answers.push(("429", "Too many wrong tokens came from this address"));
            }
            for (status, text) in answers {
                let known = operation.responses.responses.entry(status.into());
                known.or_insert_with(|| refusal(text).into());
            }
        }
    }
}

/// Adds the request id to every answer.
async fn identify(request: Request, next: Next) -> Response {
    let id = request_id::next();
    let mut response = next.run(request).await;
    response.headers_mut().insert(request_id::HEADER, request_id::header_value(id));
    response
}

/// Lets a request pass that presents one of the tokens. If none is configured, every request passes that
/// [`foreign`] let through.
async fn authorize(State(host): State<Arc<Host>>, mut request: Request, next: Next) -> Response {
    let actor = {
        let in_force = host.in_force();
        let headers = request.headers();
        match in_force.config.config.admin.tokens.as_slice() {
            [] => Some(actor(headers, None)),
            tokens => {
                let presented = bearer(headers);
                // All tokens are compared, so that the time does not reveal which one matched.
                let tokens = tokens.iter().enumerate();
                let found = tokens.fold(None, |found, (place, token)| {
                    token.token.matches(presented).then_some((place, token)).or(found)
                });
                found.map(|token| actor(headers, Some(token)))
            }
        }
    };
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor);
        return next.run(request).await;
    }
    let peer = request.extensions().get().map(|Peer(address)| address.ip());
    if let Some(peer) = peer
        && let Err(over) = host.wrong_tokens.check(peer)
    {
        host.metrics.limits.reached(Limit::WrongTokens, format_args!("{peer}, to the API"));
        return ApiError::too_many_wrong_tokens(over.retry_after).into_response();
    }
    let mut response = ApiError::unauthorized().into_response();
    let bearer = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    response
}

fn bearer(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
        _ => b"",
    }
}

/// Result of a handler.
pub(crate) type ApiResult<T> = Result<Json<T>, ApiError>;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_description_names_every_route() {
        let paths: Vec<_> = routes_and_description().2.paths.paths.into_keys().collect();
        for path in [
            "/health/live",
            "/health/ready",
            "/metrics",
            "/api/v1/alerts",
            "/api/v1/alerts/{id}",
            "/api/v1/alerts/{id}/acknowledge",
            "/api/v1/alerts/{id}/resolve",
            "/api/v1/alerts/{id}/notes",
            "/api/v1/requests",
            "/api/v1/requests/{id}",
            "/api/v1/requests/{id}/raw",
            "/api/v1/requests/{id}/replay",
            "/api/v1/alerts/{id}/notifications",
            "/api/v1/deliveries",
            "/api/v1/deliveries/{id}",
            "/api/v1/deliveries/{id}/retry",
            "/api/v1/deliveries/{id}/discard",
            "/api/v1/destinations/{name}/test",
            "/api/v1/destinations/{name}/retry",
            "/api/v1/destinations/{name}/discard",
            "/api/v1/silences",
            "/api/v1/silences/{id}/end",
            "/api/v1/routes/test",
            "/api/v1/integrations",
            "/api/v1/destinations",
            "/api/v1/plugins",
            "/api/v1/plugins/{name}/retry",
            "/api/v1/reload",
            "/api/v1/backup",
        ] {
            assert!(paths.iter().any(|known| known == path), "{path} is missing in {paths:?}");
        }
    }

    #[test]
    fn the_description_has_an_id_for_each_route_and_a_text_for_each_answer() {
        let description = serde_json::to_value(routes_and_description().2).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id), "`operation_id = \"{id}\"` is taken: {method} {path}");
                assert!(operation["security"].is_array(), "{method} {path} has no `security`");
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let text = answer["description"].as_str().unwrap_or_default();
                    assert!(!text.is_empty(), "{method} {path}: {status} has no `description`");
                }
            }
        }
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer abc")])), b"abc");
        assert_eq!(bearer(&headers(&[("authorization", "Basic abc")])), b"");
        assert_eq!(bearer(&headers(&[])), b"");
    }
}
