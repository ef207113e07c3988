//! Restores a database from a backup. The former database is kept under another name.
//!
//! The lock of the database keeps hosts out meanwhile. The log of the former database is moved with it, so that
//! the two databases are never mixed.

use std::{
    fs::{self, Metadata},
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use anyhow::{Context, anyhow, ensure};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use ulid::Ulid;

use super::{
    access::folder_of,
    backup::{
        NewFile, StopSign, copy_snapshot, explained, make_independent, schema_of, sync_folder,
        verify,
    },
    identity::inode,
    in_use,
    lock::{DatabaseLock, KnownDatabase, in_use as in_use_by},
    orphaned_log, resolved,
};
use crate::{
    store::backup::{Restored, stamp},
    system::private_file::beside,
};

/// Puts a backup in the place of a database. `holder` names this process for a host that starts meanwhile.
///
/// # Errors
///
/// If a host uses the database, the backup is damaged, of a newer host or no backup, or the disk fails. The
/// database is then unchanged.
pub(super) fn restore(database: &Path, backup: &Path, holder: &str) -> anyhow::Result<Restored> {
    let context = || format!("cannot restore `{}`", backup.display());
    super::check_folder(database)?;
    let database = &resolved(database).with_context(context)?;
    if let Some(holder) = DatabaseLock::holder(database) {
        return Err(in_use_by(database, Some(&holder)));
    }
    let metadata = fs::metadata(backup).with_context(context)?;
    ensure!(metadata.is_file(), "cannot restore `{}`: it is not a file", backup.display());
    let is_itself = fs::metadata(database)
        .is_ok_and(|own| (own.dev(), own.ino()) == (metadata.dev(), metadata.ino()));
    ensure!(!is_itself, "cannot restore `{}`: it is the store itself", backup.display());

    let new = NewFile::beside(database, ".restoring-").with_context(context)?;
    let is_incomplete = in_use::is_copy_without_log(backup);
    let (counts, schema) = copy(backup, &new).with_context(context)?;
    let known = known(&new.path).with_context(context)?;
    let former = swap(database, &new, known, holder)?;
    let warning = is_incomplete.then(|| {
        format!(
            "`{}` was copied from a running host without its `-wal` file, so the newest alerts may be \
             missing\nhint: make backups with `tocsin backup`",
            backup.display()
        )
    });
    let alerts = counts.get("alerts").copied().unwrap_or_default();
    Ok(Restored { store: database.clone(), former, alerts, schema, warning })
}

fn copy(
    backup: &Path,
    new: &NewFile,
) -> anyhow::Result<(std::collections::BTreeMap<String, u64>, i64)> {
    let source = orphaned_log::open_to_read(backup).map_err(explained)?;
    schema_of(&source).map_err(explained)?;
    let stop = StopSign::default();
    let counts = copy_snapshot(&source, new, &stop)?;
    make_independent(&new.path)?;
    let (found, schema) = verify(&new.path, &stop)?;
    ensure!(found == counts, "the copy does not hold what was copied");
    new.sync()?;
    Ok((found, schema))
}

/// Returns the note by which the next host knows the restored database.
fn known(new: &Path) -> anyhow::Result<KnownDatabase> {
    let new = Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let number = |sql: &str| new.query_row(sql, [], |row| row.get::<_, i64>(0));
    let salt = number("SELECT value FROM meta WHERE key = 'alert_id_salt'")
        .context("it is incomplete: `alert_id_salt` is missing")?;
    let alerts = number("SELECT ifnull(max(number), 0) FROM alerts")?;
    Ok(KnownDatabase {
        salt: salt.cast_unsigned(),
        // No log belongs to the restored file, so that no number has to match.
        session: Ulid::generate().random() as u64 >> 1,
        next_session: None,
        alerts: alerts.cast_unsigned(),
        inodes: (0, 0),
    })
}

/// Puts the new file in the place of the database, and returns the new path of the former one.
fn swap(
    database: &Path,
    new: &NewFile,
    known: KnownDatabase,
    holder: &str,
) -> anyhow::Result<Option<std::path::PathBuf>> {
    let context = || format!("cannot replace the store `{}`", database.display());
    let owner = fs::metadata(database).or_else(|_| fs::metadata(folder_of(database)));
    let owner = owner.with_context(context)?;
    give(&new.path, &owner)?;
    let mut lock = DatabaseLock::acquire(database, holder)?;
    give(&beside(database, ".lock"), &owner)?;
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let former = beside(database, &format!(".replaced-{}", stamp(Timestamp::now())));
    let has_former = length(database) > 0;
    if has_former {
        // The path never lacks a file, unless the file system knows no links.
        fs::hard_link(database, &former)
            .or_else(|_| fs::rename(database, &former))
            .with_context(context)?;
    }
    let log = beside(database, "-wal");
    if length(&log) > 0 {
        fs::rename(&log, beside(&former, "-wal")).with_context(context)?;
    }
    for suffix in ["-wal", "-shm"] {
        // These files hold nothing, or are made anew from the log.
        let _ = fs::remove_file(beside(database, suffix));
    }
    fs::rename(&new.path, database).with_context(context)?;
    sync_folder(database).with_context(context)?;
    let known = KnownDatabase { inodes: (inode(database), 0), ..known };
    lock.remember(known).with_context(context)?;
    Ok(has_former.then_some(former))
}

/// Gives a file to the owner of the former database: the host may run as another user than this command.
fn give(path: &Path, owner: &Metadata) -> anyhow::Result<()> {
    let now = fs::metadata(path)?;
    if (now.uid(), now.gid()) == (owner.uid(), owner.gid()) || now.uid() == owner.uid() {
        return Ok(());
    }
    chown(path, Some(owner.uid()), Some(owner.gid())).map_err(|error| {
        anyhow!(
            "cannot give `{}` to user {}, who owns the store: {error}\n\
             hint: run the command as that user, or as root",
            path.display(),
            owner.uid()
        )
    })
}
