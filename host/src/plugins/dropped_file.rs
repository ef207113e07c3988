//! A file of the plugins folder in memory, before any check.

use std::path::{Path, PathBuf};

use object::elf;
use sha2::{Digest, Sha256};

use crate::system::file_stamp::Stamp;

/// A file of the plugins folder, read into memory and not checked yet.
pub struct DroppedFile {
    pub(super) path: PathBuf,
    pub(super) stamp: Option<Stamp>,
    pub(super) bytes: Vec<u8>,
    pub(super) sha256: String,
}

impl DroppedFile {
    pub(super) fn new(path: PathBuf, stamp: Option<Stamp>, bytes: Vec<u8>) -> Self {
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { path, stamp, bytes, sha256 }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the SHA-256 hash of the bytes, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Returns true if these are the first bytes of an ELF file.
pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}
