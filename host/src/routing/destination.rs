//! A destination as routing sees it: its name, its events and the routes to it.

use tocsin_plugin_api::notification::Kind;

use super::Route;

/// A destination as [`Routes`](super::Routes) see it.
#[derive(Clone, Debug)]
pub struct RoutedDestination {
    name: String,
    events: Vec<Kind>,
    /// Places of the routes to the destination among all routes.
    pub(super) routes: Vec<usize>,
}

impl RoutedDestination {
    /// Creates a destination that is told of these kinds of news. It is also told of
    /// [escalations](Kind::Escalated), without naming that kind.
    pub fn new(name: impl Into<String>, events: Vec<Kind>) -> Self {
        Self { name: name.into(), events, routes: Vec::new() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn wants(&self, kind: Kind) -> bool {
        self.events.contains(&kind)
    }

    pub(super) fn connect(&mut self, routes: &[Route]) {
        let leads_here = |(_, route): &(usize, &Route)| route.to.contains(&self.name);
        self.routes = routes.iter().enumerate().filter(leads_here).map(|(at, _)| at).collect();
    }
}
