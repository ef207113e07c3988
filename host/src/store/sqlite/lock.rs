//! One host a database: a lock that dies with its holder, and says who it is.
//!
//! SQLite's own locks would let two hosts take turns, each with its own idea of the next number.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

use anyhow::Context;

/// Held as long as it lives.
pub(super) struct DatabaseLock(File);

impl DatabaseLock {
    pub(super) fn acquire(database: &Path, holder: &str) -> anyhow::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let context = || format!("cannot lock the store: `{}`", Path::new(&path).display());
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut other = String::new();
                // Who it is helps, but is not needed to refuse.
                let _ = file.read_to_string(&mut other);
                anyhow::bail!(
                    "the store `{}` is in use by {}\n\
                     hint: stop that host, or give this one a `store.url` of its own",
                    database.display(),
                    if other.is_empty() { "another host" } else { other.trim() },
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        file.set_len(0).with_context(context)?;
        file.rewind().with_context(context)?;
        file.write_all(holder.as_bytes()).with_context(context)?;
        Ok(Self(file))
    }
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        // The file stays: removing it would let a third host lock another file of the same name.
        let _ = self.0.set_len(0);
    }
}
