//! Looks at the files of the database, under load and at rest.
//!
//! [`OpenFiles`] compares the files. The writing thread looks before it answers, and the checkpointing
//! thread while nothing is written.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{health::Health, open_files::OpenFiles};
use crate::{metrics::StoreMetrics, problem::Problem};

/// Interval between looks at the files while little or nothing is written.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Shortest interval between looks at the files under load, since a look costs about as much as a request. A
/// transaction that ends later than that after the last look is not answered before the next one.
pub(super) const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// Watch over the files of a database in use.
pub(super) struct FileWatch {
    watched: Mutex<Watched>,
    health: Health,
    metrics: Arc<StoreMetrics>,
}

struct Watched {
    files: OpenFiles,
    looked_at: Instant,
}

impl FileWatch {
    /// Remembers the files of a database that was just opened.
    pub(super) fn of(database: &Path, health: Health, metrics: Arc<StoreMetrics>) -> Self {
        let watched = Watched { files: OpenFiles::of(database), looked_at: Instant::now() };
        Self { watched: Mutex::new(watched), health, metrics }
    }

    /// Looks at the files, unless the last look was just before and found them in place.
    ///
    /// # Errors
    ///
    /// A [`Problem`] that names the file that was removed, replaced or cut off.
    pub(super) fn look_if_due(&self) -> Result<(), Problem> {
        let is_time = self.watched().looked_at.elapsed() >= LOOK_AT_MOST_EVERY;
        if is_time || self.health.is_displaced() { self.look() } else { Ok(()) }
    }

    /// Looks at the files. The first time that a file is not in place, this is logged, and writing stops for
    /// good.
    ///
    /// # Errors
    ///
    /// A [`Problem`] that names the file that was removed, replaced or cut off.
    pub(super) fn look(&self) -> Result<(), Problem> {
        let mut watched = self.watched();
        let looked = watched.files.check();
        watched.looked_at = Instant::now();
        if let Err(reason) = &looked
            && !self.health.is_displaced()
        {
            tracing::error!(
                event = "store_lost",
                error = reason.one_line(),
                "the store cannot store anything more",
            );
            self.metrics.is_lost.set(1);
            self.health.displace(reason.clone());
        }
        looked
    }

    /// Returns the size of the write-ahead log at the last look.
    pub(super) fn log_bytes(&self) -> u64 {
        self.watched().files.log_bytes()
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
