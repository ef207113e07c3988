//! Files that only the host's user may read, whatever the umask.
//!
//! Symlinks are not followed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Permission bits of the file's group and of all other users.
const OTHERS: u32 = 0o077;

/// Opens a file for reading and writing, and creates it with mode 0600 if it is missing. An existing
/// file that others may open is tightened to its owner.
///
/// # Errors
///
/// If the path is a symlink or no regular file, or the system refuses.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    opened(path, options.read(true).write(true).create(true).truncate(false))
}

/// Opens a file for reading alone, and creates it empty with mode 0600 if it is missing.
///
/// # Errors
///
/// As for [`open`].
pub(crate) fn open_for_reading(path: &Path) -> io::Result<File> {
    match opened(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => open(path),
        result => result,
    }
}

/// Creates a file that must not exist yet, with mode 0600.
///
/// # Errors
///
/// If the file exists, or the system refuses.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    opened(path, OpenOptions::new().write(true).create_new(true))
}

fn opened(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let file = options.mode(0o600).custom_flags(flags).open(path).map_err(|error| {
        // The system's own words, "too many levels of symbolic links", would mislead.
        let is_link = error.raw_os_error() == Some(libc::ELOOP);
        if is_link {
            io::Error::other("it is a symlink, which is not followed here")
        } else {
            error
        }
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.mode() & OTHERS != 0 {
        let tightened = Permissions::from_mode(metadata.mode() & !OTHERS & 0o7777);
        if let Err(error) = file.set_permissions(tightened) {
            let path = path.display();
            tracing::warn!(
                event = "file_mode_not_tightened",
                %path,
                %error,
                "others may open this file, and its mode cannot be changed",
            );
        }
    }
    Ok(file)
}

/// Takes all rights to a file from other users than its owner. A missing file is no error.
///
/// # Errors
///
/// If the system refuses.
pub(crate) fn tighten(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.is_file() || metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(metadata.mode() & !OTHERS & 0o7777))
}

/// Creates a folder with mode 0700, and the folders above it. An existing one is not changed. The new
/// names survive a power cut.
///
/// # Errors
///
/// If the system refuses.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let new: Vec<_> = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
        .collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The umask may have taken bits away.
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    new.into_iter().try_for_each(|folder| sync_names(folder.parent().unwrap_or(Path::new(""))))
}

/// Syncs the names in a folder. A sync of a file does not sync the file's name.
fn sync_names(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // The host's user may lack the right to read the folder, and a network file system may lack the
        // function.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Returns a path with a suffix: `tocsin.db` and `-wal` make `tocsin.db-wal`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o7777
    }

    #[test]
    fn creates_private_files_and_tightens_existing_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        open(&new).expect("created");
        fs::write(&old, "kept").expect("written");
        fs::set_permissions(&old, Permissions::from_mode(0o664)).expect("changed");
        open(&old).expect("opened");
        assert_eq!((mode(&new), mode(&old)), (0o600, 0o600));
        assert_eq!(fs::read_to_string(&old).expect("readable"), "kept");
        assert!(create_new(&old).is_err(), "it is there");

        fs::set_permissions(&old, Permissions::from_mode(0o444)).expect("changed");
        tighten(&old).expect("tightened");
        assert_eq!(mode(&old), 0o400);
        tighten(&folder.path().join("missing")).expect("nothing to do");
    }

    #[test]
    fn refuses_symlinks_and_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "precious").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        let error = open(&link).expect_err("a symlink").to_string();
        assert_eq!(error, "it is a symlink, which is not followed here");
        open(folder.path()).expect_err("a folder is no file");
        assert_eq!(fs::read_to_string(&target).expect("readable"), "precious");
    }

    #[test]
    fn creates_private_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("a/b");
        create_folder(&deep).expect("created");
        assert_eq!((mode(&deep), mode(&folder.path().join("a"))), (0o700, 0o700));
        create_folder(&deep).expect("it is there");
    }
}
