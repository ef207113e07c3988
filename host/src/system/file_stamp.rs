//! Identity, size and times of a file, see [`Stamp`]: equal means unchanged.
//!
//! No contents are read.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// Age of a change from which a later change is certain to have another time. Kernels note the times of
/// files in steps of at most 10 ms.
const SETTLED: Duration = Duration::from_millis(100);

/// Identity, size and times of a file. Equal stamps mean that the file was not written, replaced, or given
/// another owner or mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    identity: Identity,
    size_bytes: u64,
    modified: Moment,
    /// Time of the last change of contents, owner or mode. Unlike `modified`, no program can set it.
    changed: Moment,
}

/// Device and inode, which identify a file whatever its name.
type Identity = (u64, u64);

/// Seconds and nanoseconds since 1970.
type Moment = (i64, i64);

impl Stamp {
    /// Returns the stamp of the file at a path, or `None` if there is no file, or no right to look at it.
    pub fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::from)
    }

    /// Returns true if file and contents are the same, even under another name, owner or mode.
    pub fn is_same_file(&self, other: &Self) -> bool {
        Self { changed: other.changed, ..*self } == *other
    }

    /// Returns true if the last change is so old that a further change would leave other times.
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

/// Identity, owner and mode of a folder, without its files. Equal stamps mean that the folder was not
/// replaced, or given another owner or mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FolderStamp {
    identity: Identity,
    owner: (u32, u32),
    mode: u32,
}

impl FolderStamp {
    /// Returns the stamp of the folder at a path, or `None` if there is no folder, or no right to look at it.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let folder = fs::metadata(path).ok()?;
        let owner = (folder.uid(), folder.gid());
        Some(Self { identity: identity(&folder), owner, mode: folder.mode() })
    }
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino())
}
