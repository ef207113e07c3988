//! Backups of a store: their names, where they are written, and what they hold.
//!
//! The copying itself belongs to each kind of store.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::problem::Problem;

/// Place of a new backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupTarget {
    /// Path of the file.
    pub path: PathBuf,
    /// True if the file may replace an existing one.
    pub replaces: bool,
}

/// Backup that was written, verified and synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Path of the file.
    pub path: PathBuf,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Number of alerts in it.
    pub alerts: u64,
    /// Version of its schema.
    pub schema: i64,
    /// Time from which on changes may be missing. Everything that was acknowledged before is in the backup.
    pub begun_at: Timestamp,
}

/// Store that was restored from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Path of the store.
    pub store: PathBuf,
    /// New path of the former database; none if there was none.
    pub former: Option<PathBuf>,
    /// Number of alerts.
    pub alerts: u64,
    /// Version of the schema.
    pub schema: i64,
    /// A sentence if the backup is usable but may be incomplete.
    pub warning: Option<String>,
}

/// Reason why there is no backup.
#[derive(Clone, Debug)]
pub enum BackupError {
    /// Another backup is being made.
    Busy,
    /// The backup could not be made. No file is left behind.
    Failed(Problem),
}

/// Text between the name of a database and the time of its backup.
const BACKUP: &str = ".backup-";
/// Length of a time in a file name, as [`stamp`] writes it.
const STAMP_BYTES: usize = "20261128T053349123Z".len();

/// Returns a time as it is written in the names of files.
pub(super) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S%3fZ").to_string()
}

/// Returns the name of a backup that is made at a time of the store with a name.
pub(super) fn name(store: &str, at: Timestamp) -> String {
    format!("{store}{BACKUP}{}", stamp(at))
}

/// Deletes the oldest backups of a store in a folder, so that `keep` are left, and returns their paths. Files
/// with other names are never deleted.
///
/// # Errors
///
/// If the folder cannot be read, or a file cannot be deleted.
pub(super) fn prune(folder: &Path, store: &str, keep: usize) -> io::Result<Vec<PathBuf>> {
    let begins = format!("{store}{BACKUP}");
    let is_stamp = |text: &str| {
        let is_right = |(at, byte): (usize, u8)| match at {
            8 => byte == b'T',
            18 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        };
        text.len() == STAMP_BYTES && text.bytes().enumerate().all(is_right)
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_backup = name.strip_prefix(&begins).is_some_and(is_stamp);
        if is_backup && entry.file_type()?.is_file() {
            names.push(name);
        }
    }
    // The names end with the time.
    names.sort();
    names.truncate(names.len().saturating_sub(keep));
    let paths: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    paths.iter().try_for_each(fs::remove_file)?;
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletes_the_oldest_backups_and_no_other_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |second: i64| name("tocsin.db", Timestamp::from_second(second).expect("a time"));
        let others = [
            "tocsin.db".to_owned(),
            "tocsin.db.backup-mine".to_owned(),
            format!("{}.partial-1", at(1)),
            name("other.db", Timestamp::UNIX_EPOCH),
        ];
        let backups = [at(1), at(2), at(1_700_000_000)];
        for name in others.iter().chain(&backups) {
            fs::write(folder.path().join(name), "").expect("written");
        }
        fs::create_dir(folder.path().join(at(0))).expect("a folder with such a name");
        let removed = prune(folder.path(), "tocsin.db", 1).expect("pruned");
        assert_eq!(removed, [folder.path().join(at(1)), folder.path().join(at(2))]);
        for name in others.iter().chain(&backups[2..]).chain(&[at(0)]) {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        assert_eq!(
            prune(folder.path(), "tocsin.db", 1).expect("pruned"),
            [""; 0].map(PathBuf::from)
        );
    }
}
