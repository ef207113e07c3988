//! Rights of this process to the files of a database.
//!
//! The system is asked, and no file is opened: closing one would release the locks of SQLite.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};

use crate::system::private_file::beside;

/// Returns the first of the files beside a database that this process may not read and write, and why. A missing
/// file is no problem.
pub(super) fn refused(database: &Path, suffixes: &[&str]) -> Option<(PathBuf, io::Error)> {
    let mut files = suffixes.iter().map(|suffix| beside(database, suffix));
    files.find_map(|file| ask(file, Access::READ_OK | Access::WRITE_OK))
}

/// Returns the folder of a database if this process may not make files in it, and why.
pub(super) fn refused_folder(database: &Path) -> Option<(PathBuf, io::Error)> {
    ask(folder_of(database).to_owned(), Access::WRITE_OK | Access::EXEC_OK)
}

/// Returns the folder of a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn ask(path: PathBuf, access: Access) -> Option<(PathBuf, io::Error)> {
    match accessat(CWD, &path, access, AtFlags::EACCESS) {
        Ok(()) | Err(Errno::NOENT) => None,
        Err(error) => Some((path, error.into())),
    }
}
