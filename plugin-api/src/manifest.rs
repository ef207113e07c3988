//! What a library says of itself, readable from the file without running it.
//!
//! The manifest is a JSON object in the ELF section [`SECTION`]. [`export_plugin!`](crate::export_plugin)
//! writes it at compile time from the plugin's Cargo.toml; nothing here reads ELF files.

use serde::{Deserialize, Serialize};

/// The ELF section that holds the manifest.
pub const SECTION: &str = ".tocsin.manifest";

/// The form of the manifest that this version writes.
pub const FORMAT: u32 = 1;

/// The capability of a [`Receiver`](crate::capability::Receiver).
pub const RECEIVE: &str = "receive";

/// The panic strategy of a plugin whose panics can be caught.
pub const UNWIND: &str = "unwind";

/// What a library says of itself, as it is read from the file. Fields that a later version adds are
/// left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The form of this object, [`FORMAT`]. A form that can't be read by older hosts counts up.
    pub manifest: u32,
    /// The plugin's name: what `plugin = "..."` in a configuration names. Its package's name.
    pub name: String,
    /// The plugin's version, semver. Its package's version.
    pub version: String,
    /// One line on what it is.
    #[serde(default)]
    pub description: String,
    /// The licence, an SPDX expression; empty if none is stated.
    #[serde(default)]
    pub license: String,
    /// The version of this crate that it was built against.
    pub plugin_api: String,
    /// The compiler that built it, as `rustc --version` prints it.
    #[serde(default)]
    pub rustc: String,
    /// [`UNWIND`], or `abort` where panics can't be caught.
    pub panic: String,
    /// The names of its [capabilities](crate::capability). A host that does not know one of them does
    /// not load the plugin; [`plugin_api`](Self::plugin_api) refuses nothing within a major version.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// [`Integration::LARGEST_BODY_BYTES`](crate::Integration::LARGEST_BODY_BYTES).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_body_bytes: Option<usize>,
}

/// What [`export_plugin!`](crate::export_plugin) knows of a package at compile time, and writes.
#[derive(Clone, Copy, Debug)]
pub struct PackageManifest {
    /// `CARGO_PKG_NAME`.
    pub name: &'static str,
    /// `CARGO_PKG_VERSION`.
    pub version: &'static str,
    /// `CARGO_PKG_DESCRIPTION`.
    pub description: &'static str,
    /// `CARGO_PKG_LICENSE`.
    pub license: &'static str,
    /// The panic strategy under which the package is compiled.
    pub panic: &'static str,
    /// The names of the capabilities.
    pub capabilities: &'static [&'static str],
    /// The size of the largest body that makes sense.
    pub largest_body_bytes: Option<usize>,
}

impl PackageManifest {
    /// How long [`to_json`](Self::to_json) is, in bytes.
    #[doc(hidden)]
    pub const fn json_len(&self) -> usize {
        self.write(Writer::<0>::new()).len
    }

    /// The manifest as JSON. `N` is [`json_len`](Self::json_len).
    #[doc(hidden)]
    pub const fn to_json<const N: usize>(&self) -> [u8; N] {
        self.write(Writer::new()).bytes
    }

    const fn write<const N: usize>(&self, to: Writer<N>) -> Writer<N> {
        const { assert!(FORMAT == 1) };
        let written = to
            .raw("{\"manifest\":1,\"name\":")
            .string(self.name)
            .raw(",\"version\":")
            .string(self.version)
            .raw(",\"description\":")
            .string(self.description)
            .raw(",\"license\":")
            .string(self.license)
            .raw(",\"plugin_api\":")
            .string(crate::VERSION)
            .raw(",\"rustc\":")
            .string(env!("TOCSIN_RUSTC_VERSION"))
            .raw(",\"panic\":")
            .string(self.panic)
            .raw(",\"capabilities\":[")
            .strings(self.capabilities)
            .raw("]");
        match self.largest_body_bytes {
            Some(bytes) => written.raw(",\"largest_body_bytes\":").number(bytes).raw("}"),
            None => written.raw("}"),
        }
    }
}

/// Writes JSON at compile time, where serde can't. Bytes past `N` are counted and dropped.
struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    const fn byte(mut self, byte: u8) -> Self {
        if self.len < N {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
        self
    }

    const fn raw(mut self, text: &str) -> Self {
        let mut at = 0;
        while at < text.len() {
            self = self.byte(text.as_bytes()[at]);
            at += 1;
        }
        self
    }

    const fn number(self, number: usize) -> Self {
        let written = if number >= 10 { self.number(number / 10) } else { self };
        written.byte(b'0' + (number % 10) as u8)
    }

    const fn strings(mut self, texts: &[&str]) -> Self {
        let mut at = 0;
        while at < texts.len() {
            let comma = if at == 0 { "" } else { "," };
            self = self.raw(comma).string(texts[at]);
            at += 1;
        }
        self
    }

    const fn string(mut self, text: &str) -> Self {
        self = self.byte(b'"');
        let mut at = 0;
        while at < text.len() {
            self = match text.as_bytes()[at] {
                quoted @ (b'"' | b'\\') => self.byte(b'\\').byte(quoted),
                control @ 0..0x20 => {
                    let hex = b"0123456789abcdef";
                    let (high, low) = (hex[(control >> 4) as usize], hex[(control & 15) as usize]);
                    self.raw("\\u00").byte(high).byte(low)
                }
                byte => self.byte(byte),
            };
            at += 1;
        }
        self.byte(b'"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_at_compile_time_is_read_as_it_was() {
        const WRITTEN: PackageManifest = PackageManifest {
            name: "a-b",
            version: "1.2.3",
            description: "say \"hi\"\\\n\té",
            license: "MIT",
            panic: UNWIND,
            capabilities: &[RECEIVE, "echo"],
            largest_body_bytes: Some(1_048_576),
        };
        const JSON: [u8; WRITTEN.json_len()] = WRITTEN.to_json();

        let read: Manifest = serde_json::from_slice(&JSON).expect("valid JSON");
        assert_eq!((read.name.as_str(), read.version.as_str()), ("a-b", "1.2.3"));
        assert_eq!(read.description, "say \"hi\"\\\n\té");
        assert_eq!(read.plugin_api, crate::VERSION);
        assert!(read.rustc.starts_with("rustc "));
        assert_eq!(read.capabilities, [RECEIVE, "echo"]);
        assert_eq!(read.largest_body_bytes, Some(1_048_576));

        const WITHOUT: PackageManifest = PackageManifest { largest_body_bytes: None, ..WRITTEN };
        const SHORTER: [u8; WITHOUT.json_len()] = WITHOUT.to_json();
        let read: Manifest = serde_json::from_slice(&SHORTER).expect("valid JSON");
        assert_eq!(read.largest_body_bytes, None);
    }
}
