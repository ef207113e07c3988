//! Notifications of the file system, which wake the watcher.
//!
//! A notification may be lost or superfluous, and does not tell what happened to a file.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::ModifyKind};

use super::Snapshot;

/// Pause between a notification and the next snapshot, so that notifications that come together cause
/// one snapshot, and an endless series of them does not take the whole processor.
const PAUSE: Duration = Duration::from_millis(50);

/// Notifications of the files and folders in a [`Snapshot`].
pub(super) struct Notifications {
    /// `None` if the system gives no notifications.
    watcher: Option<RecommendedWatcher>,
    noticed: Receiver<()>,
    names: Names,
    listened: Vec<PathBuf>,
}

/// Names of the files in a [`Snapshot`].
type Names = Arc<Mutex<BTreeSet<OsString>>>;

impl Notifications {
    pub(super) fn new() -> Self {
        let (notifications, noticed) = mpsc::sync_channel(1);
        let names = Names::default();
        let watcher = a_thread().map_err(notify::Error::io);
        let watcher = watcher.and_then(|()| watcher_that_wakes(notifications, Arc::clone(&names)));
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(
                event = "file_watching_unavailable",
                %error,
                "no notifications of changed files: polling instead",
            );
        });
        Self { watcher: watcher.ok(), noticed, names, listened: Vec::new() }
    }

    /// Asks for notifications of all files in a snapshot, again each time, since another file may have
    /// taken a name, or even an inode. A snapshot that is taken afterwards shows changes from before
    /// this call.
    pub(super) fn listen(&mut self, seen: &Snapshot) {
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = seen.names();
        let Some(mut watcher) = self.watcher.take() else { return };
        let listened = &mut self.listened;
        let listen = AssertUnwindSafe(|| {
            for path in listened.drain(..) {
                // Fails if the file was removed, which ends its notifications as well.
                let _ = watcher.unwatch(&path);
            }
            for path in seen.to_listen_to() {
                match watcher.watch(path, RecursiveMode::NonRecursive) {
                    Ok(()) => listened.push(path.to_owned()),
                    Err(error) => {
                        tracing::debug!(%error, path = %path.display(), "no notifications of this");
                    }
                }
            }
        });
        // The library panics if its thread has ended. A second panic, when its watcher is dropped,
        // would end the process.
        match catch_unwind(listen) {
            Ok(()) => self.watcher = Some(watcher),
            Err(_) => {
                std::mem::forget(watcher);
                tracing::warn!(
                    event = "file_watching_lost",
                    "no notifications of changed files any more: polling instead",
                );
            }
        }
    }

    /// Waits for a notification until the timeout, and returns true if there was one.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        if self.watcher.is_none() {
            thread::sleep(timeout);
            return false;
        }
        let has_come = self.noticed.recv_timeout(timeout).is_ok();
        if has_come {
            thread::sleep(PAUSE);
            // The next snapshot covers notifications that came during the pause.
            let _ = self.noticed.try_recv();
        }
        has_come
    }
}

/// Checks that the system has a thread left. The library does not report if it got none.
fn a_thread() -> std::io::Result<()> {
    let thread = thread::Builder::new().spawn(|| ())?;
    // An empty closure cannot panic.
    let _ = thread.join();
    Ok(())
}

fn watcher_that_wakes(
    notifications: SyncSender<()>,
    names: Names,
) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        let names = names.lock().unwrap_or_else(PoisonError::into_inner);
        if event.is_ok_and(|event| !matters(&event, &names)) {
            return;
        }
        // If one notification waits already, a second one is not needed.
        let _ = notifications.try_send(());
    })
}

/// Returns true if an event may be about a file that matters, and not about another file in its folder.
fn matters(event: &Event, names: &BTreeSet<OsString>) -> bool {
    match event.kind {
        // Reads change nothing; the host itself reads these files.
        EventKind::Access(_) => false,
        // Any rename counts: a symlink may lead through the name.
        EventKind::Modify(ModifyKind::Name(_)) => true,
        _ => {
            event.need_rescan()
                || event.paths.is_empty()
                || event.paths.iter().any(|path| is_named(path, names))
        }
    }
}

fn is_named(path: &Path, names: &BTreeSet<OsString>) -> bool {
    path.file_name().is_none_or(|name| names.contains(name))
        || path.extension().is_some_and(|extension| extension == "so" || extension == "minisig")
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc::TryRecvError, time::Instant};

    use notify::event::{AccessKind, CreateKind, DataChange, RemoveKind, RenameMode};

    use super::*;
    use crate::config::LoadedConfig;

    /// Longer than any notification takes.
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Creates a configuration with a plugins folder.
    fn place() -> (tempfile::TempDir, LoadedConfig) {
        let place = tempfile::tempdir().expect("a folder");
        fs::create_dir(place.path().join("plugins")).expect("made");
        let path = place.path().join("tocsin.toml");
        fs::write(&path, "").expect("written");
        (place, LoadedConfig::read(&path).expect("it is good"))
    }

    #[test]
    fn notices_changes_of_files_and_folders_that_were_replaced() {
        let (place, config) = place();
        let plugins = place.path().join("plugins");
        let mut notifications = Notifications::new();
        for _ in 0..3 {
            notifications.listen(&super::super::look(&config));
            fs::write(place.path().join("new"), "").expect("written");
            fs::rename(place.path().join("new"), &config.document.path).expect("renamed");
            assert!(notifications.wait(TIMEOUT), "it is noticed");
            notifications.listen(&super::super::look(&config));
            fs::write(plugins.join("x.so"), "").expect("written");
            assert!(notifications.wait(TIMEOUT), "it is noticed");
            fs::remove_dir_all(&plugins).expect("it is there");
            assert!(notifications.wait(TIMEOUT), "it is noticed");
            fs::create_dir(&plugins).expect("made");
        }
    }

    #[test]
    fn other_files_in_the_same_folder_do_not_wake_the_watcher() {
        let (place, config) = place();
        let plugins = place.path().join("plugins");
        let mut notifications = Notifications::new();
        notifications.listen(&super::super::look(&config));
        for round in 0..100 {
            fs::write(plugins.join(format!("noise-{}", round % 7)), "noise").expect("written");
            fs::write(place.path().join("tocsin.db-wal"), "noise").expect("written");
        }
        assert_eq!(notifications.noticed.try_recv(), Err(TryRecvError::Empty));
        // Notifications come in the order of events, so this one is the first.
        fs::write(plugins.join("x.so"), "").expect("written");
        assert!(notifications.wait(TIMEOUT), "it is noticed");
    }

    #[test]
    fn pauses_between_two_snapshots_however_many_notifications_come() {
        let (notifications, noticed) = mpsc::sync_channel(1);
        let names = Names::default();
        let watcher = watcher_that_wakes(mpsc::sync_channel(1).0, Arc::clone(&names)).ok();
        let waiting = Notifications { watcher, noticed, names, listened: Vec::new() };
        let noise = thread::spawn(move || while notifications.send(()).is_ok() {});
        let began = Instant::now();
        for _ in 0..5 {
            assert!(waiting.wait(TIMEOUT));
        }
        assert!(began.elapsed() >= 5 * PAUSE);
        drop(waiting);
        noise.join().expect("no panic");
    }

    #[test]
    fn tells_events_that_matter_from_others() {
        let names = BTreeSet::from(["tocsin.toml".into(), "plugins".into(), "plugins.lock".into()]);
        let matters =
            |kind, path: &str| super::matters(&Event::new(kind).add_path(path.into()), &names);
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for path in
            ["/x/tocsin.toml", "/x/plugins", "/x/plugins/a.so", "/x/plugins/a.so.minisig", "/"]
        {
            assert!(matters(written, path), "{path}");
            assert!(!matters(EventKind::Access(AccessKind::Read), path), "{path}");
        }
        for kind in
            [written, EventKind::Create(CreateKind::File), EventKind::Remove(RemoveKind::File)]
        {
            for path in ["/x/plugins/notes.txt", "/x/plugins/a.so.new", "/x/plugins/.a.so.swp"] {
                assert!(!matters(kind, path), "{kind:?} {path}");
            }
        }
        // Kubernetes swaps a projected volume with such a rename.
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert!(matters(renamed, "/x/plugins/..data"));
        let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(super::matters(&lost, &names));
    }
}
