//! Watches the plugins folder, the configuration and the files it refers to, and has the host reload
//! once they have come to rest.
//!
//! The file system's notices only wake it: what decides is whether a file is another one than at the
//! last look, so that a lost or superfluous notice does no harm. It judges no file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::{
    config::{self, LoadedConfig},
    host::Host,
    plugins::{
        libraries_in,
        verification::{Policy, signature::signature_of},
    },
    reload::Cause,
    stamp::Stamp,
};

/// How often it looks by itself: some file systems give no notices.
const LOOK: Duration = Duration::from_secs(2);
/// A file that is written to for so many settle times on end is not waited for any longer.
const PATIENCE: u32 = 20;

/// Watches until the host is gone, for what is not as it was `seen` before it was read.
///
/// # Errors
///
/// Where the system gives no thread.
pub fn start(host: &Arc<Host>, seen: Seen) -> std::io::Result<()> {
    let host = Arc::downgrade(host);
    thread::Builder::new().name("watch".into()).spawn(move || watch(&host, seen)).map(drop)
}

/// The files that matter, each as it was at a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Option<Stamp>>);

fn watch(host: &Weak<Host>, mut seen: Seen) {
    let (notices, noticed) = mpsc::channel();
    let mut watcher = notices_to(notices);
    loop {
        let Some((now, settle)) = ({
            let Some(host) = host.upgrade().filter(|host| !host.is_stopping()) else { return };
            let in_force = host.in_force();
            listen(watcher.as_mut(), &in_force.config);
            let watch = &in_force.config.config.watch;
            watch.enabled.then(|| (look(&in_force.config), watch.settle))
        }) else {
            wait(&noticed, LOOK);
            continue;
        };
        if now == seen {
            wait(&noticed, LOOK);
            continue;
        }
        let Some(settled) = settled(host, now, settle) else { return };
        if settled != seen {
            let Some(host) = host.upgrade() else { return };
            reload(&host);
        }
        seen = settled;
    }
}

/// Waits until nothing has changed for the settle time; none if the host is gone meanwhile.
fn settled(host: &Weak<Host>, mut now: Seen, settle: Duration) -> Option<Seen> {
    for _ in 0..PATIENCE {
        thread::sleep(settle);
        let later = look(&host.upgrade().filter(|host| !host.is_stopping())?.in_force().config);
        if later == now {
            break;
        }
        now = later;
    }
    Some(now)
}

fn reload(host: &Host) {
    match host.reload(Cause::Changed) {
        Ok(changes) => changes.iter().for_each(|change| tracing::info!(%change, "reloaded")),
        Err(problem) => {
            tracing::error!(problem, "something changed, but everything goes on as it was");
        }
    }
}

/// The files that matter. The configuration is read for them as it is now, even where it is not one
/// that could be in force.
pub fn look(config: &LoadedConfig) -> Seen {
    let path = &config.document.path;
    let mut files = vec![path.clone()];
    if let Ok(document) = config::read(path) {
        files.extend(config::referenced_files(&document));
    }
    let libraries = libraries_in(&config.plugins_dir()).unwrap_or_default();
    match config.config.plugins.verify {
        Policy::Off => {}
        Policy::Checksum => files.push(config.resolve(&config.config.plugins.lock)),
        Policy::Signature => files.extend(libraries.iter().map(|library| signature_of(library))),
    }
    files.extend(libraries);
    let stamped = |file: PathBuf| {
        let stamp = Stamp::of(&file);
        (file, stamp)
    };
    Seen(files.into_iter().map(stamped).collect())
}

/// A watcher whose notices wake the thread. Where there is none, the thread looks by itself.
fn notices_to(notices: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let notice = move |event: notify::Result<notify::Event>| {
        // That somebody reads is no news: the thread itself does.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            // Nobody listens any more when the host is gone.
            let _ = notices.send(());
        }
    };
    match notify::recommended_watcher(notice) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, every = ?LOOK, "no notices of changed files: looking by itself");
            None
        }
    }
}

/// Asks for notices, again and again: a file that was replaced is another one. The folder of the
/// configuration itself is left alone, as the store may write there all the time.
fn listen(watcher: Option<&mut RecommendedWatcher>, config: &LoadedConfig) {
    let Some(watcher) = watcher else { return };
    let folder = config.plugins_dir();
    for path in [&*folder, &*config.document.path] {
        let path: &Path = path;
        let _ = watcher.unwatch(path);
        if let Err(error) = watcher.watch(path, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, path = %path.display(), "no notices of this");
        }
    }
}

/// Waits for a notice, and a moment for those that come with it.
fn wait(noticed: &Receiver<()>, patience: Duration) {
    if noticed.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected) {
        // There is no watcher.
        thread::sleep(patience);
    }
    let until = Instant::now() + Duration::from_millis(20);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if noticed.recv_timeout(left).is_err() {
            break;
        }
    }
}
