//! Checksums of plugins, and the versions that they belong to.
//!
//! [`Checksums`](super::trusted_checksums::Checksums) decides which checksums are trusted.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::alert::PluginId;

/// A SHA-256 in lower-case hex.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum(String);

impl Checksum {
    /// Returns the 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Checksum {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hash {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("`{text}` is no SHA-256"))
        }
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.0
    }
}

/// A plugin in one version, written `NAME VERSION`: the text form of a [`PluginId`].
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct Release(pub PluginId);

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once(' ').filter(|(name, _)| !name.is_empty());
        let version = parts.and_then(|(_, version)| Version::parse(version).ok());
        match (parts, version) {
            (Some((name, _)), Some(version)) => {
                Ok(Self(PluginId { name: name.into(), version: version.to_string() }))
            }
            _ => Err(format!("`{text}` is no plugin with its version")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";

    fn demo() -> PluginId {
        PluginId { name: "demo".into(), version: "1.0.0".into() }
    }

    #[test]
    fn a_checksum_is_64_hex_digits() {
        let checksum = |text: &str| Checksum::try_from(text.to_owned());
        let upper = ONE.replace('1', "A");
        assert_eq!(checksum(&upper).expect("hex").as_str(), upper.to_lowercase());
        for wrong in ["", "abc", &ONE[1..], &format!("{ONE}1"), &ONE.replace('1', "g")] {
            assert!(checksum(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_release_is_a_name_and_a_full_version() {
        let release = |text: &str| Release::try_from(text.to_owned());
        assert_eq!(release("demo 1.0.0"), Ok(Release(demo())));
        assert!(release("demo 1.0.0-rc.1+7").is_ok());
        for wrong in ["", "demo", "demo ", " 1.0.0", "demo 1", "demo ^1.0.0", "demo  1.0.0"] {
            assert!(release(wrong).is_err(), "{wrong}");
        }
    }
}
