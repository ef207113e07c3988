//! Copies of a good library with something changed, and files that are no library at all. It builds
//! nothing, and leaves the file it copies as it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use object::{Object, ObjectSection, elf};

/// A copy in the folder `into` whose manifest says another version of the plugin. The code is the
/// same.
///
/// # Panics
///
/// Where the version is longer than the one it replaces, or the library has no manifest.
pub fn with_version(library: &Path, version: &str, into: &Path) -> PathBuf {
    with_field(library, "version", version, into)
}

/// A copy in the folder `into` whose manifest says another name of the plugin. The code is the same.
///
/// # Panics
///
/// Where the name is longer than the one it replaces, or the library has no manifest.
pub fn with_name(library: &Path, name: &str, into: &Path) -> PathBuf {
    with_field(library, "name", name, into)
}

/// A file in the folder `into` that is called like a library and is text.
///
/// # Panics
///
/// Where it can't be written.
pub fn not_elf(into: &Path) -> PathBuf {
    let to = into.join("libnot_elf.so");
    write(&to, b"This is not a shared library.\n");
    to
}

/// The first half of a library in the folder `into`, as of a copy that was cut short.
///
/// # Panics
///
/// Where it can't be written.
pub fn truncated(library: &Path, into: &Path) -> PathBuf {
    let bytes = read(library);
    let to = copy_name(library, "truncated", into);
    write(&to, &bytes[..bytes.len() / 2]);
    to
}

/// A copy in the folder `into` whose ELF header says that it is for `AArch64`. Nothing else of it is:
/// a host has to stop at the header.
///
/// # Panics
///
/// Where it can't be written.
pub fn other_machine(library: &Path, into: &Path) -> PathBuf {
    // `e_machine` follows `e_ident` (16 bytes) and `e_type` (2).
    const E_MACHINE: usize = 18;
    let mut bytes = read(library);
    bytes[E_MACHINE..][..2].copy_from_slice(&elf::EM_AARCH64.0.to_le_bytes());
    let to = copy_name(library, "aarch64", into);
    write(&to, &bytes);
    to
}

fn with_field(library: &Path, field: &str, value: &str, into: &Path) -> PathBuf {
    let mut bytes = read(library);
    let manifest = manifest_range(library, &bytes);
    let json = std::str::from_utf8(&bytes[manifest.clone()]).expect("a manifest is text");

    let key = format!(r#""{field}":""#);
    let start = json.find(&key).expect("the manifest has the field") + key.len();
    let length = json[start..].find('"').expect("the value ends");
    let old = &json[start..start + length];
    assert!(old.len() >= value.len(), "`{value}` does not fit where `{old}` stands");

    let at = manifest.start + start;
    // What a shorter value leaves is filled with blanks behind it.
    let padded = format!("{:<1$}", format!("{value}\""), length + 1);
    bytes[at..=at + length].copy_from_slice(padded.as_bytes());
    let to = copy_name(library, value, into);
    write(&to, &bytes);
    to
}

/// Where the manifest lies in the file.
fn manifest_range(library: &Path, bytes: &[u8]) -> std::ops::Range<usize> {
    let file = object::File::parse(bytes)
        .unwrap_or_else(|error| panic!("`{}` is no library: {error}", library.display()));
    let section = file.section_by_name(".tocsin.manifest");
    let range = section.and_then(|section| section.file_range());
    let (start, length) =
        range.unwrap_or_else(|| panic!("`{}` has no manifest", library.display()));
    let fits = |number: u64| usize::try_from(number).expect("the file is in memory");
    fits(start)..fits(start + length)
}

fn copy_name(library: &Path, what: &str, into: &Path) -> PathBuf {
    let stem = library.file_stem().expect("a file").to_string_lossy();
    into.join(format!("{stem}-{what}.so"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes)
        .unwrap_or_else(|error| panic!("cannot write `{}`: {error}", path.display()));
}
