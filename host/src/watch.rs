//! Watches the plugins folder, the configuration and the files it refers to, and has the host reload
//! once they have come to rest.
//!
//! The file system's notifications only wake it: what decides is whether a file is another one than at the
//! last look, so that a lost or superfluous notice does no harm. It judges no file.

mod notifications;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use self::notifications::Notifications;
use crate::{
    config::{self, Document, LoadedConfig, Plugins},
    file_stamp::{FolderStamp, Stamp},
    host::Host,
    host::reloads::ReloadReason,
    plugins::{
        libraries_in,
        verification::{Policy, signature::signature_of},
    },
};

/// A file that is written to for so many settle times on end is not waited for any longer.
const PATIENCE: u32 = 20;
/// While it is switched off, it looks so often whether it still is.
const OFF: Duration = Duration::from_secs(2);

/// Watches until the host is gone, for what is not as it was `seen` before it was read.
///
/// # Errors
///
/// Where the system gives no thread.
pub fn start(host: &Arc<Host>, seen: Snapshot) -> std::io::Result<()> {
    let host = Arc::downgrade(host);
    thread::Builder::new().name("watch".into()).spawn(move || watch(&host, seen)).map(drop)
}

/// The files and folders that matter, each as it was at a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    folders: BTreeMap<PathBuf, Option<FolderStamp>>,
}

impl Snapshot {
    fn add(&mut self, file: PathBuf) {
        let stamp = Stamp::of(&file);
        self.files.insert(file, stamp);
    }

    /// The folder, what it has to hold, and what says whether that is trusted.
    fn add_plugins(&mut self, document: &Document, plugins: &Plugins) {
        let folder = document.beside(&plugins.dir);
        let libraries = libraries_in(&folder).unwrap_or_default();
        match plugins.verify {
            Policy::Off => {}
            Policy::Checksum => self.add(document.beside(&plugins.lock)),
            Policy::Signature => {
                libraries.iter().for_each(|library| self.add(signature_of(library)));
            }
        }
        libraries.into_iter().for_each(|library| self.add(library));
        let stamp = FolderStamp::of(&folder);
        self.folders.insert(folder, stamp);
    }

    /// The folders, and the files that lie elsewhere. The folder of the configuration itself is left
    /// alone, as the store may write there all the time.
    fn to_listen_to(&self) -> impl Iterator<Item = &PathBuf> {
        let is_within =
            |path: &Path| path.parent().is_some_and(|folder| self.folders.contains_key(folder));
        let files = self.files.keys().filter(move |path| !is_within(path));
        files.chain(self.folders.keys())
    }

    fn names(&self) -> BTreeSet<OsString> {
        let paths = self.files.keys().chain(self.folders.keys());
        paths.filter_map(|path| path.file_name().map(Into::into)).collect()
    }
}

fn watch(host: &Weak<Host>, mut seen: Snapshot) {
    let mut notifications = Notifications::new();
    loop {
        let Some(config) = config_of(host) else { return };
        let watch = &config.config.watch;
        if !watch.enabled {
            thread::sleep(OFF);
            continue;
        }
        notifications.listen(&seen);
        let now = look(&config);
        if now == seen {
            notifications.wait(watch.look_every);
            continue;
        }
        let Some(settled) = settled(host, now, watch.settle) else { return };
        if settled != seen {
            let Some(host) = host.upgrade() else { return };
            reload(&host);
        }
        seen = settled;
    }
}

/// The configuration that is in force; none if the host is gone.
fn config_of(host: &Weak<Host>) -> Option<LoadedConfig> {
    let host = host.upgrade().filter(|host| !host.is_stopping())?;
    Some(host.in_force().config.clone())
}

/// Waits until nothing has changed for the settle time; none if the host is gone meanwhile.
fn settled(host: &Weak<Host>, mut now: Snapshot, settle: Duration) -> Option<Snapshot> {
    for _ in 0..PATIENCE {
        thread::sleep(settle);
        let later = look(&config_of(host)?);
        if later == now {
            break;
        }
        now = later;
    }
    Some(now)
}

fn reload(host: &Host) {
    match host.reload(ReloadReason::FileChanged) {
        Ok(changes) => {
            for change in &changes {
                tracing::info!(event = "change_applied", %change, "reloaded");
            }
        }
        Err(problem) => {
            tracing::error!(
                event = "automatic_reload_refused",
                problem,
                "something changed, but everything goes on as it was",
            );
        }
    }
}

/// The files that matter: to the configuration in force, and to its file as it is now, even where
/// that is not one that could be in force. What is wrong with it may be mended elsewhere.
pub fn look(config: &LoadedConfig) -> Snapshot {
    let mut seen = Snapshot::default();
    seen.add(config.document.path.clone());
    seen.add_plugins(&config.document, &config.config.plugins);
    if let Ok(document) = config::read(&config.document.path) {
        config::referenced_files(&document).into_iter().for_each(|file| seen.add(file));
        if let Ok(plugins) = config::read_plugin_paths(&document) {
            seen.add_plugins(&document, &plugins);
        }
    }
    seen
}
