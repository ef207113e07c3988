//! Watches the plugins folder, the configuration and the files that it refers to, and reloads the host when
//! they have changed.
//!
//! Notifications of the file system only wake the watcher. It then compares [`Snapshot`]s, so that a
//! lost or superfluous notification has no effect. No file is checked here.

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
    alert::Actor,
    config::{self, Document, LoadedConfig, Plugins},
    host::{Host, reloads::ReloadReason},
    plugins::{
        libraries_in,
        verification::{Policy, signature::signature_of},
    },
    system::file_stamp::{FolderStamp, Stamp},
};

/// Most settle times to wait for files that keep changing.
const MOST_SETTLE_TIMES: u32 = 20;
/// Interval at which a watcher that is switched off checks if it was switched on.
const OFF_INTERVAL: Duration = Duration::from_secs(2);

/// Starts the thread that watches until the host stops. `seen` is the [`Snapshot`] from before the host read
/// its files, so that no change since then is missed.
///
/// # Errors
///
/// If the system has no thread left.
pub(crate) fn start(host: &Arc<Host>, seen: Snapshot) -> std::io::Result<()> {
    let host = Arc::downgrade(host);
    thread::Builder::new().name("watch".into()).spawn(move || watch(&host, seen)).map(drop)
}

/// A [`Stamp`] of every file and a [`FolderStamp`] of every folder that matters, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    folders: BTreeMap<PathBuf, Option<FolderStamp>>,
}

impl Snapshot {
    fn add(&mut self, file: PathBuf) {
        let stamp = Stamp::of(&file);
        self.files.insert(file, stamp);
    }

    /// Adds the plugins folder, its libraries, their signatures and the lock file.
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

    /// Returns the folders, and the files outside them, for [`Notifications::listen`]. The folder of the
    /// configuration is not among them, since the store may write there all the time.
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
            thread::sleep(OFF_INTERVAL);
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

/// Returns the [`LoadedConfig`] in force, or `None` if the host stops.
fn config_of(host: &Weak<Host>) -> Option<LoadedConfig> {
    let host = host.upgrade().filter(|host| !host.is_stopping())?;
    Some(host.in_force().config.clone())
}

/// Waits until nothing has changed for the settle time, and returns the last snapshot, or `None` if the host
/// stops.
fn settled(host: &Weak<Host>, mut now: Snapshot, settle: Duration) -> Option<Snapshot> {
    for _ in 0..MOST_SETTLE_TIMES {
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
    let reloaded = host.reload(ReloadReason::FileChanged);
    // Files that were written again with the same content are no act.
    if reloaded.as_ref().map_or(true, |changes| !changes.is_empty()) {
        host.audit_reload(Actor::FileWatch, &reloaded);
    }
    match reloaded {
        Ok(changes) => {
            for change in &changes {
                tracing::info!(event = "change_applied", %change, "reloaded");
            }
        }
        Err(problem) => {
            tracing::error!(
                event = "automatic_reload_refused",
                problem,
                "files changed, but the reload failed and nothing was changed",
            );
        }
    }
}

/// Takes a [`Snapshot`] of the files of the configuration in force, and of those that its file refers to now.
/// The file may have errors: the change that corrects them may be in one of those files.
pub(crate) fn look(config: &LoadedConfig) -> Snapshot {
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
