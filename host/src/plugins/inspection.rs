//! Inspection: describes a file before an operator drops it into the plugins folder, even if this host
//! would refuse it.
//!
//! Inspection maps nothing and runs no byte of the file. It does not verify signatures.

use std::{io::Read, path::Path};

use object::{
    Endianness,
    elf::{self, FileHeader32, FileHeader64},
    read::elf::{FileHeader, SectionHeader, SectionTable},
};
use serde::Serialize;
use tocsin_plugin_api::manifest::{self, Manifest};

use super::{
    admission::machine_name, dropped_file::DroppedFile, folder::regular_file,
    refusal::AdmissionRefusal,
};

/// The description of a file, found without running it.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The path, as the operator wrote it.
    pub file: String,
    /// The length of the file.
    pub size_bytes: usize,
    /// The SHA-256 hash of the bytes, in hex.
    pub sha256: String,
    /// The [`Signature`] in a file beside it.
    pub signature: Option<Signature>,
    /// The [`Manifest`], if it can be read.
    pub manifest: Option<Manifest>,
    /// The target of the build, if this is an ELF file.
    pub elf: Option<ElfFacts>,
    /// The reason why this host would refuse the file; `None` if it would load it.
    #[serde(serialize_with = "as_sentence")]
    pub refusal: Option<AdmissionRefusal>,
}

/// A minisign signature in a file of its own.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// The path of the signature file.
    pub file: String,
    /// The signer's comment; `None` if this is no minisign signature.
    pub trusted_comment: Option<String>,
    /// True if the signature is valid for these bytes and a trusted key; `None` if it was not verified.
    pub is_good: Option<bool>,
}

/// The requirements of an ELF file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ElfFacts {
    /// The processor, such as `x86-64`.
    pub machine: String,
    /// 32 or 64.
    pub bits: u8,
    /// `little-endian` or `big-endian`.
    pub byte_order: &'static str,
    /// The name of the library (`DT_SONAME`), if it has one.
    pub soname: Option<String>,
    /// The libraries that the file needs, in the order in which the loader searches them.
    pub needs: Vec<String>,
    /// The earliest version of glibc with all symbols that the file needs.
    pub glibc: Option<String>,
}

impl Inspection {
    /// Reads a file and the signature beside it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn of(path: &Path) -> Result<Self, AdmissionRefusal> {
        let file = DroppedFile::read(path)?;
        let elf = ElfReader::of(file.bytes());
        Ok(Self {
            file: path.display().to_string(),
            size_bytes: file.bytes().len(),
            sha256: file.sha256().to_owned(),
            signature: Signature::beside(path),
            manifest: elf.as_ref().and_then(|(_, manifest)| manifest.clone()),
            elf: elf.map(|(facts, _)| facts),
            refusal: file.examine().err(),
        })
    }
}

fn as_sentence<S: serde::Serializer>(
    refusal: &Option<AdmissionRefusal>,
    to: S,
) -> Result<S::Ok, S::Error> {
    refusal.as_ref().map(ToString::to_string).serialize(to)
}

impl Signature {
    fn beside(library: &Path) -> Option<Self> {
        let mut path = library.as_os_str().to_owned();
        path.push(".minisig");
        let mut text = String::new();
        // Reading a pipe could wait for ever.
        let file = regular_file(Path::new(&path)).ok()?;
        file.take(LONGEST_SIGNATURE_BYTES).read_to_string(&mut text).ok()?;
        let comment = text.lines().find_map(|line| line.strip_prefix("trusted comment: "));
        let trusted_comment = comment.map(|comment| bounded_text(comment.trim_end()));
        Some(Self { file: Path::new(&path).display().to_string(), trusted_comment, is_good: None })
    }
}

/// A reader of ELF files for any machine, since operators also inspect files for another one.
struct ElfReader<'b, H: FileHeader> {
    bytes: &'b [u8],
    endian: H::Endian,
    sections: SectionTable<'b, H>,
}

/// The number of entries of a list that are read: a file can claim to have any number.
const MOST_ENTRIES: usize = 1024;
/// The number of entries of a list that are shown.
const MOST_SHOWN: usize = 50;
/// The number of characters of a text that are shown.
const LONGEST_SHOWN: usize = 1000;
/// The most that is read of a signature. A minisign signature has some 400 bytes.
const LONGEST_SIGNATURE_BYTES: u64 = 64 * 1024;

/// Cuts a text for display: a file can hold a text of any length.
fn bounded_text(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(LONGEST_SHOWN) else { return text.to_owned() };
    format!("{}... and {} more bytes", &text[..end], text.len() - end)
}

/// Cuts a list for display: a file can hold a list of any length. `count` is the number of entries in the
/// file.
fn bounded_list(items: &[String], count: usize) -> Vec<String> {
    let mut shown: Vec<_> = items.iter().take(MOST_SHOWN).map(|item| bounded_text(item)).collect();
    if count > shown.len() {
        shown.push(format!("... and {} more", count - shown.len()));
    }
    shown
}

fn bounded_manifest(manifest: &Manifest) -> Manifest {
    let mut bounded = manifest.clone();
    for text in [
        &mut bounded.name,
        &mut bounded.version,
        &mut bounded.description,
        &mut bounded.license,
        &mut bounded.plugin_api,
        &mut bounded.rustc,
        &mut bounded.panic,
    ] {
        *text = bounded_text(text);
    }
    bounded.capabilities = bounded_list(&manifest.capabilities, manifest.capabilities.len());
    bounded
}

impl<'b> ElfReader<'b, FileHeader64<Endianness>> {
    fn of(bytes: &'b [u8]) -> Option<(ElfFacts, Option<Manifest>)> {
        match FileHeader64::<Endianness>::parse(bytes) {
            Ok(header) => Some(Self::facts(header, bytes)),
            Err(_) => {
                let header = FileHeader32::<Endianness>::parse(bytes).ok()?;
                Some(ElfReader::facts(header, bytes))
            }
        }
    }
}

impl<'b, H: FileHeader<Endian = Endianness>> ElfReader<'b, H> {
    fn facts(header: &H, bytes: &'b [u8]) -> (ElfFacts, Option<Manifest>) {
        let endian = header.endian().unwrap_or_default();
        let mut facts = ElfFacts {
            machine: machine_name(header.e_machine(endian)),
            bits: if header.is_type_64() { 64 } else { 32 },
            byte_order: match endian {
                Endianness::Little => "little-endian",
                Endianness::Big => "big-endian",
            },
            soname: None,
            needs: Vec::new(),
            glibc: None,
        };
        // The section headers are at the end, so a truncated file has none.
        let Ok(sections) = header.sections(endian, bytes) else { return (facts, None) };
        let reader = Self { bytes, endian, sections };
        facts.soname = reader.dynamic_strings(elf::DT_SONAME).0.pop();
        let (needs, count) = reader.dynamic_strings(elf::DT_NEEDED);
        facts.needs = bounded_list(&needs, count);
        facts.glibc = reader.glibc();
        (facts, reader.manifest())
    }

    fn manifest(&self) -> Option<Manifest> {
        let name = manifest::SECTION.as_bytes();
        let (_, section) = self.sections.section_by_name(self.endian, name)?;
        let manifest = serde_json::from_slice(section.data(self.endian, self.bytes).ok()?).ok()?;
        Some(bounded_manifest(&manifest))
    }

    /// Returns the first strings of a kind, and the number of all.
    fn dynamic_strings(&self, tag: elf::DynamicTag) -> (Vec<String>, usize) {
        let Ok(table) = self.sections.dynamic_table(self.endian, self.bytes) else {
            return (Vec::new(), 0);
        };
        let entries = || table.iter().filter(|entry| entry.tag == tag);
        let strings = entries().filter_map(|entry| Some(text(table.string(entry).ok()?)));
        (strings.take(MOST_ENTRIES).collect(), entries().count())
    }

    /// Returns the highest version among the symbols that the file needs of glibc.
    fn glibc(&self) -> Option<String> {
        let (needs, link) = self.sections.gnu_verneed(self.endian, self.bytes).ok()??;
        let strings = self.sections.strings(self.endian, self.bytes, link).ok()?;
        let versions = needs.take(MOST_ENTRIES).map_while(Result::ok).flat_map(|(_, names)| {
            let names = names.take(MOST_ENTRIES).map_while(Result::ok);
            names.filter_map(|name| name.name(self.endian, strings).ok())
        });
        let numbers = |version: &String| -> Option<Vec<u32>> {
            version.split('.').map(|part| part.parse().ok()).collect()
        };
        versions
            .filter_map(|name| Some(text(name).strip_prefix("GLIBC_")?.to_owned()))
            .filter_map(|version| Some((numbers(&version)?, version)))
            .max()
            .map(|(_, version)| version)
    }
}

fn text(bytes: &[u8]) -> String {
    // A character has at most four bytes.
    let end = bytes.len().min(4 * LONGEST_SHOWN);
    bounded_text(&String::from_utf8_lossy(&bytes[..end]))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{LazyLock, Mutex, PoisonError},
    };

    use proptest::prelude::*;

    use super::*;

    fn ours() -> Vec<u8> {
        fs::read("/proc/self/exe").expect("our own bytes")
    }

    fn inspect(bytes: &[u8]) -> Inspection {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.so");
        fs::write(&path, bytes).expect("it can be written");
        Inspection::of(&path).expect("it can be read")
    }

    #[test]
    fn describes_the_requirements_of_an_elf_file() {
        let (bytes, ours) = (ours(), inspect(&ours()));
        let elf = ours.elf.expect("it is one");
        assert_eq!((elf.bits, elf.byte_order), (64, "little-endian"));
        assert!(elf.needs.iter().any(|name| name.starts_with("libc.so")), "{elf:?}");
        assert!(elf.glibc.is_some_and(|version| version.starts_with("2.")));
        assert_eq!(ours.size_bytes, bytes.len());
    }

    #[test]
    fn describes_as_much_as_possible_of_a_truncated_file() {
        let ours = ours();
        let half = inspect(&ours[..ours.len() / 2]);
        assert!(
            half.refusal.is_some_and(|refusal| refusal.problem.message.starts_with("is truncated"))
        );
        let elf = half.elf.expect("its header is there");
        assert_eq!((elf.needs, elf.glibc), (vec![], None));
        let text = inspect(b"no library");
        assert!(text.elf.is_none() && text.manifest.is_none() && text.refusal.is_some());
    }

    #[test]
    fn cuts_long_texts_and_lists_of_a_file() {
        let manifest = serde_json::json!({
            "manifest": 1, "name": "demo", "version": "1.0.0", "panic": "unwind",
            "plugin_api": "1.0.0", "description": "é".repeat(10_000_000),
            "capabilities": vec!["receive"; 100_000],
        });
        let bounded = bounded_manifest(&serde_json::from_value(manifest).expect("a manifest"));
        assert_eq!(bounded.name, "demo");
        assert!(bounded.description.ends_with("é... and 19998000 more bytes"));
        assert_eq!(bounded.capabilities.len(), MOST_SHOWN + 1);
        assert_eq!(bounded.capabilities[MOST_SHOWN], "... and 99950 more");
        assert!(serde_json::to_string(&bounded).expect("JSON").len() < 4000);
        assert_eq!(bounded_list(&["libc.so.6".into()], 1), ["libc.so.6"]);
        assert!(text(&vec![b'x'; 1_000_000]).len() < 2000);
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(noise in prop::collection::vec((any::<bool>(), 0..4096_usize, any::<u8>()), 1..40)) {
            static OURS: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| Mutex::new(ours()));
            let mut bytes = OURS.lock().unwrap_or_else(PoisonError::into_inner);
            let length = bytes.len();
            // Changed in place and restored: copying so many bytes would take most of the time.
            let mut before = Vec::new();
            for (at_end, offset, byte) in noise {
                let at = if at_end { length - 1 - offset } else { offset };
                before.push((at, bytes[at]));
                bytes[at] = byte;
            }
            let _ = ElfReader::of(&bytes);
            before.into_iter().rev().for_each(|(at, byte)| bytes[at] = byte);
        }
    }
}
