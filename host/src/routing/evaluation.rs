//! The evaluation of routes for one change of an alert.

use std::time::Duration;

use jiff::Timestamp;
use tocsin_plugin_api::notification::Kind;

use super::{Route, RoutedDestination, Routes, Subject, matcher::Mismatch, route::Miss};

/// Evaluates [`Routes`], with a buffer that is used again for every change.
pub struct Evaluator<'r> {
    routes: &'r Routes,
    results: Vec<RouteResult>,
}

/// Result of a route for one change, whatever destination it leads to.
#[derive(Clone, Copy, Debug)]
struct RouteResult {
    mismatch: Option<Mismatch>,
    /// True if the time at which the route tells is within its hours.
    is_open: bool,
}

/// The question that [`Evaluator::evaluate`] answers.
#[derive(Clone, Copy, Debug)]
struct Question<'s> {
    subject: Subject<'s>,
    at: Timestamp,
    kind: Kind,
}

impl<'r> Evaluator<'r> {
    pub(super) fn new(routes: &'r Routes) -> Self {
        Self { routes, results: Vec::with_capacity(routes.routes.len()) }
    }

    /// Returns a [`Verdict`] for every destination, sorted by name.
    ///
    /// `at` is the time of the change, and `kind` one of the kinds that a configuration can name: a
    /// destination never wants another kind. See [`escalation`](Routes::escalation) for escalations.
    pub fn evaluate<'e>(
        &'e mut self,
        subject: Subject<'e>,
        at: Timestamp,
        kind: Kind,
    ) -> impl Iterator<Item = Verdict<'r, 'e>> {
        let question = Question { subject, at, kind };
        self.results.clear();
        self.results.extend(self.routes.routes.iter().map(|route| {
            let mismatch = route.mismatch(subject);
            let time = if kind == Kind::Opened { route.tells_at(at) } else { at };
            RouteResult { mismatch, is_open: mismatch.is_none() && route.is_open(time) }
        }));
        let (routes, results) = (self.routes, self.results.as_slice());
        routes.destinations.iter().map(move |destination| Verdict {
            routes: &routes.routes,
            destination,
            results,
            question,
        })
    }
}

/// The decision about one destination and one change.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'r, 'e> {
    routes: &'r [Route],
    destination: &'r RoutedDestination,
    results: &'e [RouteResult],
    question: Question<'e>,
}

/// Outcome of a [`Verdict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'r> {
    /// The destination is told at once.
    Told {
        /// Name of the route; none if there are no routes.
        route: Option<&'r str>,
        /// True if the news only makes sense to a destination that was told before, because the news is
        /// about an alert of which the destination is told when it is opened or escalated.
        only_if_told: bool,
    },
    /// The destination is told only later, see [`Verdict::escalations`].
    Later,
    /// The destination's `events` do not name the kind, and no route escalates to it.
    NotWanted,
    /// No route to the destination matches, see [`Verdict::reasons`].
    NoRoute,
}

/// A message that is due later, if the alert is still open and not acknowledged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escalation<'r> {
    /// Name of the route.
    pub route: &'r str,
    /// Time at which it is due.
    pub due_at: Timestamp,
    /// Time between further messages.
    pub repeat: Option<Duration>,
    /// Number of messages of the route before this one: 0 after `after`, 1 if the destination was told at
    /// once and is reminded.
    pub sent: u32,
}

impl<'r> Verdict<'r, '_> {
    /// Returns the name of the destination.
    pub fn destination(&self) -> &'r str {
        self.destination.name()
    }

    /// Returns the decision.
    pub fn outcome(&self) -> Outcome<'r> {
        let is_wanted = self.destination.wants(self.question.kind);
        if is_wanted && let Some((route, only_if_told)) = self.teller() {
            return Outcome::Told { route, only_if_told };
        }
        if self.escalations().next().is_some() {
            return Outcome::Later;
        }
        if is_wanted { Outcome::NoRoute } else { Outcome::NotWanted }
    }

    /// Returns the messages that are due later, whatever the [`outcome`](Self::outcome). Only an alert that
    /// was opened leads to such messages.
    ///
    /// If several routes tell the destination at once and repeat, the shortest time counts.
    pub fn escalations(&self) -> impl Iterator<Item = Escalation<'r>> {
        let Question { at, kind, .. } = self.question;
        let is_opened = kind == Kind::Opened;
        let delayed = self.open_routes().filter(move |route| is_opened && route.after.is_some());
        let delayed = delayed.map(move |route| Escalation {
            route: &route.name,
            due_at: route.tells_at(at),
            repeat: route.repeat,
            sent: 0,
        });
        let is_told = is_opened && self.destination.wants(kind);
        let repeating = self.open_routes().filter(move |route| is_told && route.after.is_none());
        let repeating = repeating.filter_map(|route| route.repeat.map(|repeat| (repeat, route)));
        let reminder = repeating.min_by_key(|(repeat, _)| *repeat);
        let reminder = reminder.map(move |(repeat, route)| Escalation {
            route: &route.name,
            due_at: at.saturating_add(repeat).unwrap_or(Timestamp::MAX),
            repeat: Some(repeat),
            sent: 1,
        });
        delayed.chain(reminder)
    }

    /// Returns the reason of each route to the destination for not telling it: the first condition that
    /// did not hold. For a destination that [wants](Outcome::NotWanted) no such news, or to which no route
    /// leads, the list has one sentence that says so.
    ///
    /// The list is empty if the destination is told, at once or later.
    pub fn reasons(&self) -> Vec<String> {
        let name = self.destination();
        match self.outcome() {
            Outcome::Told { .. } | Outcome::Later => Vec::new(),
            Outcome::NotWanted => {
                vec![format!("`destinations.{name}.events` does not name `{}`", self.question.kind)]
            }
            Outcome::NoRoute if self.destination.routes.is_empty() => {
                vec![format!("no route leads to `{name}`")]
            }
            Outcome::NoRoute => self.destination.routes.iter().map(|at| self.reason(*at)).collect(),
        }
    }

    fn reason(&self, place: usize) -> String {
        let (route, result) = (&self.routes[place], self.results[place]);
        let Question { subject, at, kind } = self.question;
        let at = if kind == Kind::Opened { route.tells_at(at) } else { at };
        let miss = result.mismatch.map_or(Miss::Hours, Miss::Condition);
        route.explain(miss, subject, at)
    }

    /// Returns the route that tells the destination at once, and whether the destination must have been
    /// told before.
    fn teller(&self) -> Option<(Option<&'r str>, bool)> {
        let is_opened = self.question.kind == Kind::Opened;
        let follows = self.destination.wants(Kind::Opened) && !is_opened;
        if self.routes.is_empty() {
            return Some((None, follows));
        }
        if is_opened {
            let mut at_once = self.open_routes().filter(|route| route.after.is_none());
            return at_once.next().map(|route| (Some(&*route.name), false));
        }
        // Further news follows the first message, whatever the hour. Without a first message, the hours
        // count.
        let mut alone = self.open_routes().filter(|route| !follows && route.after.is_none());
        if let Some(route) = alone.next() {
            return Some((Some(&*route.name), false));
        }
        let mut followed = self.matching_routes().filter(|route| follows || route.after.is_some());
        followed.next().map(|route| (Some(&*route.name), true))
    }

    fn open_routes(&self) -> impl Iterator<Item = &'r Route> {
        self.selected(|result| result.is_open)
    }

    fn matching_routes(&self) -> impl Iterator<Item = &'r Route> {
        self.selected(|result| result.mismatch.is_none())
    }

    fn selected(&self, is_selected: fn(RouteResult) -> bool) -> impl Iterator<Item = &'r Route> {
        let (routes, results) = (self.routes, self.results);
        let places = self.destination.routes.iter().copied();
        places.filter(move |place| is_selected(results[*place])).map(|place| &routes[place])
    }
}

/// Answer of [`Routes::escalation`] to a message that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due<'r> {
    /// The destination is told.
    Tell {
        /// Name of the route.
        route: &'r str,
        /// Time until the next message.
        repeat: Option<Duration>,
    },
    /// The destination is not told this time.
    Skip {
        /// Name of the route.
        route: &'r str,
        /// Time until the next message.
        repeat: Option<Duration>,
        /// The condition that did not hold.
        reason: String,
    },
    /// No route escalates to the destination any more.
    Gone {
        /// The condition that did not hold, or that the route was removed.
        reason: String,
    },
}

impl Routes {
    /// Decides about an [`Escalation`] when it is due.
    ///
    /// A route that was renamed by a reload, for example because another one was inserted before it, is
    /// replaced by a route to the destination that escalates alerts like this one.
    pub fn escalation<'r>(
        &'r self,
        destination: &str,
        route: &str,
        subject: Subject<'_>,
        due_at: Timestamp,
    ) -> Due<'r> {
        let known = self.destinations.iter().find(|known| known.name() == destination);
        let routes = known.into_iter().flat_map(|known| &known.routes).map(|at| &self.routes[*at]);
        let mut escalating = routes.filter(|route| route.after.or(route.repeat).is_some());
        let found = match escalating.clone().find(|known| known.name == *route) {
            Some(found) => found,
            None => match escalating.find(|known| known.mismatch(subject).is_none()) {
                Some(found) => found,
                None => return Due::Gone { reason: format!("{route} is no longer configured") },
            },
        };
        let (route, repeat) = (&*found.name, found.repeat);
        if found.is_open(due_at) {
            return Due::Tell { route, repeat };
        }
        let reason = found.explain(Miss::Hours, subject, due_at);
        Due::Skip { route, repeat, reason }
    }
}
