//! What tells a file as it was from the same file changed, without reading it.
//!
//! It reads no contents.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// Kernels note the times of files in ticks of 10 ms at most.
const SETTLED: Duration = Duration::from_millis(100);

/// A file at one moment. It changes whenever the file is written, replaced, or given another owner
/// or mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    identity: Identity,
    size_bytes: u64,
    modified: Moment,
    /// Unlike the time of modification, nobody can set it.
    changed: Moment,
}

/// Which file it is, whatever its name: device and inode.
type Identity = (u64, u64);

/// Seconds and nanoseconds since 1970.
type Moment = (i64, i64);

impl Stamp {
    /// The stamp of what a path leads to; none where there is nothing to see.
    pub fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::from)
    }

    /// Whether it is the same file with the same contents, whatever became of its name, owner and
    /// mode.
    pub fn is_same_file(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }

    /// Whether the last change is so long ago that another one could not leave the same times.
    pub fn is_settled(&self) -> bool {
        let (Ok(seconds), Ok(nanoseconds)) = (self.changed.0.try_into(), self.changed.1.try_into())
        else {
            return false;
        };
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        SystemTime::now().duration_since(changed).is_ok_and(|age| age >= SETTLED)
    }
}

impl From<&Metadata> for Stamp {
    fn from(file: &Metadata) -> Self {
        Self {
            identity: identity(file),
            size_bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// A folder at one moment, without what lies in it. It changes whenever the folder is replaced, or
/// given another owner or mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderStamp {
    identity: Identity,
    owner: (u32, u32),
    mode: u32,
}

impl FolderStamp {
    /// The stamp of what a path leads to; none where there is nothing to see.
    pub fn of(path: &Path) -> Option<Self> {
        let folder = fs::metadata(path).ok()?;
        let owner = (folder.uid(), folder.gid());
        Some(Self { identity: identity(&folder), owner, mode: folder.mode() })
    }
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino())
}
