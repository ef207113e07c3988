//! One host a database: a lock that dies with its holder, and says who it is.
//!
//! SQLite's own locks would let two hosts take turns, each with its own idea of the next number.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Held as long as it lives.
pub(super) struct DatabaseLock(File);

impl DatabaseLock {
    pub(super) fn acquire(database: &Path, holder: &str) -> anyhow::Result<Self> {
        let path = path_of(database);
        let context = || format!("cannot lock the store: `{}`", path.display());
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!(
                    "the store `{}` is in use by {}\n\
                     hint: stop that host, or give this one a `store.url` of its own",
                    database.display(),
                    name_in(&mut file).as_deref().unwrap_or("another host"),
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        file.set_len(0).with_context(context)?;
        file.rewind().with_context(context)?;
        file.write_all(holder.as_bytes()).with_context(context)?;
        Ok(Self(file))
    }

    /// Who holds it, if anybody does.
    pub(super) fn holder(database: &Path) -> Option<String> {
        let mut file = File::open(path_of(database)).ok()?;
        let name = name_in(&mut file);
        // It is only tried where somebody was killed or still runs: a host that starts just then
        // would find it locked.
        let is_held = || matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        name.filter(|_| is_held())
    }
}

fn path_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// None where the last one ended in good order.
fn name_in(file: &mut File) -> Option<String> {
    let mut name = String::new();
    // Who it is helps, but is not needed to know that there is somebody.
    let _ = file.read_to_string(&mut name);
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        // The file stays: removing it would let a third host lock another file of the same name.
        let _ = self.0.set_len(0);
    }
}
