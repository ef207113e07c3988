//! Routes of the admin listener: health, metrics and the API, with an OpenAPI description generated from
//! the code.
//!
//! Webhooks have a listener of their own, see [`ingest`](crate::ingest).

mod access;
pub(crate) mod actor;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod backup;
mod body;
pub(crate) mod deliveries;
pub(crate) mod destinations;
mod foreign;
pub(crate) mod health;
pub(crate) mod hosts;
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
    extract::Request,
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use bytes::Bytes;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::audit::{Acts, Gate};
use crate::http::error::ApiError;
use crate::{config::Scope, host::Host, http::request_id};

#[derive(OpenApi)]
#[openapi(
    info(title = "Tocsin admin API", description = "Alerts, integrations, plugins and health of a Tocsin host."),
    servers((url = "/", description = "The host that gave this description")),
    modifiers(&BearerToken),
    tags(
        (name = "alerts", description = "Alerts and their history"),
        (name = "requests", description = "The outcome of every request, and replays"),
        (name = "deliveries", description = "News about alerts: who was told, who was not, and silences"),
        (name = "audit", description = "Acts of people and programs, done and refused"),
        (name = "status", description = "Integrations, destinations, plugins, hosts and reloads"),
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

/// Routes of the admin listener, with their description.
struct Routes {
    /// Routes without a token.
    open: Router<Arc<Host>>,
    /// Routes that need a token with a scope.
    scoped: Vec<ScopedRoutes>,
    description: utoipa::openapi::OpenApi,
}

/// Routes that need one scope.
struct ScopedRoutes {
    needed: Scope,
    routes: Router<Arc<Host>>,
    acts: Acts,
}

/// Returns the routes of the admin listener.
pub(crate) fn router(host: Arc<Host>) -> Router {
    let Routes { open, scoped, description } = routes();
    // Strings and numbers can always be written as JSON.
    let description = Bytes::from(serde_json::to_vec(&description).unwrap_or_default());
    let guarded = scoped.into_iter().fold(Router::new(), |guarded, scoped| {
        let ScopedRoutes { needed, routes, acts } = scoped;
        let gate = Gate { host: Arc::clone(&host), needed, acts: Arc::new(acts) };
        // Without a valid token of that scope, the body is not read.
        let routes = routes
            .layer(middleware::from_fn_with_state(Arc::clone(&host), body::read))
            .layer(middleware::from_fn_with_state(gate, audit::pass));
        guarded.merge(routes)
    });
    let guarded =
        guarded.layer(middleware::from_fn_with_state(Arc::clone(&host), access::authorize));
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
    let Routes { open, .. } = routes();
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

/// Returns all routes. The group of a route decides which scope its token needs.
fn routes() -> Routes {
    let open = OpenApiRouter::new().routes(routes!(health::live)).routes(routes!(health::ready));
    let read = OpenApiRouter::new()
        .routes(routes!(health::metrics))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::show))
        .routes(routes!(requests::list))
        .routes(routes!(requests::show))
        .routes(routes!(requests::raw))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::show))
        .routes(routes!(deliveries::of_alert))
        .routes(routes!(silences::list))
        .routes(routes!(routes::test))
        .routes(routes!(status::integrations))
        .routes(routes!(status::destinations))
        .routes(routes!(status::plugins))
        .routes(routes!(hosts::list));
    let act = OpenApiRouter::new()
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::resolve))
        .routes(routes!(alerts::note))
        .routes(routes!(requests::replay))
        .routes(routes!(deliveries::retry))
        .routes(routes!(deliveries::discard))
        .routes(routes!(destinations::test))
        .routes(routes!(destinations::retry_all))
        .routes(routes!(destinations::discard_all))
        .routes(routes!(silences::add))
        .routes(routes!(silences::end));
    let admin = OpenApiRouter::new()
        .routes(routes!(reload::reload))
        .routes(routes!(backup::back_up))
        .routes(routes!(plugins::retry))
        .routes(routes!(audit::entries::list));
    let (open, mut description) =
        OpenApiRouter::with_openapi(Description::openapi()).merge(open).split_for_parts();
    let mut scoped = Vec::new();
    for (needed, routes) in [(Scope::Read, read), (Scope::Act, act), (Scope::Admin, admin)] {
        let (routes, mut described) = routes.split_for_parts();
        describe_scope(&mut described, needed);
        scoped.push(ScopedRoutes { needed, routes, acts: Acts::among(&described, needed) });
        description.merge(described);
    }
    describe_refusals(&mut description);
    Routes { open, scoped, description }
}

/// Adds to the description of every route the scope that it needs.
fn describe_scope(description: &mut utoipa::openapi::OpenApi, needed: Scope) {
    for operation in operations(description) {
        let text = operation.description.get_or_insert_default();
        let space = if text.is_empty() { "" } else { "\n\n" };
        text.push_str(&format!("{space}Needs the scope `{needed}`."));
        operation.security = Some(vec![SecurityRequirement::new("token", [needed.as_str()])]);
        if needed > Scope::Read {
            let answer = refusal("The token has not the scope of the route");
            operation.responses.responses.insert("403".into(), answer.into());
        }
    }
}

fn operations(description: &mut utoipa::openapi::OpenApi) -> impl Iterator<Item = &mut Operation> {
    let items = description.paths.paths.values_mut();
    items.flat_map(|item| [&mut item.get, &mut item.post].into_iter().flatten())
}

fn refusal(text: &str) -> utoipa::openapi::Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    ResponseBuilder::new().description(text).content("application/json", body).build()
}

/// Adds to every route the answers that come before its handler runs.
fn describe_refusals(description: &mut utoipa::openapi::OpenApi) {
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
async fn identify(mut request: Request, next: Next) -> Response {
    let id = request_id::next();
    request.extensions_mut().insert(request_id::RequestId(id));
    let mut response = next.run(request).await;
    response.headers_mut().insert(request_id::HEADER, request_id::header_value(id));
    response
}

/// Result of a handler.
pub(crate) type ApiResult<T> = Result<Json<T>, ApiError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_every_route() {
        let paths: Vec<_> = routes().description.paths.paths.into_keys().collect();
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
            "/api/v1/audit",
        ] {
            assert!(paths.iter().any(|known| known == path), "{path} is missing in {paths:?}");
        }
    }

    #[test]
    fn the_description_says_which_scope_a_route_needs() {
        let description = serde_json::to_value(routes().description).unwrap();
        let scope = |path: &str, method: &str| {
            let operation = &description["paths"][path][method];
            let may_be_refused = !operation["responses"]["403"].is_null();
            (operation["security"][0]["token"][0].clone(), may_be_refused)
        };
        assert_eq!(scope("/metrics", "get"), ("read".into(), false));
        assert_eq!(scope("/api/v1/silences", "get"), ("read".into(), false));
        assert_eq!(scope("/api/v1/silences", "post"), ("act".into(), true));
        assert_eq!(scope("/api/v1/routes/test", "post"), ("read".into(), false));
        assert_eq!(scope("/api/v1/audit", "get"), ("admin".into(), true));
        assert_eq!(scope("/health/live", "get"), (serde_json::Value::Null, false));
    }

    #[test]
    fn the_description_has_an_id_for_each_route_and_a_text_for_each_answer() {
        let description = serde_json::to_value(routes().description).unwrap();
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
}
