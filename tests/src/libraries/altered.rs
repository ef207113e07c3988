//! Altered copies of a good library, and files that are no library at all.
//!
//! Nothing is built here, and the original library stays unchanged.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
};

use object::{Object, ObjectSection, SectionKind, elf};

/// Makes a copy in the folder `into` whose manifest has another version. The code is the same.
///
/// # Panics
///
/// If the version is longer than the one that it replaces, or the library has no manifest.
pub fn with_version(library: &Path, version: &str, into: &Path) -> PathBuf {
    with_field(library, "version", version, into)
}

/// Makes a copy in the folder `into` whose manifest has another name. The code is the same.
///
/// # Panics
///
/// If the name is longer than the one that it replaces, or the library has no manifest.
pub fn with_name(library: &Path, name: &str, into: &Path) -> PathBuf {
    with_field(library, "name", name, into)
}

/// Makes a copy in the folder `into` whose manifest has another description. The code is the same.
///
/// # Panics
///
/// If the description is longer than the one that it replaces, or the library has no manifest.
pub fn with_description(library: &Path, description: &str, into: &Path) -> PathBuf {
    with_field(library, "description", description, into)
}

/// Makes a copy in the folder `into` without debug information: a tenth of the size.
///
/// # Panics
///
/// If `strip`, which comes with the linker, cannot be run.
pub fn stripped(library: &Path, into: &Path) -> PathBuf {
    let to = copy_name(library, "stripped", into);
    let status = Command::new("strip").arg("-o").arg(&to).arg(library).status();
    assert!(status.expect("`strip` runs").success(), "`{}` can be stripped", library.display());
    to
}

/// Makes a text file in the folder `into` with the name of a library.
///
/// # Panics
///
/// If the file cannot be written.
pub fn not_elf(into: &Path) -> PathBuf {
    let to = into.join("libnot_elf.so");
    write(&to, b"This is not a shared library.\n");
    to
}

/// Makes a file in the folder `into` with the first half of a library, like an interrupted copy.
///
/// # Panics
///
/// If the file cannot be written.
pub fn truncated(library: &Path, into: &Path) -> PathBuf {
    let bytes = read(library);
    let to = copy_name(library, "truncated", into);
    write(&to, &bytes[..bytes.len() / 2]);
    to
}

/// Makes a copy in the folder `into` whose ELF header says `AArch64`. The code is still for another
/// processor: a host has to refuse the file because of the header.
///
/// # Panics
///
/// If the file cannot be written.
pub fn other_machine(library: &Path, into: &Path) -> PathBuf {
    // `e_machine` follows `e_ident` (16 bytes) and `e_type` (2).
    const E_MACHINE: usize = 18;
    let mut bytes = read(library);
    bytes[E_MACHINE..][..2].copy_from_slice(&elf::EM_AARCH64.0.to_le_bytes());
    let to = copy_name(library, "aarch64", into);
    write(&to, &bytes);
    to
}

/// Makes a copy in the folder `into` with a trap in place of every instruction. Its initializers end any
/// process that maps it. The rest of the file is as it was.
///
/// # Panics
///
/// If the file cannot be written.
pub fn without_code(library: &Path, into: &Path) -> PathBuf {
    // `int3` on x86-64, one byte long; an invalid instruction on AArch64.
    const TRAP: u8 = 0xCC;
    let mut bytes = read(library);
    for range in code_ranges(library, &bytes) {
        bytes[range].fill(TRAP);
    }
    let to = copy_name(library, "without-code", into);
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
    assert!(value.len() <= length, "`{value}` does not fit where `{old}` stands");

    // JSON may have blanks after a string.
    let at = manifest.start + start;
    let padded = format!("{value}\"{}", " ".repeat(length - value.len()));
    bytes[at..=at + length].copy_from_slice(padded.as_bytes());
    let to = copy_name(library, value, into);
    write(&to, &bytes);
    to
}

/// Returns the place of the manifest in the file.
fn manifest_range(library: &Path, bytes: &[u8]) -> Range<usize> {
    let file = parse(library, bytes);
    let section = file.section_by_name(".tocsin.manifest");
    let range = section.and_then(|section| section.file_range());
    in_memory(range.unwrap_or_else(|| panic!("`{}` has no manifest", library.display())))
}

fn code_ranges(library: &Path, bytes: &[u8]) -> Vec<Range<usize>> {
    let file = parse(library, bytes);
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
    code.filter_map(|section| section.file_range()).map(in_memory).collect()
}

fn parse<'b>(library: &Path, bytes: &'b [u8]) -> object::File<'b> {
    object::File::parse(bytes)
        .unwrap_or_else(|error| panic!("`{}` is no library: {error}", library.display()))
}

fn in_memory((start, length): (u64, u64)) -> Range<usize> {
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
