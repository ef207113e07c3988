//! The trace, and the files and peers that belong into it.
//!
//! A record is its kind (a byte), an inode and an offset (8 bytes each), two lengths (4 bytes each), a path
//! relative to the folder, and bytes. Numbers are little-endian.

use std::{
    env,
    ffi::{CStr, CString, OsStr, c_int},
    mem,
    os::unix::ffi::{OsStrExt, OsStringExt},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use libc::off_t;

/// Kind of a record.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Kind {
    Open = b'o',
    Write = b'w',
    Truncate = b't',
    SyncBegins = b'b',
    SyncEnds = b'e',
    Unlink = b'u',
    Rename = b'r',
    MakeFolder = b'm',
    Send = b's',
}

/// Subject of a call that concerns the trace.
pub(crate) enum Target {
    File {
        path: Vec<u8>,
        inode: u64,
    },
    Folder(Vec<u8>),
    /// Port of a peer with an Internet address.
    Peer(u16),
}

/// The trace of this process.
pub(crate) struct Recorder {
    folder: Vec<u8>,
    trace: c_int,
    skip: Vec<u8>,
    order: Mutex<()>,
}

/// Returns the recorder; none in a process that is not recorded.
pub(crate) fn recorder() -> Option<&'static Recorder> {
    static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();
    RECORDER.get_or_init(|| keeping_errno(Recorder::start)).as_ref()
}

/// Runs code that may change `errno`, which belongs to the call that is recorded.
pub(crate) fn keeping_errno<T>(run: impl FnOnce() -> T) -> T {
    // SAFETY: the pointer is to a variable of this thread.
    let before = unsafe { *libc::__errno_location() };
    let result = run();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = before };
    result
}

/// Returns the position of a descriptor in its file.
pub(crate) fn position(fd: c_int) -> off_t {
    // SAFETY: the call reads no memory.
    unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }
}

impl Recorder {
    fn start() -> Option<Self> {
        if env::args_os().nth(1).is_none_or(|command| command != "serve") {
            return None;
        }
        let folder = env::var_os("TOCSIN_RECORD_FOLDER")?.into_vec();
        let trace = CString::new(env::var_os("TOCSIN_RECORD_TRACE")?.into_vec()).ok()?;
        let skip = env::var_os("TOCSIN_RECORD_SKIP").unwrap_or_default().into_vec();
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        // SAFETY: the path is a string. The call bypasses this library.
        let trace = unsafe {
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, trace.as_ptr(), flags, 0o600)
        };
        assert!(trace >= 0, "the trace cannot be opened");
        Some(Self { folder, trace: trace as c_int, skip, order: Mutex::new(()) })
    }

    pub(crate) fn skips_files(&self) -> bool {
        self.skip == b"files"
    }

    pub(crate) fn skips_folders(&self) -> bool {
        self.skip == b"folders"
    }

    /// Holds other calls back, so that their records come in the order in which they were made.
    pub(crate) fn in_order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the begin or the end of a sync, with the thread that makes it.
    pub(crate) fn record_sync(&self, kind: Kind, inode: u64, path: &[u8]) {
        let _in_order = self.in_order();
        // SAFETY: the call reads no memory.
        let thread = unsafe { libc::gettid() };
        keeping_errno(|| self.record(kind, inode, u64::from(thread.cast_unsigned()), path, b""));
    }

    pub(crate) fn record(&self, kind: Kind, inode: u64, offset: u64, path: &[u8], bytes: &[u8]) {
        let mut record = vec![kind as u8];
        record.extend_from_slice(&inode.to_le_bytes());
        record.extend_from_slice(&offset.to_le_bytes());
        record.extend_from_slice(&(path.len() as u32).to_le_bytes());
        record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        record.extend_from_slice(path);
        record.extend_from_slice(bytes);
        // SAFETY: the bytes are readable. The call bypasses this library.
        let written =
            unsafe { libc::syscall(libc::SYS_write, self.trace, record.as_ptr(), record.len()) };
        assert_eq!(written, record.len() as libc::c_long, "the trace cannot be written");
    }

    /// Returns a path relative to the folder; none for a path elsewhere. A relative path starts at the
    /// working folder.
    pub(crate) fn within(&self, path: &CStr) -> Option<Vec<u8>> {
        let path = path.to_bytes();
        if path.starts_with(b"/") {
            return self.relative(path);
        }
        let here = env::current_dir().ok()?;
        self.relative(here.join(OsStr::from_bytes(path)).as_os_str().as_bytes())
    }

    fn relative(&self, path: &[u8]) -> Option<Vec<u8>> {
        match path.strip_prefix(&*self.folder)? {
            b"" => Some(Vec::new()),
            [b'/', path @ ..] => Some(path.to_vec()),
            _ => None,
        }
    }

    /// Returns the target of a descriptor; none if it does not concern the trace.
    pub(crate) fn target(&self, fd: c_int) -> Option<Target> {
        keeping_errno(|| {
            let name = link(fd)?;
            if name.starts_with(b"socket:") {
                return peer_port(fd).map(Target::Peer);
            }
            let path = self.relative(&name)?;
            // SAFETY: all bits of the structure may be 0.
            let mut stat: libc::stat = unsafe { mem::zeroed() };
            // SAFETY: the structure may be written.
            let result = unsafe { libc::fstat(fd, &raw mut stat) };
            match stat.st_mode & libc::S_IFMT {
                libc::S_IFDIR if result == 0 => Some(Target::Folder(path)),
                // A file without a name is gone after a power cut.
                libc::S_IFREG if result == 0 && stat.st_nlink > 0 => {
                    Some(Target::File { path, inode: stat.st_ino })
                }
                _ => None,
            }
        })
    }
}

/// Returns the path of an open descriptor.
fn link(fd: c_int) -> Option<Vec<u8>> {
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut name = vec![0_u8; 4096];
    // SAFETY: the buffer has this length.
    let length = unsafe { libc::readlink(link.as_ptr(), name.as_mut_ptr().cast(), name.len()) };
    name.truncate(usize::try_from(length).ok()?);
    Some(name)
}

/// Returns the port of the peer of a socket, if the peer has an Internet address.
fn peer_port(fd: c_int) -> Option<u16> {
    // SAFETY: all bits of the structure may be 0.
    let mut address: libc::sockaddr_in = unsafe { mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the structure may be written, and has this length.
    let result = unsafe { libc::getpeername(fd, (&raw mut address).cast(), &raw mut length) };
    let is_internet = result == 0 && c_int::from(address.sin_family) == libc::AF_INET;
    is_internet.then(|| u16::from_be(address.sin_port))
}
