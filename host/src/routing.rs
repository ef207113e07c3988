//! Routes and silences: which destinations are told of an alert, which are not, and the reason why not.
//!
//! Routing is pure: it reads no clock and stores nothing. [`Routes`] and [`Silences`] are
//! compiled once and then evaluated for every change of an alert.

mod destination;
mod evaluation;
mod hours;
mod matcher;
mod route;
mod silences;
#[cfg(test)]
mod tests;

use tocsin_plugin_api::{Detail, Urgency};

pub use self::{
    destination::RoutedDestination,
    evaluation::{Due, Escalation, Evaluator, Outcome, Verdict},
    hours::{Hours, HoursError},
    matcher::{Matcher, MatcherError},
    route::Route,
    silences::{BrokenSilence, Silences},
};
use crate::alert::{Alert, AlertOutline};

/// The parts of an alert that conditions look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Name of the integration.
    pub integration: &'a str,
    /// Urgency.
    pub urgency: Urgency,
    /// Details.
    pub details: &'a [Detail],
}

impl<'a> From<&'a Alert> for Subject<'a> {
    fn from(alert: &'a Alert) -> Self {
        Self { integration: &alert.integration, urgency: alert.urgency, details: &alert.details }
    }
}

impl<'a> From<&'a AlertOutline> for Subject<'a> {
    fn from(alert: &'a AlertOutline) -> Self {
        Self { integration: &alert.integration, urgency: alert.urgency, details: &alert.details }
    }
}

/// The destinations and the routes to them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    destinations: Vec<RoutedDestination>,
    routes: Vec<Route>,
}

impl Routes {
    /// Joins routes with destinations. A route may name a destination that does not exist; that name is
    /// then ignored.
    ///
    /// Without routes, every destination is told of every alert.
    pub fn new(mut destinations: Vec<RoutedDestination>, routes: Vec<Route>) -> Self {
        destinations.sort_by(|one, other| one.name().cmp(other.name()));
        for destination in &mut destinations {
            destination.connect(&routes);
        }
        Self { destinations, routes }
    }

    /// Returns true if there is no destination, so that nobody can be told.
    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// Returns true if a condition of a route is on details.
    pub fn reads_details(&self) -> bool {
        self.routes.iter().any(Route::reads_details)
    }

    /// Returns an [`Evaluator`] of these routes. It has buffers of its own, so one is best kept for a
    /// whole page of changes.
    pub fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(self)
    }
}
