//! What the host needs of a database: one narrow interface, and the promises behind it.
//!
//! What is stored is in [`crate::alert`] and [`request`]; what leaves again by itself in [`housekeeping`].
//! [`sqlite`] keeps it in a file. Another store has to pass the same tests, `contract`. Nothing else in
//! the host touches a database.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod fixture;
pub mod housekeeping;
#[cfg(test)]
mod model;
// Until every room names it where it lies.
pub use crate::request;
pub mod sqlite;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use jiff::Timestamp;
use tocsin_plugin_api::Urgency;
use tokio::sync::oneshot;
use ulid::Ulid;

use self::{
    housekeeping::{HousekeepingProgress, HousekeepingStep},
    request::{
        Effect, Quarantined, RawRequest, RequestPage, RequestQuery, RequestRecord, Submission,
    },
};
use crate::alert::{Alert, AlertRef, AlertWithHistory, Status};

/// How many events of a request are committed all or nothing. It bounds a transaction, and with it how
/// long one request can make others wait.
pub const EVENTS_TOGETHER: usize = 1000;

/// A place where alerts and the records of requests are kept.
///
/// What [`commit`](Self::commit) and [`change`](Self::change) gave back is on disk and survives the
/// death of the host and of the machine. Both keys are enforced inside the committing transaction,
/// so that no number of concurrent callers can race them.
pub trait Store: Send + Sync {
    /// Commits what came of one request, and calls `then` when all of it is on disk.
    ///
    /// Up to [`EVENTS_TOGETHER`] events are committed all or nothing. More are committed in several
    /// steps, in their order, and other requests are committed between these. The record has all
    /// effects and comes with the last step. If a step fails, `then` is called with the error; if it
    /// fails or the host dies, the steps before it stay. Until it is finished, a record with the outcome
    /// [`Failed`](request::RequestOutcome::Failed) stands for the request, so that its alerts lead to
    /// one. The sender tries again, and events that have keys are then known by these.
    ///
    /// A continuation rather than a future: whoever submits need not be woken in between. It must
    /// not block.
    fn commit(&self, submission: Submission, then: CommitCallback);

    /// What [`commit`](Self::commit) would give, without anything being changed.
    fn rehearse(&self, submission: Submission) -> Pending<Vec<Effect>>;

    /// Changes an alert by hand.
    fn change(&self, alert: AlertRef, change: ManualChange) -> Pending<ManualChangeOutcome>;

    /// One alert with its history.
    fn alert(&self, alert: AlertRef) -> Pending<Option<AlertWithHistory>>;

    /// Alerts, newest first.
    fn alerts(&self, query: AlertQuery) -> Pending<AlertPage>;

    /// The record of one request.
    fn request(&self, id: Ulid) -> Pending<Option<RequestRecord>>;

    /// The records of requests, newest first.
    fn requests(&self, query: RequestQuery) -> Pending<RequestPage>;

    /// A request as it came, if it is kept.
    fn raw_request(&self, id: Ulid) -> Pending<Option<RawRequest>>;

    /// The requests of each integration that wait for a replay, by the integration's name.
    fn quarantine(&self) -> Vec<Quarantined>;

    /// Does a small part of what has to be done from time to time, and says how much that was and
    /// whether there may be more.
    fn housekeep(&self, step: HousekeepingStep) -> Pending<HousekeepingProgress>;

    /// Why the last commit failed; none once a webhook, or the [probe](Self::probe), was kept.
    fn problem(&self) -> Option<String>;

    /// What of it was found to be damaged since it was opened, if anything was. The rest is served.
    fn damage(&self) -> Option<String>;

    /// A sentence if it was not, when it was opened, what an earlier host had left there: empty, older,
    /// or another one.
    fn surprise(&self) -> Option<String>;

    /// Does what a webhook does, takes it back, and commits something without meaning, to see whether
    /// it can be done.
    fn probe(&self) -> Pending<()>;

    /// What it takes on disk, in bytes.
    fn size_bytes(&self) -> u64;

    /// What of that holds something, in bytes: what was forgotten leaves room that is used again.
    fn used_bytes(&self) -> Pending<u64>;

    /// Commits what was submitted, lets the database go, and returns when that is done.
    fn close(&self);
}

/// What happens after a commit, or when it failed. Dropped unused if the store is closed.
pub type CommitCallback = Box<dyn FnOnce(Result<Vec<Effect>, StoreError>) + Send>;

impl dyn Store + '_ {
    /// Commits what came of one request, as something to wait for.
    pub fn submit(&self, submission: Submission) -> Pending<Vec<Effect>> {
        let (responder, pending) = pending();
        self.commit(submission, Box::new(move |committed| responder.answer(committed)));
        pending
    }
}

/// A change by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualChange {
    /// What is done.
    pub action: ManualAction,
    /// Who does it, in words for the alert's history.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What can be done to an alert by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManualAction {
    /// Somebody takes it on.
    Acknowledge,
    /// It is over.
    Resolve,
    /// Somebody writes something down about it.
    Note(String),
}

/// What became of a change by hand.
#[derive(Clone, Debug, PartialEq)]
pub enum ManualChangeOutcome {
    /// The alert is now so, whether the change made it so or it was before.
    Done(Box<AlertWithHistory>),
    /// A resolved alert can't be acknowledged.
    AlreadyResolved,
    /// There is no such alert.
    NotFound,
}

/// Which alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertQuery {
    /// Only with this status.
    pub status: Option<Status>,
    /// Only with this urgency.
    pub urgency: Option<Urgency>,
    /// Only of this integration.
    pub integration: Option<String>,
    /// How many at most, 1 or more.
    pub limit: usize,
    /// Only alerts with a lower number.
    pub before: Option<u64>,
}

/// Some alerts, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertPage {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// Where the next page starts, if there is one: a value for [`AlertQuery::before`].
    pub next: Option<u64>,
}

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused; another try may succeed.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// Too many searches run or wait already; another try may succeed.
    #[error("too many searches at once")]
    Busy,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// An answer of the store that is on its way.
///
/// A plain future rather than a boxed one, so that the interface can be a trait object.
pub struct Pending<T>(oneshot::Receiver<Result<T, StoreError>>);

/// Where the answer to a [`Pending`] goes.
pub struct Responder<T>(oneshot::Sender<Result<T, StoreError>>);

/// An answer on its way, and where it goes.
pub fn pending<T>() -> (Responder<T>, Pending<T>) {
    let (sender, receiver) = oneshot::channel();
    (Responder(sender), Pending(receiver))
}

impl<T> Responder<T> {
    /// Answers. Whoever asked may have gone; then the answer is dropped.
    pub fn answer(self, answer: Result<T, StoreError>) {
        let _ = self.0.send(answer);
    }
}

impl<T> Pending<T> {
    /// Waits on a thread outside the async runtime.
    ///
    /// # Errors
    ///
    /// As the store answers.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
