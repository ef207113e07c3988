//! The plugins folder and its files, held open: the file that was checked is the file that is read,
//! whatever its name leads to meanwhile.
//!
//! Contents of files are judged in [`admission`](super::admission), permissions in
//! [`verification`](super::verification).

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::FileTypeExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{
    dropped_file::{DroppedFile, is_elf},
    refusal::{AdmissionRefusal, not_elf},
};
use crate::{problem::Problem, system::file_stamp::Stamp};

/// The plugins folder, held open. Another folder that takes its name is another folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    handle: File,
}

/// A regular file, held open but not read, as [`Folder::file`] gives it.
#[derive(Debug)]
pub struct OpenFile {
    /// The path at which the file was found.
    pub path: PathBuf,
    /// Owner, mode and times of the open file.
    pub metadata: Metadata,
    stamp: Option<Stamp>,
    handle: File,
}

/// Files are read whole: a larger one would take the memory of the host.
const LIMIT_BYTES: u64 = 512 * 1024 * 1024;
/// The most bytes that are read of a file that cannot be a library.
const SMALL_BYTES: usize = 64 * 1024;

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// If the folder is missing, or the path is no folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let handle = hold(CWD, path, OFlags::DIRECTORY)?;
        Ok(Self { path: path.to_owned(), handle })
    }

    /// Returns the path at which the folder was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns owner and mode of the folder.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.handle.metadata()
    }

    /// Opens a file of the folder by name. A symlink is followed as long as it stays in the folder.
    ///
    /// # Errors
    ///
    /// If the path is no regular file, or leads out of the folder.
    pub fn file(&self, name: &OsStr) -> Result<OpenFile, AdmissionRefusal> {
        let path = self.path.join(name);
        let is_symlink = fs::symlink_metadata(&path).is_ok_and(|file| file.is_symlink());
        let handle = hold(&self.handle, Path::new(name), OFlags::empty()).map_err(|error| {
            if is_symlink && !matches!(error.kind(), io::ErrorKind::PermissionDenied) {
                AdmissionRefusal::new("is a symlink that leads nowhere", "remove it, or correct it")
            } else {
                unreadable(&error)
            }
        })?;
        // The path comes from the open file: the name may lead elsewhere by now.
        let is_inside = real_path(&handle)
            .and_then(|file| Ok(file.starts_with(real_path(&self.handle)?)))
            .map_err(|error| unreadable(&error))?;
        if !is_inside {
            return Err(AdmissionRefusal::new(
                "is a symlink out of the plugins folder",
                "copy the file itself into the folder",
            ));
        }
        OpenFile::new(path, handle)
    }

    /// Returns the folders below this one that lead to a file. There are none unless a symlink leads
    /// through them.
    ///
    /// # Errors
    ///
    /// If one of them was removed.
    pub fn folders_below(&self, file: &OpenFile) -> io::Result<Vec<(PathBuf, Metadata)>> {
        let (file, top) = (real_path(&file.handle)?, real_path(&self.handle)?);
        let below = file.ancestors().skip(1).take_while(|folder| *folder != top);
        below.map(|folder| Ok((folder.to_owned(), fs::symlink_metadata(folder)?))).collect()
    }

    /// Reads a small text file by name; none if it is missing.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is no regular file, or is larger than the limit.
    pub fn small_text(&self, name: &OsStr, limit_bytes: u64) -> io::Result<Option<String>> {
        let handle = match hold(&self.handle, Path::new(name), OFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let metadata = handle.metadata()?;
        if !metadata.is_file() || metadata.len() > limit_bytes {
            return Err(io::Error::other(format!("it is no file of {limit_bytes} bytes or less")));
        }
        let mut text = String::new();
        readable(&handle)?.take(limit_bytes).read_to_string(&mut text)?;
        Ok(Some(text))
    }
}

impl OpenFile {
    /// Opens the file at a path.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or is no regular file.
    pub fn at(path: &Path) -> Result<Self, AdmissionRefusal> {
        let handle = hold(CWD, path, OFlags::empty()).map_err(|error| unreadable(&error))?;
        Self::new(path.to_owned(), handle)
    }

    fn new(path: PathBuf, handle: File) -> Result<Self, AdmissionRefusal> {
        let metadata = handle.metadata().map_err(|error| unreadable(&error))?;
        if !metadata.is_file() {
            let reason = format!("is {}, not a file", kind(&metadata));
            return Err(AdmissionRefusal::new(reason, "remove it, or give it another name"));
        }
        if metadata.len() > LIMIT_BYTES {
            let reason = format!("has {} bytes, more than any plugin", metadata.len());
            return Err(AdmissionRefusal::new(
                reason,
                "remove it, or build it without debug information",
            ));
        }
        // Decided before the file is read, which takes time: a change meanwhile may leave the same
        // times.
        let stamp = Some(Stamp::from(&metadata)).filter(Stamp::is_settled);
        Ok(Self { path, metadata, stamp, handle })
    }

    /// Returns the stamp of this state of the file; none while the file is so fresh that another
    /// change could leave the same times.
    pub fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// Reads the whole file, which gives a [`DroppedFile`]. Of a large file that cannot be a library,
    /// only the beginning is read.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, there is no memory for it, or it is large and cannot be a library.
    pub fn read(self) -> Result<DroppedFile, AdmissionRefusal> {
        let length = usize::try_from(self.metadata.len()).unwrap_or(usize::MAX);
        let mut file = readable(&self.handle).map_err(|error| unreadable(&error))?;
        let mut bytes = Vec::new();
        // Reserved memory costs nothing until it is written.
        bytes.try_reserve_exact(length).map_err(|_| {
            let reason = format!("has {length} bytes, for which there is no memory");
            AdmissionRefusal::new(
                reason,
                "give the host more memory, or build it without debug information",
            )
        })?;
        let mut read_to = |limit_bytes: usize, bytes: &mut Vec<u8>| {
            let limit_bytes = limit_bytes.saturating_sub(bytes.len()) as u64;
            file.by_ref().take(limit_bytes).read_to_end(bytes).map_err(|error| unreadable(&error))
        };
        if length > SMALL_BYTES {
            read_to(SMALL_BYTES, &mut bytes)?;
            if !is_elf(&bytes) {
                return Err(not_elf(false));
            }
        }
        // The file may have grown meanwhile.
        read_to(usize::try_from(LIMIT_BYTES).unwrap_or(usize::MAX), &mut bytes)?;
        let stamp = self.stamp();
        Ok(DroppedFile::new(self.path, stamp, bytes))
    }
}

impl DroppedFile {
    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not a regular file.
    pub fn read(path: &Path) -> Result<Self, AdmissionRefusal> {
        OpenFile::at(path)?.read()
    }
}

/// Opens a regular file at a path for reading, and never waits for it.
///
/// # Errors
///
/// If the file cannot be read, or is no regular file.
pub fn regular_file(path: &Path) -> io::Result<File> {
    let handle = hold(CWD, path, OFlags::empty())?;
    let metadata = handle.metadata()?;
    if metadata.is_file() {
        readable(&handle)
    } else {
        Err(io::Error::other(format!("it is {}, not a file", kind(&metadata))))
    }
}

/// Holds a file without opening it for reading. Opening would wait for the other end of a pipe, and
/// could trigger a device.
fn hold(folder: impl AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, path, flags, Mode::empty())?))
}

/// Opens a held file for reading.
fn readable(held: &File) -> io::Result<File> {
    File::open(descriptor_path(held)).map_err(explained)
}

/// Returns the path of a held file without symlinks.
fn real_path(held: &File) -> io::Result<PathBuf> {
    fs::read_link(descriptor_path(held)).map_err(explained)
}

fn descriptor_path(held: &File) -> String {
    format!("/proc/self/fd/{}", held.as_raw_fd())
}

fn unreadable(error: &io::Error) -> AdmissionRefusal {
    match Problem::in_io_error(error).cloned() {
        Some(problem) => {
            let message = format!("cannot be read: {}", problem.message);
            Problem { message, ..problem }.into()
        }
        None => {
            let reason = format!("cannot be read: {error}");
            AdmissionRefusal::new(reason, "let the host's user read it")
        }
    }
}

/// Returns the problem of a system without `/proc`. The host needs `/proc` to open files again, to map
/// plugins and to start sandboxes.
fn without_proc() -> Problem {
    Problem::new(
        "proc-missing",
        "`/proc` is not mounted, which the host needs to open files safely",
    )
    .with_hint("mount it with `mount -t proc proc /proc`, or give the container or service its own")
}

/// Returns the same error, or the [`Problem`] that `/proc` is missing if that is the cause: the system
/// only says that there is no such file.
pub fn explained(error: io::Error) -> io::Error {
    let is_missing =
        error.kind() == io::ErrorKind::NotFound && !Path::new("/proc/self/fd").exists();
    if is_missing { without_proc().into() } else { error }
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        os::unix::{
            fs::{PermissionsExt, symlink},
            net::UnixListener,
        },
        thread,
        time::Duration,
    };

    use rustix::fs::{FileType, mknodat};

    use super::*;

    /// Returns the stamp of a file as soon as it has settled.
    pub(in super::super) fn settled_stamp(path: &Path) -> Stamp {
        loop {
            match OpenFile::at(path).expect("it is there").stamp() {
                Some(stamp) => return stamp,
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// A folder `plugins` with a file in it, and a file outside.
    fn place() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().expect("a folder");
        let plugins = place.path().join("plugins");
        fs::create_dir(&plugins).expect("made");
        fs::write(plugins.join("inside"), "inside").expect("written");
        fs::write(place.path().join("outside"), "outside").expect("written");
        let folder = Folder::open(&plugins).expect("it is there");
        (place, folder)
    }

    fn refused(folder: &Folder) -> String {
        folder.file(OsStr::new("x.so")).expect_err("it is no good").to_string()
    }

    #[test]
    fn follows_a_symlink_that_stays_in_the_folder() {
        let (_place, folder) = place();
        let absolute = folder.path().join("inside");
        for (name, target) in [("one.so", Path::new("inside")), ("two.so", &absolute)] {
            symlink(target, folder.path().join(name)).expect("linked");
            let file = folder.file(OsStr::new(name)).expect("it stays inside");
            assert_eq!(file.read().expect("it can be read").bytes(), b"inside");
        }
    }

    #[test]
    fn refuses_a_symlink_out_of_the_folder() {
        let (_place, folder) = place();
        let link = folder.path().join("x.so");
        symlink("../outside", &link).expect("linked");
        insta::assert_snapshot!(refused(&folder), @"is a symlink out of the plugins folder; hint: copy the file itself into the folder");
        fs::remove_file(&link).expect("it is there");
        // The path of `plugins-2` begins with that of `plugins`, and yet it is another folder.
        fs::create_dir(folder.path().with_file_name("plugins-2")).expect("made");
        fs::write(folder.path().with_file_name("plugins-2").join("x"), "x").expect("written");
        symlink("../plugins-2/x", &link).expect("linked");
        insta::assert_snapshot!(refused(&folder), @"is a symlink out of the plugins folder; hint: copy the file itself into the folder");
    }

    #[test]
    fn refuses_a_symlink_to_nothing_or_to_itself() {
        let (_place, folder) = place();
        for target in ["nothing", "x.so"] {
            symlink(target, folder.path().join("x.so")).expect("linked");
            assert!(refused(&folder).starts_with("is a symlink that leads nowhere"));
            fs::remove_file(folder.path().join("x.so")).expect("it is there");
        }
    }

    #[test]
    fn refuses_pipes_sockets_and_folders_without_waiting() {
        let (_place, folder) = place();
        let path = folder.path().join("x.so");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).expect("made");
        insta::assert_snapshot!(refused(&folder), @"is a pipe, not a file; hint: remove it, or give it another name");
        fs::remove_file(&path).expect("it is there");
        let _listener = UnixListener::bind(&path).expect("made");
        insta::assert_snapshot!(refused(&folder), @"is a socket, not a file; hint: remove it, or give it another name");
        fs::remove_file(&path).expect("it is there");
        fs::create_dir(&path).expect("made");
        insta::assert_snapshot!(refused(&folder), @"is a folder, not a file; hint: remove it, or give it another name");
    }

    #[test]
    fn refuses_a_file_larger_than_any_plugin_unread() {
        let (_place, folder) = place();
        let path = folder.path().join("x.so");
        let file = File::create(&path).expect("made");
        file.set_len(LIMIT_BYTES + 1).expect("it has holes");
        insta::assert_snapshot!(refused(&folder), @"has 536870913 bytes, more than any plugin; hint: remove it, or build it without debug information");
        file.set_len(LIMIT_BYTES).expect("it has holes");
        let open = folder.file(OsStr::new("x.so")).expect("it is not too large");
        let refusal = open.read().err().expect("it is no library").to_string();
        insta::assert_snapshot!(refusal, @"is not an ELF file; hint: drop in the `.so` that `cargo build --release` made of a plugin");
    }

    #[test]
    fn an_open_folder_stays_the_same_when_another_takes_its_name() {
        let (_place, folder) = place();
        fs::rename(folder.path(), folder.path().with_file_name("old")).expect("moved");
        fs::create_dir(folder.path()).expect("made");
        fs::write(folder.path().join("inside"), "other").expect("written");
        let file = folder.file(OsStr::new("inside")).expect("it is there");
        assert_eq!(file.read().expect("it can be read").bytes(), b"inside");
    }

    #[test]
    fn every_change_of_a_file_changes_its_stamp() {
        let (_place, folder) = place();
        let path = folder.path().join("inside");
        let stamp = || settled_stamp(&path);
        let mut stamps = vec![stamp()];
        assert_eq!(stamps[0], stamp());
        fs::write(&path, "INSIDE").expect("written in place");
        stamps.push(stamp());
        fs::write(folder.path().join("new"), "INSIDE").expect("written");
        fs::rename(folder.path().join("new"), &path).expect("moved");
        stamps.push(stamp());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        stamps.push(stamp());
        assert!(stamps.windows(2).all(|two| two[0] != two[1]), "{stamps:?}");
    }

    #[test]
    fn a_fresh_file_has_no_stamp_yet() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("fresh");
        let is_unknown = || {
            fs::write(&path, "fresh").expect("written");
            OpenFile::at(&path).expect("it is there").stamp().is_none()
        };
        // The test may be held up between the two steps.
        assert!((0..100).any(|_| is_unknown()));
    }

    #[test]
    fn refuses_a_text_beyond_the_limit() {
        let (_place, folder) = place();
        let text = |name: &str, limit| folder.small_text(OsStr::new(name), limit);
        assert_eq!(text("inside", 6).expect("small").as_deref(), Some("inside"));
        assert_eq!(text("nothing", 6).expect("not there"), None);
        assert!(text("inside", 5).is_err());
        mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("made");
        assert!(text("pipe", 6).is_err());
        assert!(regular_file(&folder.path().join("pipe")).is_err());
    }
}
