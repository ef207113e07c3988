//! The trace that the library `recorder` writes. Paths are relative to the recorded folder.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Record of one call.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) call: Call,
    /// Number that tells a file from others while it exists.
    pub(crate) inode: u64,
    pub(crate) path: PathBuf,
}

/// Call that a [`Record`] is about.
#[derive(Debug)]
pub(crate) enum Call {
    Open,
    Write { offset: u64, bytes: Vec<u8> },
    Truncate { length: u64 },
    SyncBegins { thread: u64 },
    SyncEnds { thread: u64 },
    Unlink,
    Rename { to: PathBuf },
    MakeFolder,
    Send { port: u16, bytes: Vec<u8> },
}

impl Record {
    /// Returns the call without its bytes.
    pub(crate) fn summary(&self) -> String {
        let path = self.path.display();
        match &self.call {
            Call::Write { offset, bytes } => format!("write `{path}` {offset}+{}", bytes.len()),
            Call::Send { port, bytes } => format!("send {} bytes to {port}", bytes.len()),
            call => format!("{call:?} `{path}`"),
        }
    }
}

/// Reads a trace. A host that was killed may have left half a record at its end.
pub(crate) fn read(path: &Path) -> Vec<Record> {
    let trace = fs::read(path).expect("a trace");
    let (mut rest, mut records) = (&*trace, Vec::new());
    while let Some((record, after)) = split(rest) {
        records.push(record);
        rest = after;
    }
    records
}

fn split(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (kind, bytes) = bytes.split_first()?;
    let (inode, bytes) = bytes.split_first_chunk()?;
    let (offset, bytes) = bytes.split_first_chunk()?;
    let (path_length, bytes) = bytes.split_first_chunk()?;
    let (data_length, bytes) = bytes.split_first_chunk()?;
    let (path, bytes) = bytes.split_at_checked(u32::from_le_bytes(*path_length) as usize)?;
    let (data, rest) = bytes.split_at_checked(u32::from_le_bytes(*data_length) as usize)?;
    let offset = u64::from_le_bytes(*offset);
    let call = match kind {
        b'o' => Call::Open,
        b'w' => Call::Write { offset, bytes: data.to_vec() },
        b't' => Call::Truncate { length: offset },
        b'b' => Call::SyncBegins { thread: offset },
        b'e' => Call::SyncEnds { thread: offset },
        b'u' => Call::Unlink,
        b'r' => Call::Rename { to: path_of(data) },
        b'm' => Call::MakeFolder,
        b's' => Call::Send { port: offset as u16, bytes: data.to_vec() },
        other => panic!("no such record: {other}"),
    };
    Some((Record { call, inode: u64::from_le_bytes(*inode), path: path_of(path) }, rest))
}

fn path_of(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}
