//! Compares a database with the one that a host used at its path, as the lock file remembers it.
//!
//! Files that vanish while a host runs are noticed by [`super::open_files`].

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::lock::{Before, DatabaseLock, KnownDatabase};
use crate::system::private_file::beside;

/// Compares a database with the one that an earlier host used at the same path: a sentence if they
/// differ in a way that may mean that data is lost.
pub(super) fn warning(
    path: &Path,
    before: Before,
    found: KnownDatabase,
    was_empty: bool,
    lacks_log: bool,
    orphan: Option<&Path>,
) -> Option<String> {
    const HINT: &str = "if this was not intended, stop the host and put the former database, or \
                        a backup of it, at this path; until then, new alerts are stored in the present one";
    let shown = path.display();
    let what = match before {
        Before::Known(known) if known.salt == found.salt && known.alerts <= found.alerts => None,
        Before::Known(known) if known.salt == found.salt => Some(format!(
            "holds alerts up to #{}, though there were alerts up to #{} when a host used it last: it \
             is an older copy, or was copied without its `-wal` file",
            found.alerts, known.alerts
        )),
        Before::Known(known) if found.alerts == 0 => Some(format!(
            "is empty, though a host used a database with alerts up to #{} here: that one was \
             removed or replaced",
            known.alerts
        )),
        Before::Known(_) => {
            Some("is another database than the one that a host used here last".to_owned())
        }
        Before::SomeHost if was_empty => Some(
            "is empty, though the lock file of an earlier host is beside it: its database may have \
             been removed"
                .to_owned(),
        ),
        Before::Nothing if was_empty && saved_beside(path).is_some() => {
            Some("is new".to_owned())
        }
        Before::SomeHost | Before::Nothing => None,
    };
    if what.is_none() && lacks_log {
        return Some(copied_without_log(path, found.alerts));
    }
    let what = what.map(|what| match saved_beside(path).filter(|_| was_empty) {
        Some(saved) => {
            format!("{what}; alerts that an earlier host saved are in `{}`", saved.display())
        }
        None => what,
    });
    let orphan = orphan.map(|log| {
        format!(
            "the write-ahead log of a database that was removed or replaced was set aside as `{}`",
            log.display()
        )
    });
    let said = match (what, orphan) {
        (Some(what), Some(orphan)) => format!("the store `{shown}` {what}; {orphan}"),
        (Some(what), None) => format!("the store `{shown}` {what}"),
        (None, Some(orphan)) => format!("beside the store `{shown}`, {orphan}"),
        (None, None) => return None,
    };
    Some(format!("{said}; hint: {HINT}"))
}

fn copied_without_log(path: &Path, alerts: u64) -> String {
    let holds = if alerts == 0 { "no alerts".into() } else { format!("alerts up to #{alerts}") };
    format!(
        "the store `{}` holds {holds}, though it was copied from a host that was running: its `-wal` file, \
         which had the newest alerts, is missing; hint: stop the host, and restore a file that `tocsin backup` \
         has made, or copy both files; if another program made the copy or folded the log, nothing is missing",
        path.display()
    )
}

/// Checks that the files of a database are those that a host uses now or used last.
///
/// # Errors
///
/// A sentence with a hint if they are not.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let before = DatabaseLock::peek(path);
    if let Some(holder) = DatabaseLock::holder(path) {
        let Before::Known(known) = before else { return Ok(()) };
        let log = beside(path, "-wal");
        for (what, file, used) in
            [("store", path, known.inodes.0), ("write-ahead log", &log, known.inodes.1)]
        {
            let became = match inode(file) {
                now if now == used => continue,
                0 => "was removed",
                _ => "was replaced by another file",
            };
            anyhow::bail!(
                "the {what} `{}` {became} while {holder} has it open, so that host can store \
                 nothing more\n\
                 hint: stop that host with SIGTERM, which saves all alerts into a new file beside it, \
                 and move that file, or the database that you want to use, to this path",
                file.display()
            );
        }
        return Ok(());
    }
    let is_empty = fs::metadata(path).map_or(true, |metadata| metadata.len() == 0);
    if let (true, Some(saved)) = (is_empty, saved_beside(path)) {
        anyhow::bail!(
            "the store `{shown}` is missing or empty, though alerts that an earlier host saved \
             are in `{}`\nhint: move that file to `{shown}`; to start with an empty store, \
             move it elsewhere",
            saved.display()
        );
    }
    if let (Before::Known(known), true) = (before, is_empty) {
        anyhow::bail!(
            "the store `{shown}` is missing or empty, though a host used a database with alerts up \
             to #{} here\nhint: put it or a backup in its place; to start with an empty store, \
             remove `{}`",
            known.alerts,
            beside(path, ".lock").display()
        );
    }
    Ok(())
}

/// Returns the newest file beside a database into which an earlier host saved its alerts.
fn saved_beside(database: &Path) -> Option<PathBuf> {
    let begins = format!("{}{SAVED}", database.file_name()?.to_str()?);
    let entries = fs::read_dir(database.parent()?).ok()?;
    let saved = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.starts_with(&begins).then_some(path)
    });
    // The names end with the time.
    saved.max()
}

/// Between the name of a database and the time at which it was saved.
pub(super) const SAVED: &str = ".saved-";

/// The inode of a file; 0 if it is missing.
pub(super) fn inode(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.ino())
}
