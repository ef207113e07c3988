//! Signatures of plugins, as the `minisign` program makes them.
//!
//! Signatures are only checked here; no secret key is involved.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::super::{folder::Folder, refusal::AdmissionRefusal};
use crate::alert::PluginId;

/// Longer files are no signatures: a signature file has four lines.
const LIMIT_BYTES: u64 = 16 * 1024;

/// A `minisign` public key whose signatures are trusted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct PublicKey {
    id: KeyId,
    key: minisign_verify::PublicKey,
}

/// A signature that was found good for the bytes of a plugin, by a trusted [`PublicKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSignature {
    text: String,
    key: PublicKey,
}

/// The id of a [`PublicKey`], shown as `minisign` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; 8]);

impl PublicKey {
    /// Returns the id of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl TryFrom<String> for PublicKey {
    type Error = String;

    /// Reads the line of the key, or the whole `minisign.pub`, whose first line is a comment.
    fn try_from(text: String) -> Result<Self, String> {
        let line = text.trim().lines().next_back().unwrap_or_default().trim();
        let id = KeyId::in_line(line);
        match (id, minisign_verify::PublicKey::from_base64(line)) {
            (Some(id), Ok(key)) => Ok(Self { id, key }),
            // The text is not repeated: it may be a secret key.
            _ => Err("this is no minisign public key".into()),
        }
    }
}

impl VerifiedSignature {
    /// Returns the id of the key that made the signature.
    pub fn key(&self) -> KeyId {
        self.key.id
    }

    /// Returns whether the same bytes would pass again: the signature is the same, and its key is still
    /// trusted.
    pub fn still_holds(&self, present: &str, trusted: &[PublicKey]) -> bool {
        self.text == present && trusted.contains(&self.key)
    }
}

impl KeyId {
    /// Reads the id from the line of a key or of a signature. Both begin with two bytes for the
    /// algorithm and eight for the key, see <https://jedisct1.github.io/minisign/#signature-format>.
    fn in_line(base64: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(base64.trim()).ok()?;
        Some(Self(bytes.get(2..10)?.try_into().ok()?))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

/// Returns the path of the signature of a library.
pub fn signature_of(library: &Path) -> PathBuf {
    library.with_file_name(file_name(library))
}

/// Reads the signature beside a file: `libx.so.minisig` for `libx.so`.
///
/// # Errors
///
/// If there is none, or it cannot be read.
pub(super) fn read(
    folder: &Folder,
    library: &Path,
    plugin: &PluginId,
) -> Result<String, AdmissionRefusal> {
    let name = file_name(library);
    match folder.small_text(&name, LIMIT_BYTES) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(AdmissionRefusal::new(
            format!("is {plugin}, which has no signature: there is no `{}`", name.display()),
            format!(
                "put the signature there, or make one with `{}`",
                sign_command(library, plugin)
            ),
        )),
        Err(error) => Err(unreadable(library, &error.to_string())),
    }
}

/// Checks a signature against the bytes of a plugin.
///
/// # Errors
///
/// An [`AdmissionRefusal`] with the fault of the signature and its remedy.
pub(super) fn check(
    library: &Path,
    text: String,
    trusted: &[PublicKey],
    plugin: &PluginId,
    bytes: &[u8],
) -> Result<VerifiedSignature, AdmissionRefusal> {
    let signature = minisign_verify::Signature::decode(&text);
    let id = text.lines().nth(1).and_then(KeyId::in_line);
    let (Ok(signature), Some(id)) = (signature, id) else {
        return Err(unreadable(library, "it was not made by `minisign`"));
    };
    let mut keys = trusted.iter().filter(|key| key.id == id).peekable();
    if keys.peek().is_none() {
        let known: Vec<_> = trusted.iter().map(|key| format!("`{}`", key.id)).collect();
        return Err(AdmissionRefusal::new(
            format!(
                "is signed with the key `{id}`; `plugins.public_keys` has {}",
                known.join(", ")
            ),
            "if you trust that key, add it; if not, remove the file",
        ));
    }
    let results: Vec<_> = keys.map(|key| (key, key.key.verify(bytes, &signature, false))).collect();
    let Some((key, _)) = results.iter().find(|(_, result)| result.is_ok()) else {
        let is_legacy = |error| matches!(error, minisign_verify::Error::UnexpectedAlgorithm);
        return Err(if results.into_iter().filter_map(|(_, result)| result.err()).any(is_legacy) {
            AdmissionRefusal::new(
                "has a signature in the old form, which this host does not accept",
                "sign it again, with `minisign` 0.10 or later, or with its `-H`",
            )
        } else {
            AdmissionRefusal::new(
                "is not the file that was signed, or its signature was changed",
                "drop in the file and the signature that belong together, or sign this file",
            )
        });
    };
    let comment = signature.trusted_comment();
    if !names(comment, plugin) {
        let comment = comment.replace(char::is_control, " ");
        return Err(AdmissionRefusal::new(
            format!("is {plugin}, but the trusted comment of its signature is `{comment}`"),
            format!(
                "drop in the intended plugin, or sign it with `{}`",
                sign_command(library, plugin)
            ),
        ));
    }
    Ok(VerifiedSignature { key: PublicKey::clone(key), text })
}

/// Returns whether a trusted comment names the plugin and directly after it the version, each as a word.
fn names(comment: &str, plugin: &PluginId) -> bool {
    let words: Vec<_> = comment.split_whitespace().collect();
    words.windows(2).any(|two| two == [plugin.name.as_str(), plugin.version.as_str()])
}

/// Returns the command that makes the expected signature.
fn sign_command(library: &Path, plugin: &PluginId) -> String {
    format!("minisign -S -m {} -t \"tocsin plugin {plugin}\"", library.display())
}

fn unreadable(library: &Path, problem: &str) -> AdmissionRefusal {
    AdmissionRefusal::new(
        format!("has a signature `{}` that can't be read: {problem}", file_name(library).display()),
        "copy it again, or sign the plugin again with `minisign`",
    )
}

fn file_name(library: &Path) -> OsString {
    let mut name = library.file_name().unwrap_or_default().to_owned();
    name.push(".minisig");
    name
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    // Made once with `minisign`, by keys that sign nothing else: signatures of the bytes `test`.
    const KEY: &str = "RWTTcZsWy/5WrL3vJ6H4bwKEH6WN2AFQhTdr1CgvNg2h9jVEreuP9ax0";
    const ANOTHER: &str = "RWTDaf7UDW3RrIgTNOy08wtyV3hmsaE2iikEnArag5X/tDMznZZAn6U7";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUTTcZsWy/5WrJ9tEV8+R6Qp350gGMqioqTTqePvW0KwY8WUze73Vms1JoO2i2qMgWLg4cIi9BnfgMXvsTwHU4JThVFvdVYnEQg=
trusted comment: tocsin plugin demo 1.0.0
rvTQbwBqqfpjTg7h1K6547pkLZYUqfJr8gCIRrEQRUrQ86CHqLR5wjcqsH9BFhrWxvw/QytY2yxTcIILz4IoBw==
";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWTTcZsWy/5WrJIoUfKnOwvN5O2qp52p34WNuUXPKMdKK6Z6fpTGiUW8KTfVFB7hi3vEYYP+0L+ODc6MZJib6ycgOa/heBVPKAc=
trusted comment: tocsin plugin demo 1.0.0
c17OcrrSq91h1nIQnYfRlJAXi9nldywjOyWO9vlK1at/AeXH6ysNGVxYG9hKiJo46zzFBzKbaj3PPRg9TT69CA==
";

    /// Returns the verified signature of the bytes `test` for demo 1.0.0, its text, its key, and another
    /// key.
    pub(in super::super) fn verified()
    -> (VerifiedSignature, &'static str, &'static str, &'static str) {
        let verified = checked(SIGNATURE, &[KEY], "1.0.0", b"test").expect("it is good");
        (verified, SIGNATURE, KEY, ANOTHER)
    }

    fn key(text: &str) -> PublicKey {
        PublicKey::try_from(text.to_owned()).expect("a key")
    }

    fn checked(
        text: &str,
        keys: &[&str],
        version: &str,
        bytes: &[u8],
    ) -> Result<VerifiedSignature, String> {
        let keys: Vec<_> = keys.iter().map(|text| key(text)).collect();
        let plugin = PluginId { name: "demo".into(), version: version.into() };
        check(Path::new("plugins/libdemo.so"), text.to_owned(), &keys, &plugin, bytes)
            .map_err(|refusal| refusal.to_string())
    }

    fn refused(text: &str, keys: &[&str], version: &str, bytes: &[u8]) -> String {
        checked(text, keys, version, bytes).expect_err("it is no good")
    }

    #[test]
    fn accepts_a_signature_by_any_trusted_key() {
        for keys in [&[KEY][..], &[ANOTHER, KEY], &[KEY, ANOTHER]] {
            let verified = checked(SIGNATURE, keys, "1.0.0", b"test").expect("it is good");
            assert_eq!(verified.key().to_string(), "AC56FECB169B71D3");
        }
    }

    #[test]
    fn each_fault_of_a_signature_has_its_message() {
        insta::assert_snapshot!(refused(SIGNATURE, &[KEY], "1.0.0", b"other"), @"is not the file that was signed, or its signature was changed; hint: drop in the file and the signature that belong together, or sign this file");
        insta::assert_snapshot!(refused(SIGNATURE, &[KEY], "1.0.1", b"test"), @r#"is demo 1.0.1, but the trusted comment of its signature is `tocsin plugin demo 1.0.0`; hint: drop in the intended plugin, or sign it with `minisign -S -m plugins/libdemo.so -t "tocsin plugin demo 1.0.1"`"#);
        insta::assert_snapshot!(refused(SIGNATURE, &[ANOTHER], "1.0.0", b"test"), @"is signed with the key `AC56FECB169B71D3`; `plugins.public_keys` has `ACD16D0DD4FE69C3`; hint: if you trust that key, add it; if not, remove the file");
        insta::assert_snapshot!(refused(LEGACY, &[KEY], "1.0.0", b"test"), @"has a signature in the old form, which this host does not accept; hint: sign it again, with `minisign` 0.10 or later, or with its `-H`");
        insta::assert_snapshot!(refused("no signature", &[KEY], "1.0.0", b"test"), @"has a signature `libdemo.so.minisig` that can't be read: it was not made by `minisign`; hint: copy it again, or sign the plugin again with `minisign`");
    }

    #[test]
    fn refuses_a_changed_trusted_comment() {
        let changed = SIGNATURE.replace("demo 1.0.0", "demo 1.0.1");
        assert!(refused(&changed, &[KEY], "1.0.1", b"test").contains("its signature was changed"));
    }

    #[test]
    fn refuses_another_key_with_the_same_id() {
        let mut bytes = BASE64_STANDARD.decode(ANOTHER).expect("a key");
        bytes[2..10].copy_from_slice(&key(KEY).id.0);
        let claimed = BASE64_STANDARD.encode(bytes);
        refused(SIGNATURE, &[&claimed], "1.0.0", b"test");
        checked(SIGNATURE, &[&claimed, KEY], "1.0.0", b"test").expect("the other one made it");
    }

    #[test]
    fn a_trusted_comment_names_the_plugin_and_then_its_version() {
        let demo = PluginId { name: "demo".into(), version: "1.0.0".into() };
        for good in ["demo 1.0.0", "tocsin plugin demo 1.0.0", "timestamp:1\tdemo\t1.0.0\thashed"] {
            assert!(names(good, &demo), "{good}");
        }
        for bad in [
            "",
            "demo",
            "1.0.0 demo",
            "demo 1.0.01",
            "demo 1.0.0-rc.1",
            "other-demo 1.0.0",
            "demo1.0.0",
            "Demo 1.0.0",
            "slack 1.0.0 for demo 2.0.0",
            "file:demo 1.0.0",
        ] {
            assert!(!names(bad, &demo), "{bad}");
        }
    }

    #[test]
    fn a_verified_signature_holds_while_signature_and_key_stay_the_same() {
        let verified = checked(SIGNATURE, &[KEY], "1.0.0", b"test").expect("it is good");
        assert!(verified.still_holds(SIGNATURE, &[key(ANOTHER), key(KEY)]));
        assert!(!verified.still_holds(SIGNATURE, &[key(ANOTHER)]));
        assert!(!verified.still_holds(LEGACY, &[key(KEY)]));
    }

    #[test]
    fn reads_a_key_from_its_line_or_its_whole_file() {
        let file = format!("untrusted comment: minisign public key AC56FECB169B71D3\n{KEY}\n");
        assert_eq!(key(&file), key(KEY));
        assert_eq!(key(&format!(" {KEY} ")), key(KEY));
        for wrong in
            ["", "RWTT", "untrusted comment: x", &KEY[1..], &KEY.replace('R', "S"), SIGNATURE]
        {
            assert!(PublicKey::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_check_panic(at in 0..SIGNATURE.len(), length in 0..SIGNATURE.len(), text in ".{0,40}") {
            let (start, end) = (at, (at + length).min(SIGNATURE.len()));
            let changed = [&SIGNATURE[..start], &text, &SIGNATURE[end..]].concat();
            // The untrusted comment may differ. Nothing else may differ in a signature that is good.
            if let Ok(verified) = checked(&changed, &[KEY], "1.0.0", b"test") {
                let signed = |text: &str| text.lines().skip(1).take(3).map(str::to_owned).collect::<Vec<_>>();
                prop_assert_eq!(signed(&verified.text), signed(SIGNATURE));
            }
            let _ = PublicKey::try_from(changed);
        }
    }
}
