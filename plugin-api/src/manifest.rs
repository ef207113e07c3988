//! The manifest of a plugin, which a host reads from the library's file without running it.
//!
//! The manifest is a JSON object in the ELF section [`SECTION`]. [`export_plugin!`](crate::export_plugin)
//! writes it at compile time from the plugin's Cargo.toml. This module does not read ELF files.

use serde::{Deserialize, Serialize};

/// The ELF section that holds the manifest.
pub const SECTION: &str = ".tocsin.manifest";

/// The format of the manifest that this version writes.
pub const FORMAT: u32 = 1;

/// The capability of a [`Receiver`](crate::capability::Receiver).
pub const RECEIVE: &str = "receive";

/// The capability of a [`Notifier`](crate::capability::Notifier).
pub const NOTIFY: &str = "notify";

/// The panic strategy of a plugin whose panics can be caught.
pub const UNWIND: &str = "unwind";

/// A manifest, as a host reads it. Fields that only a later version knows are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The format of this object, [`FORMAT`]. A format that older hosts cannot read gets the next number.
    pub manifest: u32,
    /// The name of the plugin, which is that of its package. Configurations refer to it with
    /// `plugin = "..."`.
    pub name: String,
    /// The version of the plugin, which is that of its package (semver).
    pub version: String,
    /// The description of the plugin, in one line.
    #[serde(default)]
    pub description: String,
    /// The licence as an SPDX expression; empty if the package has none.
    #[serde(default)]
    pub license: String,
    /// The version of this crate that the plugin was built with.
    pub plugin_api: String,
    /// The compiler that built the plugin, as `rustc --version` prints it.
    #[serde(default)]
    pub rustc: String,
    /// The panic strategy: [`UNWIND`], or `abort`, with which panics cannot be caught.
    pub panic: String,
    /// The names of the plugin's [capabilities](crate::capability). A host refuses a plugin with a
    /// capability that the host does not know. The minor version of [`plugin_api`](Self::plugin_api)
    /// is never a reason to refuse a plugin.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The plugin's [`LARGEST_BODY_BYTES`](crate::capability::Receiver::LARGEST_BODY_BYTES).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_body_bytes: Option<usize>,
}

/// The manifest that [`export_plugin!`](crate::export_plugin) makes at compile time.
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
    /// The panic strategy with which the package is compiled.
    pub panic: &'static str,
    /// The names of the plugin's capabilities.
    pub capabilities: &'static [&'static str],
    /// The plugin's [`LARGEST_BODY_BYTES`](crate::capability::Receiver::LARGEST_BODY_BYTES).
    pub largest_body_bytes: Option<usize>,
}

impl PackageManifest {
    /// Returns the length of [`to_json`](Self::to_json) in bytes.
    #[doc(hidden)]
    pub const fn json_len(&self) -> usize {
        self.write(Writer::<0>::new()).len
    }

    /// Returns the manifest as JSON. `N` is [`json_len`](Self::json_len).
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

/// A writer of JSON at compile time, when serde cannot run. Bytes beyond `N` are only counted.
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
    fn reads_the_manifest_that_was_written_at_compile_time() {
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
