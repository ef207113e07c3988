//! Recorder of everything that a host writes below a folder, syncs there, and sends to others.
//!
//! The library is loaded with `LD_PRELOAD`. Its functions take the place of those of libc, make the same
//! system call, and append a record to a trace. The tests of power cuts read the trace.
//!
//! `TOCSIN_RECORD_FOLDER` is the folder, without links, and `TOCSIN_RECORD_TRACE` the file of the trace.
//! `TOCSIN_RECORD_SKIP` breaks the host on purpose: with `files` or `folders`, their syncs succeed without
//! being made. Only `tocsin serve` is recorded, and none of its child processes.
//!
//! A program that makes system calls without libc, or writes into mapped memory, is not seen. The tests
//! compare the files in the end with the files that the trace leads to.

#![expect(unsafe_code, reason = "the functions of libc that a program calls")]

mod trace;

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    slice,
};

use libc::{mode_t, off_t, size_t, ssize_t};

use self::trace::{Kind, Recorder, Target, keeping_errno, recorder};

/// Makes a call that writes, and records the bytes that were written: into a file after the call, and to a
/// peer before it.
///
/// # Safety
///
/// `parts` are readable, as the call itself expects.
unsafe fn write_with(
    fd: c_int,
    parts: &[libc::iovec],
    offset: Option<off_t>,
    call: impl FnOnce() -> ssize_t,
) -> ssize_t {
    let Some((recorder, target)) = recorder().and_then(|it| Some((it, it.target(fd)?))) else {
        return call();
    };
    // SAFETY: the caller of the function of libc gave these parts to be read.
    let bytes = || unsafe { joined(parts) };
    match target {
        Target::Peer(port) => {
            recorder.record(Kind::Send, 0, u64::from(port), b"", &bytes());
            call()
        }
        Target::Folder(_) => call(),
        Target::File { path, inode } => {
            let _in_order = recorder.in_order();
            let written = call();
            let Ok(count @ 1..) = usize::try_from(written) else { return written };
            keeping_errno(|| {
                let begin = offset.unwrap_or_else(|| trace::position(fd) - written as off_t);
                let bytes = bytes();
                recorder.record(Kind::Write, inode, begin as u64, &path, &bytes[..count]);
            });
            written
        }
    }
}

/// # Safety
///
/// `parts` are readable.
unsafe fn joined(parts: &[libc::iovec]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts.iter().filter(|part| part.iov_len > 0) {
        // SAFETY: the caller says that the part is readable.
        all.extend_from_slice(unsafe {
            slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len)
        });
    }
    all
}

fn part(bytes: *const c_void, length: size_t) -> libc::iovec {
    libc::iovec { iov_base: bytes.cast_mut(), iov_len: length }
}

/// `write(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, length: size_t) -> ssize_t {
    // SAFETY: the arguments are those of the caller.
    unsafe {
        write_with(fd, &[part(bytes, length)], None, || {
            libc::syscall(libc::SYS_write, fd, bytes, length) as ssize_t
        })
    }
}

/// `pwrite(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(
    fd: c_int,
    bytes: *const c_void,
    length: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the arguments are those of the caller.
    unsafe {
        write_with(fd, &[part(bytes, length)], Some(offset), || {
            libc::syscall(libc::SYS_pwrite64, fd, bytes, length, offset) as ssize_t
        })
    }
}

/// `pwrite(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    length: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: the arguments are those of the caller.
    unsafe { pwrite(fd, bytes, length, offset) }
}

/// `writev(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> ssize_t {
    let call =
        // SAFETY: the arguments are those of the caller.
        || unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as ssize_t };
    let Ok(length @ 1..) = usize::try_from(count) else { return call() };
    // SAFETY: the caller gave an array of this length.
    unsafe { write_with(fd, slice::from_raw_parts(parts, length), None, call) }
}

/// `send(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(
    fd: c_int,
    bytes: *const c_void,
    length: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the arguments are those of the caller, and without an address there is none to read.
    unsafe {
        write_with(fd, &[part(bytes, length)], None, || {
            let (none, nowhere) = (0_usize, 0_usize);
            libc::syscall(libc::SYS_sendto, fd, bytes, length, flags, nowhere, none) as ssize_t
        })
    }
}

/// Makes a call that sets the length of a file, and records it.
fn truncate_with(fd: c_int, length: off_t) -> c_int {
    // SAFETY: the call reads no memory.
    let call = || unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) as c_int };
    let Some((recorder, Target::File { path, inode })) =
        recorder().and_then(|it| Some((it, it.target(fd)?)))
    else {
        return call();
    };
    let _in_order = recorder.in_order();
    let result = call();
    if result == 0 {
        keeping_errno(|| recorder.record(Kind::Truncate, inode, length as u64, &path, b""));
    }
    result
}

/// `ftruncate(2)`
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    truncate_with(fd, length)
}

/// `ftruncate(2)`
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
    truncate_with(fd, length)
}

/// Makes a call that syncs, and records its begin and its end: only what was written before it began is
/// surely on disk.
fn sync_with(fd: c_int, number: libc::c_long) -> c_int {
    // SAFETY: the call reads no memory.
    let call = || unsafe { libc::syscall(number, fd) as c_int };
    let Some((recorder, target)) = recorder().and_then(|it| Some((it, it.target(fd)?))) else {
        return call();
    };
    let (path, inode, is_skipped) = match target {
        Target::File { path, inode } => (path, inode, recorder.skips_files()),
        Target::Folder(path) => (path, 0, recorder.skips_folders()),
        Target::Peer(_) => return call(),
    };
    if is_skipped {
        return 0;
    }
    recorder.record_sync(Kind::SyncBegins, inode, &path);
    let result = call();
    if result == 0 {
        recorder.record_sync(Kind::SyncEnds, inode, &path);
    }
    result
}

/// `fsync(2)`
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync_with(fd, libc::SYS_fsync)
}

/// `fdatasync(2)`
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync_with(fd, libc::SYS_fdatasync)
}

/// Makes a call on a path below the folder, and records it with the path.
///
/// # Safety
///
/// `path` is a string.
unsafe fn named(
    path: *const c_char,
    call: impl FnOnce() -> c_int,
    record: impl FnOnce(&Recorder, &[u8], c_int),
) -> c_int {
    // SAFETY: the caller of the function of libc gave a string.
    let text = unsafe { CStr::from_ptr(path) };
    let Some((recorder, path)) = recorder().and_then(|it| Some((it, it.within(text)?))) else {
        return call();
    };
    let _in_order = recorder.in_order();
    let result = call();
    if result >= 0 {
        keeping_errno(|| record(recorder, &path, result));
    }
    result
}

/// `open(2)`. The C function has the mode as an argument that may be absent. The registers of `x86_64` and
/// aarch64 pass such an argument like any other.
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the arguments are those of the caller.
    let call =
        || unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) as c_int };
    // SAFETY: as above.
    unsafe {
        named(path, call, |recorder, _, fd| {
            let Some(Target::File { path, inode }) = recorder.target(fd) else { return };
            recorder.record(Kind::Open, inode, 0, &path, b"");
            if flags & libc::O_TRUNC != 0 {
                recorder.record(Kind::Truncate, inode, 0, &path, b"");
            }
        })
    }
}

/// `open(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the arguments are those of the caller.
    unsafe { open(path, flags, mode) }
}

/// `unlink(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the arguments are those of the caller.
    let call = || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) as c_int };
    // SAFETY: as above.
    unsafe { named(path, call, |recorder, path, _| recorder.record(Kind::Unlink, 0, 0, path, b"")) }
}

/// `rename(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let here = libc::AT_FDCWD;
    // SAFETY: the arguments are those of the caller.
    let call = || unsafe { libc::syscall(libc::SYS_renameat2, here, from, here, to, 0) as c_int };
    // SAFETY: as above.
    unsafe {
        named(from, call, |recorder, from, _| {
            let to = recorder.within(CStr::from_ptr(to)).unwrap_or_default();
            recorder.record(Kind::Rename, 0, 0, from, &to);
        })
    }
}

/// `mkdir(2)`
///
/// # Safety
///
/// As for the function of libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    let here = libc::AT_FDCWD;
    // SAFETY: the arguments are those of the caller.
    let call = || unsafe { libc::syscall(libc::SYS_mkdirat, here, path, mode) as c_int };
    // SAFETY: as above.
    unsafe {
        named(path, call, |recorder, path, _| {
            recorder.record(Kind::MakeFolder, 0, 0, path, b"");
        })
    }
}
