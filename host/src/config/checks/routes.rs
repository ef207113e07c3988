//! Checks of `[[routes]]`, which compile them.

use std::time::Duration;

use super::Checks;
use crate::{
    config::{Config, RouteConfig},
    delivery::Conditions,
    problem::known_names,
    routing::{Hours, Matcher, Route, RoutedDestination, Routes},
};

/// Shortest time between two messages of a route about the same alert.
const SHORTEST_REPEAT: Duration = Duration::from_secs(1);

impl Checks<'_> {
    /// Compiles the routes. Those with errors are left out.
    pub(super) fn check_routes(&mut self, config: &Config) -> Routes {
        let destinations = config.destinations.iter();
        let destinations = destinations
            .map(|(name, destination)| RoutedDestination::new(name, destination.events.clone()));
        let routes = config.routes.iter().enumerate();
        let routes = routes.filter_map(|(place, route)| self.check_route(place, route, config));
        Routes::new(destinations.collect(), routes.collect())
    }

    fn check_route(&mut self, place: usize, route: &RouteConfig, config: &Config) -> Option<Route> {
        let section = format!("routes[{place}]");
        let RouteConfig { to, integrations, urgency, details, hours, after, repeat } = route;
        self.check_names((&section, "to"), to, &config.destinations.keys(), "destination");
        if to.is_empty() {
            let hint = "name the destinations, such as `to = [\"ops-channel\"]`";
            self.refuse(&[&section, "to"], "is empty, so that the route leads nowhere", hint);
        }
        let known = &config.integrations.keys();
        self.check_names((&section, "integrations"), integrations, known, "integration");
        let (integrations, details) = (integrations.clone(), details.clone());
        let conditions = Conditions { integrations, urgency: *urgency, details };
        let matcher = Matcher::new(&conditions).map_err(|errors| {
            for error in errors {
                let key = [&section, "details", &*error.label, "pattern"];
                let message = format!("is not a regular expression: {}", error.reason);
                let hint = "write a pattern in the syntax of the crate `regex`, or the exact value without `pattern`";
                self.refuse(&key, message, hint);
            }
        });
        let hours = hours.as_ref().map_or(Ok(None), |hours| {
            let [days, from, to, zone] = hours.parts();
            Hours::new(days, from, to, zone).map(Some).map_err(|errors| {
                for error in errors {
                    self.refuse(&[&section, "hours", error.key], error.message, &error.hint);
                }
            })
        });
        if repeat.is_some_and(|time| time.0 < SHORTEST_REPEAT) {
            let hint = "write a number with its unit, such as `30m`";
            self.refuse(&[&section, "repeat"], "must be 1s or more", hint);
        }
        let times = (after.map(|time| time.0), repeat.map(|time| time.0));
        Some(Route::new(place + 1, to.clone(), matcher.ok()?, hours.ok()?, times))
    }

    /// Refuses names that are not among the known names.
    fn check_names<'n>(
        &mut self,
        (section, key): (&str, &str),
        names: &[String],
        known: &(impl Iterator<Item = &'n String> + Clone),
        what: &str,
    ) {
        for (place, name) in names.iter().enumerate() {
            if known.clone().any(|known| known == name) {
                continue;
            }
            let list: Vec<_> = known.clone().map(String::as_str).collect();
            let hint = match list.as_slice() {
                [] => format!("add a section `[{what}s.{name}]`"),
                list => known_names(name, &format!("the known {what}s are"), list),
            };
            let message = format!("there is no {what} `{name}`");
            self.refuse(&[section, &format!("{key}[{place}]")], message, &hint);
        }
    }
}
