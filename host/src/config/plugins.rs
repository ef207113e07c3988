//! `[plugins]`: the folder of plugins, trust in them, and limits of their calls.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::Deserialize;

use super::RequiredPlugins;
use crate::plugins::verification::{
    Policy,
    checksum::{Checksum, Release},
    signature::PublicKey,
};

/// `[plugins]`: the folder of plugins, trust in them, and limits of their calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Plugins {
    /// The folder of `.so` files, relative to the configuration file. Default `plugins`.
    pub dir: PathBuf,
    /// Timeout of a [call](crate::call) of a plugin. 10 ms or more, default `1s`.
    #[serde(with = "duration")]
    pub call_deadline: Duration,
    /// Duration from which a call is logged and counted as slow. `0s` means never. Default `100ms`.
    #[serde(with = "duration")]
    pub slow_call: Duration,
    /// Proof that a plugin needs before it is loaded, see [`Policy`]: `off` (default) for none, `checksum` or
    /// `signature`.
    pub verify: Policy,
    /// The file that `tocsin plugins lock` writes, relative to the configuration file. The host reads it
    /// if `verify` is `checksum`. Default `plugins.lock`.
    pub lock: PathBuf,
    /// [`Checksum`]s of plugins in hex by `NAME VERSION`, in addition to those of the lock file.
    pub checksums: BTreeMap<Release, Checksum>,
    /// The `minisign` [`PublicKey`]s whose signatures are trusted if `verify` is `signature`.
    pub public_keys: Vec<PublicKey>,
    /// Names of files in `dir` that are loaded although other users than root and the host's may change
    /// them; `.` stands for `dir` itself. Default: none.
    pub allow_writable_by_others: Vec<String>,
    /// The [`RequiredPlugins`], without which `serve` does not start: `true` for all that integrations use,
    /// or a list of names. Default: none; a missing plugin breaks only its own integrations.
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
