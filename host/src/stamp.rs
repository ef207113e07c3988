//! What tells a file as it was from the same file changed, without reading it.
//!
//! It reads no contents.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use jiff::Timestamp;

/// The coarsest clock of a usual file system: within one of its ticks a file may change and keep its
/// times.
const TICK: Duration = Duration::from_secs(2);

/// A file at one moment: another stamp means another file, or other contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: Moment,
    /// Unlike the time of modification, nobody can set it.
    changed: Moment,
}

/// Seconds and nanoseconds since 1970.
type Moment = (i64, i64);

impl Stamp {
    /// The stamp of what a path leads to; none where there is nothing to see.
    pub fn of(path: &Path) -> Option<Self> {
        let seen = fs::metadata(path).ok()?;
        Some(Self {
            device: seen.dev(),
            inode: seen.ino(),
            size_bytes: seen.size(),
            modified: (seen.mtime(), seen.mtime_nsec()),
            changed: (seen.ctime(), seen.ctime_nsec()),
        })
    }

    /// Whether it is the same file with the same contents, whatever became of its name, owner and
    /// mode.
    pub fn is_same_file(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }

    /// Whether the last change was so long before `moment` that what was read then can't have
    /// changed since without another stamp.
    pub fn is_older_than(&self, moment: Timestamp) -> bool {
        let changed = i128::from(self.changed.0) * 1_000_000_000 + i128::from(self.changed.1);
        moment.as_nanosecond() - changed > i128::try_from(TICK.as_nanos()).unwrap_or(i128::MAX)
    }
}
