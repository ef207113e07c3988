//! The checksums that are trusted: those of the lock file and those of the configuration.
//!
//! Hashes are computed elsewhere, when a file is read.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    super::refusal::AdmissionRefusal,
    checksum::{Checksum, Release},
    lock_file::LockFile,
};
use crate::alert::PluginId;

/// The trusted checksums: those of the [`LockFile`] and those of the configuration.
#[derive(Debug)]
pub struct Checksums {
    lock_name: PathBuf,
    lock: Option<LockFile>,
    configured: BTreeMap<Release, Checksum>,
}

impl Checksums {
    /// Joins a lock file, which may be missing, with the checksums of the configuration. `lock_name` is
    /// the lock file as the operator wrote it.
    pub fn new(
        lock_name: &Path,
        lock: Option<LockFile>,
        configured: &BTreeMap<Release, Checksum>,
    ) -> Self {
        Self { lock_name: lock_name.to_owned(), lock, configured: configured.clone() }
    }

    /// Checks that a plugin has a trusted checksum.
    ///
    /// # Errors
    ///
    /// If the plugin has another checksum, or none is known for it.
    pub fn check(&self, plugin: &PluginId, sha256: &str) -> Result<(), AdmissionRefusal> {
        let locked = self.lock.as_ref().and_then(|lock| lock.checksum(plugin));
        let configured = self.configured.iter().find(|(release, _)| release.0 == *plugin);
        let known = [locked, configured.map(|(_, checksum)| checksum)];
        let known: Vec<_> = known.into_iter().flatten().map(Checksum::as_str).collect();
        if known.contains(&sha256) {
            return Ok(());
        }
        let lock = self.lock_name.display();
        if known.is_empty() {
            let reason = match self.lock {
                Some(_) => format!("is {plugin}, which has no checksum in `{lock}`"),
                None => format!("is {plugin}, which has no checksum: there is no `{lock}`"),
            };
            return Err(AdmissionRefusal::new(reason, if_trusted("run `tocsin plugins lock`")));
        }
        let place =
            if locked.is_some() { format!("`{lock}`") } else { "`plugins.checksums`".into() };
        let again = if locked.is_some() {
            "run `tocsin plugins lock` again"
        } else {
            "write the new checksum there"
        };
        let reason = format!(
            "is {plugin} with other bytes than {place} says: its SHA-256 is {sha256}, not {}",
            known[0]
        );
        Err(AdmissionRefusal::new(reason, if_trusted(again)))
    }
}

fn if_trusted(action: &str) -> impl fmt::Display {
    format!("if you trust this file, {action}; if not, remove it")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    fn demo() -> PluginId {
        PluginId { name: "demo".into(), version: "1.0.0".into() }
    }

    /// Returns the message about a demo 1.0.0 with the hash [`ONE`].
    fn said(lock: Option<&str>, configured: Option<&str>) -> Result<(), String> {
        let lock = lock.map(|sha256| {
            let text = format!(
                "[[plugin]]\nname = 'demo'\nversion = '1.0.0'\nsha256 = '{sha256}'\nfile = 'x.so'"
            );
            text.parse().expect("a lock file")
        });
        let checksum = |sha256: &str| Checksum::try_from(sha256.to_owned()).expect("a checksum");
        let configured = configured.map(|sha256| (Release(demo()), checksum(sha256)));
        let configured = configured.into_iter().collect();
        let checksums = Checksums::new(Path::new("plugins.lock"), lock, &configured);
        checksums.check(&demo(), ONE).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn the_right_checksum_in_either_place_is_enough() {
        for (lock, configured) in
            [(Some(ONE), None), (None, Some(ONE)), (Some(ONE), Some(TWO)), (Some(TWO), Some(ONE))]
        {
            assert_eq!(said(lock, configured), Ok(()), "{lock:?} {configured:?}");
        }
    }

    #[test]
    fn refuses_a_plugin_with_another_checksum_or_none() {
        let refused = |lock, configured| said(lock, configured).expect_err("it is refused");
        insta::assert_snapshot!(refused(Some(TWO), None), @"is demo 1.0.0 with other bytes than `plugins.lock` says: its SHA-256 is 1111111111111111111111111111111111111111111111111111111111111111, not 2222222222222222222222222222222222222222222222222222222222222222; hint: if you trust this file, run `tocsin plugins lock` again; if not, remove it");
        insta::assert_snapshot!(refused(None, Some(TWO)), @"is demo 1.0.0 with other bytes than `plugins.checksums` says: its SHA-256 is 1111111111111111111111111111111111111111111111111111111111111111, not 2222222222222222222222222222222222222222222222222222222222222222; hint: if you trust this file, write the new checksum there; if not, remove it");
        insta::assert_snapshot!(refused(None, None), @"is demo 1.0.0, which has no checksum: there is no `plugins.lock`; hint: if you trust this file, run `tocsin plugins lock`; if not, remove it");
    }
}
