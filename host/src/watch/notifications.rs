//! The file system's notifications of changed files: they wake who waits.
//!
//! It does not know what became of a file: a notice may be lost or superfluous.

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

/// Between a notice and the next look: a moment for those that come with it, and so much of the
/// processor for everybody else where they never end.
const PAUSE: Duration = Duration::from_millis(50);

/// Notifications of the files that were asked for.
pub(super) struct Notifications {
    /// None where the system gives none.
    watcher: Option<RecommendedWatcher>,
    noticed: Receiver<()>,
    names: Names,
    listened: Vec<PathBuf>,
}

/// The names of the files that matter.
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

    /// Asks for notifications of what was seen, each time anew: under the same name, even with the same
    /// inode, may be another file by now. Whoever looks after it sees what it came too late for.
    pub(super) fn listen(&mut self, seen: &Snapshot) {
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = seen.names();
        let Some(mut watcher) = self.watcher.take() else { return };
        let listened = &mut self.listened;
        let listen = AssertUnwindSafe(|| {
            for path in listened.drain(..) {
                // What is gone is not listened to any more.
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
        // The library panics if its thread is gone, and would once more as its watcher is dropped,
        // which would end the process.
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

    /// Waits for a notice, but no longer than it has `patience`. Whether one came.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        if self.watcher.is_none() {
            thread::sleep(patience);
            return false;
        }
        let has_come = self.noticed.recv_timeout(patience).is_ok();
        if has_come {
            thread::sleep(PAUSE);
            // The next look sees what this one was of.
            let _ = self.noticed.try_recv();
        }
        has_come
    }
}

/// Checks that the system gives a thread. The library does not say if it was given none.
fn a_thread() -> std::io::Result<()> {
    let thread = thread::Builder::new().spawn(|| ())?;
    // It has nothing to panic with.
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
        // Where one waits to be heard, there is no need for another.
        let _ = notifications.try_send(());
    })
}

/// Whether it may be about a file that matters, and not about others beside it.
fn matters(event: &Event, names: &BTreeSet<OsString>) -> bool {
    match event.kind {
        // That somebody reads is no news: the host itself does.
        EventKind::Access(_) => false,
        // Whatever the name: a symlink may lead through it.
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

    /// Longer than any notice takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A configuration with a folder of plugins, as it is seen.
    fn place() -> (tempfile::TempDir, LoadedConfig) {
        let place = tempfile::tempdir().expect("a folder");
        fs::create_dir(place.path().join("plugins")).expect("made");
        let path = place.path().join("tocsin.toml");
        fs::write(&path, "").expect("written");
        (place, LoadedConfig::read(&path).expect("it is good"))
    }

    #[test]
    fn what_is_replaced_or_made_again_is_listened_to_anew() {
        let (place, config) = place();
        let plugins = place.path().join("plugins");
        let mut notifications = Notifications::new();
        for _ in 0..3 {
            notifications.listen(&super::super::look(&config));
            fs::write(place.path().join("new"), "").expect("written");
            fs::rename(place.path().join("new"), &config.document.path).expect("renamed");
            assert!(notifications.wait(PATIENCE), "it is noticed");
            notifications.listen(&super::super::look(&config));
            fs::write(plugins.join("x.so"), "").expect("written");
            assert!(notifications.wait(PATIENCE), "it is noticed");
            fs::remove_dir_all(&plugins).expect("it is there");
            assert!(notifications.wait(PATIENCE), "it is noticed");
            fs::create_dir(&plugins).expect("made");
        }
    }

    #[test]
    fn other_files_beside_those_that_matter_wake_nobody() {
        let (place, config) = place();
        let plugins = place.path().join("plugins");
        let mut notifications = Notifications::new();
        notifications.listen(&super::super::look(&config));
        for round in 0..100 {
            fs::write(plugins.join(format!("noise-{}", round % 7)), "noise").expect("written");
            fs::write(place.path().join("tocsin.db-wal"), "noise").expect("written");
        }
        assert_eq!(notifications.noticed.try_recv(), Err(TryRecvError::Empty));
        // Notifications come in the order of events: this one is the first.
        fs::write(plugins.join("x.so"), "").expect("written");
        assert!(notifications.wait(PATIENCE), "it is noticed");
    }

    #[test]
    fn however_many_notices_there_are_there_is_a_pause_between_two_looks() {
        let (notifications, noticed) = mpsc::sync_channel(1);
        let names = Names::default();
        let watcher = watcher_that_wakes(mpsc::sync_channel(1).0, Arc::clone(&names)).ok();
        let waiting = Notifications { watcher, noticed, names, listened: Vec::new() };
        let noise = thread::spawn(move || while notifications.send(()).is_ok() {});
        let began = Instant::now();
        for _ in 0..5 {
            assert!(waiting.wait(PATIENCE));
        }
        assert!(began.elapsed() >= 5 * PAUSE);
        drop(waiting);
        noise.join().expect("no panic");
    }

    #[test]
    fn what_an_event_is_of_tells_whether_it_matters() {
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
        // As a projected volume is swapped.
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert!(matters(renamed, "/x/plugins/..data"));
        let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(super::matters(&lost, &names));
    }
}
