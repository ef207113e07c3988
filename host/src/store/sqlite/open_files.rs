//! Watch over the files of a database in use: are they still the files at their paths?
//!
//! SQLite does not notice when its files are removed or replaced, and keeps writing to files that no
//! host will find again. This module opens no file, since closing a descriptor of the database would
//! release SQLite's locks.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{problem::Problem, system::private_file::beside};

/// The files of a database as they were when it was opened.
pub(super) struct OpenFiles {
    files: [OpenFile; 3],
    /// A database that is in use never shrinks.
    largest_bytes: u64,
    log_bytes: u64,
}

struct OpenFile {
    /// The name in messages.
    what: &'static str,
    path: PathBuf,
    /// Device and inode; none until the file was seen for the first time.
    identity: Option<(u64, u64)>,
    /// The size at the last look.
    size_bytes: u64,
}

impl OpenFiles {
    /// Remembers the files of a database that was just opened.
    pub(super) fn of(database: &Path) -> Self {
        let file = |(what, suffix)| OpenFile {
            what,
            path: beside(database, suffix),
            identity: None,
            size_bytes: 0,
        };
        let files = [("database", ""), ("write-ahead log", "-wal"), ("index of the log", "-shm")];
        let mut files = Self { files: files.map(file), largest_bytes: 0, log_bytes: 0 };
        // A file that is missing already is found at the next look.
        let _ = files.check();
        files
    }

    /// Returns the size of the write-ahead log at the last look.
    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// Compares the files with those at their paths.
    ///
    /// # Errors
    ///
    /// A [`Problem`] that names the file that was removed, replaced or cut off.
    pub(super) fn check(&mut self) -> Result<(), Problem> {
        for file in &mut self.files {
            file.check().map_err(|what| lost(&what))?;
        }
        let [database, log, _] = &self.files;
        self.log_bytes = log.size_bytes;
        if database.size_bytes < self.largest_bytes {
            return Err(lost(&format!("{database} was cut off")));
        }
        self.largest_bytes = database.size_bytes;
        Ok(())
    }
}

impl OpenFile {
    fn check(&mut self) -> Result<(), String> {
        let found = fs::metadata(&self.path);
        if let Ok(found) = &found {
            self.size_bytes = found.size();
        }
        match (found, self.identity) {
            (Ok(found), None) => {
                self.identity = Some((found.dev(), found.ino()));
                Ok(())
            }
            (Ok(found), Some(known)) if (found.dev(), found.ino()) == known => Ok(()),
            (Ok(_), Some(_)) => Err(format!("{self} was replaced by another file")),
            (Err(error), Some(_)) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("{self} was removed"))
            }
            // A file that was never seen may not exist yet; other errors pass or concern SQLite, too.
            (Err(_), _) => Ok(()),
        }
    }
}

impl std::fmt::Display for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the {} `{}`", self.what, self.path.display())
    }
}

fn lost(what: &str) -> Problem {
    let message = format!("{what} while the host has it open, so nothing more can be stored");
    Problem::new("store-file-lost", message).with_hint(
        "stop the host with SIGTERM, which saves all alerts into a new file beside the database; move \
         that file, or the database that you want to use, to the path in `store.url`, and start again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_use() -> (tempfile::TempDir, PathBuf, OpenFiles) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("tocsin.db");
        for suffix in ["", "-wal", "-shm"] {
            fs::write(beside(&database, suffix), "0123456789").expect("written");
        }
        let mut files = OpenFiles::of(&database);
        assert_eq!(files.check(), Ok(()));
        (folder, database, files)
    }

    #[test]
    fn names_a_file_that_was_removed_replaced_or_cut_off() {
        for (suffix, what) in [
            ("", "the database `"),
            ("-wal", "the write-ahead log `"),
            ("-shm", "the index of the log `"),
        ] {
            let (folder, database, mut files) = in_use();
            let path = beside(&database, suffix);
            fs::write(folder.path().join("backup"), "0123456789").expect("written");
            fs::rename(folder.path().join("backup"), &path).expect("renamed");
            let replaced = files.check().expect_err("another file").one_line();
            assert!(replaced.starts_with(what), "{replaced}");
            assert!(replaced.contains("was replaced by another file while"), "{replaced}");
            fs::remove_file(&path).expect("removed");
            let removed = files.check().expect_err("no file").one_line();
            assert!(
                removed.contains("was removed while") && removed.contains("; hint: "),
                "{removed}"
            );
        }
        let (_folder, database, mut files) = in_use();
        fs::write(&database, "012").expect("written");
        let cut = files.check().expect_err("it is shorter").one_line();
        assert!(cut.contains("was cut off while"), "{cut}");
    }

    #[test]
    fn accepts_growing_files_and_a_log_that_comes_later() {
        let (_folder, database, mut files) = in_use();
        fs::write(&database, "0123456789 and more").expect("written");
        fs::write(beside(&database, "-wal"), "").expect("written");
        assert_eq!(files.check(), Ok(()));

        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("tocsin.db");
        fs::write(&database, "").expect("written");
        let mut files = OpenFiles::of(&database);
        fs::write(beside(&database, "-wal"), "").expect("written");
        assert_eq!(files.check(), Ok(()));
        fs::remove_file(beside(&database, "-wal")).expect("removed");
        files.check().expect_err("it was seen");
    }
}
