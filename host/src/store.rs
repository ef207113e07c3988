//! Storage of alerts and request records: narrow interfaces, and the promises behind them.
//!
//! The stored types are in [`crate::alert`] and [`request`](crate::request), and the tasks that delete
//! old data in [`housekeeping`]. [`open`] chooses a store by its [`StoreConfig`]. `sqlite` keeps
//! everything in one file, and `postgres` in a database that several hosts share. Every store has to pass the
//! tests in `contract`. Nothing else in the host touches a database.

pub mod audit;
pub mod backup;
#[cfg(test)]
mod contract;
pub mod deliveries;
#[cfg(test)]
mod delivery_model;
pub mod duties;
pub mod feed;
#[cfg(test)]
mod fixture;
pub mod hosts;
pub mod housekeeping;
mod long_submission;
#[cfg(test)]
mod model;
mod pending;
mod postgres;
mod sql;
mod sqlite;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use tocsin_plugin_api::Urgency;
use tokio::sync::watch;
use ulid::Ulid;

pub use self::pending::Pending;
pub(crate) use self::pending::{Responder, pending};
pub use self::postgres::{InvalidAddress, PostgresAddress};
use self::{
    audit::AuditStore,
    backup::{Backup, BackupError, BackupTarget, Restored},
    deliveries::DeliveryStore,
    duties::DutyStore,
    feed::{ChangePage, Cursor},
    hosts::HostStore,
    housekeeping::{HousekeepingProgress, HousekeepingStep},
    postgres::PostgresStore,
    sqlite::SqliteStore,
};
pub use crate::alert::life::ManualAction;
use crate::{
    alert::{Actor, Alert, AlertRef, AlertWithHistory, Status},
    metrics::StoreMetrics,
    problem::Problem,
    request::{
        Effect, Quarantined, RawRequest, RequestPage, RequestQuery, RequestRecord, Submission,
    },
};

/// Number of events of one request that are committed all or nothing.
///
/// The number bounds a transaction, and with it the time for which one request can delay others.
pub const EVENTS_TOGETHER: usize = 1000;

/// Kind and address of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// Store in one SQLite file.
    Sqlite {
        /// Path of the database file.
        path: PathBuf,
    },
    /// Store in a PostgreSQL database, which several hosts may use.
    Postgres {
        /// Address of the database.
        address: Box<PostgresAddress>,
        /// Folder of the configuration file, for the host's own files.
        folder: PathBuf,
    },
}

impl StoreConfig {
    /// Returns the folder for the host's own files, unless the operator names another one.
    pub fn default_state_dir(&self) -> &Path {
        match self {
            Self::Sqlite { path } => path.parent().unwrap_or(Path::new("")),
            Self::Postgres { folder, .. } => folder,
        }
    }

    /// Returns the name by which the host's own files are known as those of this store.
    pub fn name(&self) -> OsString {
        match self {
            Self::Sqlite { path } => path.file_name().unwrap_or_default().to_owned(),
            Self::Postgres { address, .. } => address.database().into(),
        }
    }

    /// Returns the folder for backups, unless the operator names another one: the one of the store.
    pub fn default_backup_dir(&self) -> &Path {
        match self {
            Self::Sqlite { path } => path.parent().unwrap_or(Path::new("")),
            Self::Postgres { folder, .. } => folder,
        }
    }

    /// Returns true if looking at the store asks another machine.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Sqlite { .. } => false,
            Self::Postgres { address, .. } => address.is_remote(),
        }
    }

    /// Returns the place of a backup that is made now in a folder.
    pub fn backup_in(&self, folder: &Path) -> BackupTarget {
        let name = backup::name(&self.name().to_string_lossy(), Timestamp::now());
        BackupTarget { path: folder.join(name), replaces: false }
    }

    /// Deletes the oldest backups in a folder, so that `keep` are left, and returns their paths.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, or a file cannot be deleted.
    pub fn prune_backups(&self, folder: &Path, keep: usize) -> std::io::Result<Vec<PathBuf>> {
        backup::prune(folder, &self.name().to_string_lossy(), keep)
    }
}

/// Opens the [`Store`] of a configuration, and creates it if it is missing. The error of a second host
/// names this one as `holder`.
///
/// # Errors
///
/// If another host has the store open, a newer host or another program wrote it, or the disk fails.
pub fn open(
    config: &StoreConfig,
    holder: &str,
    metrics: Arc<StoreMetrics>,
) -> anyhow::Result<Arc<dyn Store>> {
    match config {
        StoreConfig::Sqlite { path } => Ok(Arc::new(SqliteStore::open(path, holder, metrics)?)),
        StoreConfig::Postgres { address, .. } => {
            Ok(Arc::new(PostgresStore::open(address, metrics)?))
        }
    }
}

/// Checks that a store can be opened, without changing anything.
///
/// # Errors
///
/// If a newer host or another program wrote the store, or the files that a host used there were removed
/// or replaced.
pub fn check(config: &StoreConfig) -> anyhow::Result<()> {
    match config {
        StoreConfig::Sqlite { path } => SqliteStore::check(path),
        StoreConfig::Postgres { address, .. } => PostgresStore::check(address),
    }
}

/// Returns the name of the host that has a store open; none if no host has.
pub fn holder(config: &StoreConfig) -> Option<String> {
    match config {
        StoreConfig::Sqlite { path } => SqliteStore::holder(path),
        // Any number of hosts may use the database.
        StoreConfig::Postgres { .. } => None,
    }
}

/// Checks that the folder of a store exists. Nobody makes it, since a path that is misspelt would otherwise lead to
/// an empty store.
///
/// # Errors
///
/// If the folder does not exist.
pub(crate) fn check_folder(config: &StoreConfig) -> anyhow::Result<()> {
    match config {
        StoreConfig::Sqlite { path } => sqlite::check_folder(path),
        StoreConfig::Postgres { .. } => Ok(()),
    }
}

/// Makes a backup of a store from outside its host, whether a host uses the store or not.
///
/// # Errors
///
/// If the store is missing or damaged, or the file cannot be written. No file is left behind then.
pub fn back_up(config: &StoreConfig, target: &BackupTarget) -> anyhow::Result<Backup> {
    match config {
        StoreConfig::Sqlite { path } => SqliteStore::back_up(path, target),
        StoreConfig::Postgres { .. } => Err(postgres::no_backup_error()),
    }
}

/// Puts a backup in the place of a store that no host uses, and keeps the former one beside it. The error of a
/// host that starts meanwhile names this process as `holder`.
///
/// # Errors
///
/// If a host uses the store, the backup cannot be used, or the disk fails.
pub fn restore(config: &StoreConfig, backup: &Path, holder: &str) -> anyhow::Result<Restored> {
    match config {
        StoreConfig::Sqlite { path } => SqliteStore::restore(path, backup, holder),
        StoreConfig::Postgres { .. } => Err(postgres::no_backup_error()),
    }
}

/// Handle of a store.
///
/// Committed data is on disk and survives the death of the host and of the machine. Other hosts may
/// write to the same store.
pub trait Store:
    AlertStore
    + RequestStore
    + DeliveryStore
    + DutyStore
    + HostStore
    + AuditStore
    + Housekeeping
    + StoreHealth
{
    /// Makes a backup beside the work of the store. The backup has everything that was acknowledged before this
    /// call.
    fn back_up(&self, target: BackupTarget) -> Pending<Result<Backup, BackupError>>;

    /// Commits what was submitted, gives up all duties of this host, closes the store, and returns when that is done.
    fn close(&self);
}

/// [Alerts](Alert) with their histories, and changes to them by hand.
pub trait AlertStore: Send + Sync {
    /// Applies a [`ManualChange`] to an alert.
    fn change(&self, alert: AlertRef, change: ManualChange) -> Pending<ManualChangeOutcome>;

    /// Returns one alert with its history.
    fn alert(&self, alert: AlertRef) -> Pending<Option<AlertWithHistory>>;

    /// Returns an [`AlertPage`], newest alert first.
    fn alerts(&self, query: AlertQuery) -> Pending<AlertPage>;

    /// Counts the unresolved alerts among those with the `limit` numbers after `after`. Reads these alerts
    /// only, so that a caller can count all alerts in steps.
    fn count_unresolved(&self, after: u64, limit: u64) -> Pending<UnresolvedCount>;

    /// Returns the changes after a cursor, at most `limit` and at most [`MOST_CHANGES`](feed::MOST_CHANGES).
    ///
    /// Changes come in the order of their commits. Changes of one transaction come in the order of
    /// their alerts, and for one alert in the order in which they were made. A reader that continues
    /// from the cursor of each page sees every change, and none twice: a merged history entry that has
    /// counted another report is another change. Changes appear only after they are on disk. Alerts
    /// that [`Housekeeping`] has deleted are no longer in the feed. Changes made before the feed
    /// existed come first, in the order of their alerts.
    fn changes_since(&self, cursor: Cursor, limit: usize) -> Pending<ChangePage>;

    /// Returns a receiver that is told when there may be further changes in the feed, so that a reader
    /// need not poll.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// Requests: their events, their records, and their bytes if those are kept.
///
/// Dedup keys and event ids are enforced inside the committing transaction, so that no number of
/// concurrent callers can race them.
pub trait RequestStore: Send + Sync {
    /// Commits the events and the record of one request, and calls `then` when all of it is on disk.
    ///
    /// Up to [`EVENTS_TOGETHER`] events are committed all or nothing. More events are committed in
    /// several steps, in their order, and other requests are committed between these steps. The record
    /// has all effects and is committed with the last step. If a step fails, `then` is called with the
    /// error. If a step fails or the host dies, earlier steps stay committed. Until the last step, a
    /// record with the outcome [`Failed`](crate::request::RequestOutcome::Failed) stands for the request, so
    /// that its alerts lead to a record. The sender tries again, and events with keys are then
    /// recognized by their keys.
    ///
    /// `then` is a continuation rather than a future, so that the submitting task need not be woken in
    /// between. It must not block.
    fn commit(&self, submission: Submission, then: CommitCallback);

    /// Commits the events and the record of one request, as [`commit`](Self::commit) does.
    fn submit(&self, submission: Submission) -> Pending<Vec<Effect>> {
        let (responder, pending) = pending();
        self.commit(submission, Box::new(move |committed| responder.answer(committed)));
        pending
    }

    /// Returns the effects that [`commit`](Self::commit) would have, and changes nothing.
    fn rehearse(&self, submission: Submission) -> Pending<Vec<Effect>>;

    /// Returns the [`RequestRecord`] of one request.
    fn request(&self, id: Ulid) -> Pending<Option<RequestRecord>>;

    /// Returns a [`RequestPage`], newest record first.
    fn requests(&self, query: RequestQuery) -> Pending<RequestPage>;

    /// Returns the [`RawRequest`], if it is kept.
    fn raw_request(&self, id: Ulid) -> Pending<Option<RawRequest>>;

    /// Returns, for each integration, the requests that wait for a replay, sorted by its name.
    fn quarantine(&self) -> Pending<Vec<Quarantined>>;
}

/// Recurring tasks, such as deleting old records.
pub trait Housekeeping: Send + Sync {
    /// Does one [`HousekeepingStep`].
    fn housekeep(&self, step: HousekeepingStep) -> Pending<HousekeepingProgress>;
}

/// State of a store, and this host's own experience with it.
///
/// Methods that return a [`Pending`] ask the store. The others return what this process has seen
/// itself, and are not aware of other hosts.
pub trait StoreHealth: Send + Sync {
    /// Returns the error of this process's last commit; none once a later request, or a
    /// [probe](Self::probe), was committed.
    fn last_write_error(&self) -> Option<Problem>;

    /// Returns the first damage that this process has found since it opened the store. Undamaged data
    /// is still served.
    fn damage_found(&self) -> Option<Problem>;

    /// Returns a sentence if this process, when it opened the store, did not find the data that an
    /// earlier host had left: if the store was empty, older, or another one.
    fn identity_warning(&self) -> Option<String>;

    /// Tests whether requests can be committed: writes one, takes it back, and commits a counter.
    fn probe(&self) -> Pending<()>;

    /// Returns the size of the store on disk, in bytes.
    fn size_bytes(&self) -> Pending<u64>;

    /// Returns the size of the data, in bytes. Deleted data leaves room on disk that is used again.
    fn used_bytes(&self) -> Pending<u64>;
}

/// Callback for the result of [`RequestStore::commit`]. Dropped unused if the store is closed.
pub type CommitCallback = Box<dyn FnOnce(Result<Vec<Effect>, StoreError>) + Send>;

/// Change of an [`Alert`] by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualChange {
    /// The action.
    pub action: ManualAction,
    /// Person or program that acts.
    pub by: Actor,
    /// Time of the change.
    pub at: Timestamp,
}

/// Outcome of a [`ManualChange`].
#[derive(Clone, Debug, PartialEq)]
pub enum ManualChangeOutcome {
    /// The alert has the wanted state, whether the change or an earlier one led to it.
    Done(Box<AlertWithHistory>),
    /// The alert is resolved, and a resolved alert cannot be acknowledged.
    AlreadyResolved,
    /// No such alert exists.
    NotFound,
}

/// Query for [`AlertStore::alerts`]. Filters that are `None` match every alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertQuery {
    /// Status of the alerts.
    pub status: Option<Status>,
    /// Urgency of the alerts.
    pub urgency: Option<Urgency>,
    /// Name of the integration.
    pub integration: Option<String>,
    /// Time from which on the alerts were opened.
    pub since: Option<Timestamp>,
    /// Text in the title, the description, the dedup key or the details. ASCII letters match in either case.
    pub search: Option<String>,
    /// Largest number of alerts on the page, 1 or more.
    pub limit: usize,
    /// Exclusive upper bound of the alert numbers.
    pub before: Option<u64>,
}

/// Page of [alerts](Alert), newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertPage {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// Start of the next page, if there is one: a value for [`AlertQuery::before`].
    pub next: Option<u64>,
}

/// Numbers of unresolved alerts among some alerts, for [`AlertStore::count_unresolved`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnresolvedCount {
    /// Numbers by status and urgency. Those that are zero are left out.
    pub counts: Vec<(Status, Urgency, u64)>,
    /// Start of the next step, if there are further alerts: a value for `after`.
    pub next: Option<u64>,
}

/// Reason why the store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused. Another try may succeed.
    #[error("the store cannot be used: {}", .0.one_line())]
    Unavailable(Problem),
    /// Too many searches run or wait already. Another try may succeed.
    #[error("too many searches at once")]
    Busy,
    /// Another store made the cursor, or this store in a state that it no longer has.
    #[error("the cursor does not belong to this store")]
    UnknownCursor,
    /// Another host has taken the duty that the change belongs to.
    #[error("another host has taken over this work")]
    NotOnDuty,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
