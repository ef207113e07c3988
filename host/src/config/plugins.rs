//! `[plugins]`: where plugins are found, which are trusted, and what their calls may take.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::Deserialize;

use super::RequiredPlugins;
use crate::plugins::verification::{
    Policy,
    checksum::{Checksum, Release},
    signature::PublicKey,
};

/// `[plugins]`: where plugins are found, which are trusted, and what their calls may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// The folder of `.so` files, relative to the configuration file. Default `plugins`.
    pub dir: PathBuf,
    /// How long a call of a plugin may take before it is given up; 10 ms or more, default `1s`.
    #[serde(with = "duration")]
    pub call_deadline: Duration,
    /// A call that takes as long is logged and counted as slow; `0s` never, default `100ms`.
    #[serde(with = "duration")]
    pub slow_call: Duration,
    /// What a plugin has to show before it is loaded: `off` (default), `checksum` or `signature`.
    pub verify: Policy,
    /// The file that `tocsin plugins lock` writes, relative to the configuration file; it is read
    /// where `verify` is `checksum`. Default `plugins.lock`.
    pub lock: PathBuf,
    /// SHA-256 of plugins in hex by `NAME VERSION`, beside those of the lock file.
    pub checksums: BTreeMap<Release, Checksum>,
    /// The `minisign` keys whose signatures are trusted where `verify` is `signature`.
    pub public_keys: Vec<PublicKey>,
    /// Files of `dir` by name that others than root and the host's user may change, and `.` for
    /// `dir` itself. Default: none.
    pub allow_writable_by_others: Vec<String>,
    /// The plugins without which `serve` does not start: `true` for all that are used, or names.
    /// Default none: a plugin that is missing breaks its own integrations only.
    pub required: RequiredPlugins,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            dir: "plugins".into(),
            call_deadline: Duration::from_secs(1),
            slow_call: Duration::from_millis(100),
            verify: Policy::default(),
            lock: "plugins.lock".into(),
            checksums: BTreeMap::new(),
            public_keys: Vec::new(),
            allow_writable_by_others: Vec::new(),
            required: RequiredPlugins::default(),
        }
    }
}
