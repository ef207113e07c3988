//! Load journal: remembers the plugins that were being loaded when a host died. A line is written
//! before a plugin's code runs for the first time, and removed when the code has returned.
//!
//! A journal that cannot be read or written does not keep a host from starting: the log says so, and
//! plugins are loaded without it.

use std::{
    fs::{File, TryLockError},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::admission::AdmittedPlugin;
use crate::{problem::on_one_line, system::private_file};

/// Larger files were not written by a host.
const LARGEST_BYTES: u64 = 1024 * 1024;

/// The loads during which a host died. Clones share one journal; the default journal is not on disk.
#[derive(Clone, Debug, Default)]
pub struct LoadJournal(Arc<Journal>);

/// A load that was [begun](LoadJournal::begin), as a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Attempt {
    /// The hash of the plugin's bytes, in hex.
    pub sha256: String,
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The plugin's file name.
    pub file: String,
    /// The time at which the load was begun.
    pub at: Timestamp,
    /// True if the host stopped in an orderly way before the load returned.
    #[serde(default)]
    pub has_hung: bool,
    /// True if a later host found the line, so that the load is not one that is under way.
    #[serde(default)]
    is_set_aside: bool,
}

/// Guard of a load that is under way, see [`LoadJournal::begin`]. Dropping it means that the host has
/// survived the load.
#[derive(Debug)]
#[must_use = "a load is survived when this is dropped"]
pub struct LoadGuard {
    journal: LoadJournal,
    sha256: String,
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        let (mut lines, set_aside) = (self.journal.lines(), self.journal.0.set_aside.load());
        lines.survived(&self.sha256, &set_aside);
    }
}

impl LoadJournal {
    /// Opens the journal of a host, which locks it as long as it runs. Every line found is of a load in
    /// which an earlier host died.
    pub fn open(path: &Path) -> Self {
        let journal = Self::hold(path).unwrap_or_else(|error| {
            let error = on_one_line(&format!("{error:#}"));
            tracing::warn!(
                event = "load_journal_unavailable",
                error,
                "a crash while a plugin is loaded will not be recorded",
            );
            Self::peek(path)
        });
        for Attempt { sha256, name, version, file, at, has_hung, .. } in
            &**journal.0.set_aside.load()
        {
            let plugin = format_args!("{name} {version}");
            if *has_hung {
                tracing::error!(
                    event = "plugin_load_hung",
                    %plugin,
                    file,
                    sha256,
                    %at,
                    "a plugin did not finish loading, and is set aside",
                );
            } else {
                tracing::error!(
                    event = "plugin_load_crashed",
                    %plugin,
                    file,
                    sha256,
                    %at,
                    "the host died while it loaded a plugin, which is set aside",
                );
            }
        }
        journal
    }

    /// Opens the journal to change it, and locks it. [`peek`](Self::peek) reads it without a lock.
    ///
    /// # Errors
    ///
    /// If the journal cannot be written, or a host holds it.
    pub fn hold(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot use the load journal `{}`", path.display());
        if let Some(folder) = path.parent() {
            private_file::create_folder(folder).with_context(context)?;
        }
        let file = private_file::open(path).with_context(context)?;
        if !lock(&file).with_context(context)? {
            bail!(
                "the load journal `{}` is held by a running host\n\
                 hint: stop that host, or name its admin API",
                path.display()
            );
        }
        let (mut set_aside, is_valid) = read(&file).with_context(context)?;
        let is_marked = set_aside.iter().all(|attempt| attempt.is_set_aside);
        set_aside.iter_mut().for_each(|attempt| attempt.is_set_aside = true);
        let lines = Lines { file: Some(file), under_way: Vec::new() };
        if !is_valid {
            let path = path.display();
            tracing::warn!(
                event = "load_journal_damaged",
                "the load journal `{path}` has invalid lines, which are ignored",
            );
        }
        if !(is_valid && is_marked) {
            lines.write(&set_aside).with_context(context)?;
        }
        Ok(Self::of(lines, set_aside))
    }

    /// Reads the journal without writing to it. A missing journal is empty.
    pub fn peek(path: &Path) -> Self {
        let Ok(file) = File::open(path) else { return Self::default() };
        // The journal of a running host has lines of loads that are under way.
        let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let mut set_aside = read(&file).map(|(attempts, _)| attempts).unwrap_or_default();
        set_aside.retain(|attempt| attempt.is_set_aside || !is_held);
        Self::of(Lines::default(), set_aside)
    }

    fn of(lines: Lines, set_aside: Vec<Attempt>) -> Self {
        let set_aside = ArcSwap::from_pointee(set_aside);
        Self(Arc::new(Journal { lines: Mutex::new(lines), set_aside }))
    }

    /// Returns the [`Attempt`] to load these bytes that a host did not survive. Never waits for the
    /// disk.
    pub fn set_aside(&self, sha256: &str) -> Option<Attempt> {
        let set_aside = self.0.set_aside.load();
        set_aside.iter().find(|attempt| attempt.sha256 == sha256).cloned()
    }

    /// Notes that the plugin's code is about to run for the first time, until the [`LoadGuard`] is
    /// dropped.
    pub fn begin(&self, plugin: &AdmittedPlugin) -> LoadGuard {
        let file = plugin.path.file_name().unwrap_or_default();
        let attempt = Attempt {
            sha256: plugin.sha256.clone(),
            name: plugin.id.name.clone(),
            version: plugin.id.version.clone(),
            file: file.to_string_lossy().into_owned(),
            at: Timestamp::now(),
            has_hung: false,
            is_set_aside: false,
        };
        self.lines().begin(attempt, &self.0.set_aside.load());
        LoadGuard { journal: self.clone(), sha256: plugin.sha256.clone() }
    }

    /// Forgets the loads of all plugins with a name, and returns them.
    ///
    /// # Errors
    ///
    /// If that cannot be written; then nothing is forgotten.
    pub fn retry(&self, name: &str) -> anyhow::Result<Vec<Attempt>> {
        // The lock is held meanwhile: each write replaces all lines.
        let lines = self.lines();
        let mut set_aside = self.0.set_aside.load().to_vec();
        let retried = set_aside.extract_if(.., |attempt| attempt.name == name).collect();
        lines.write(&set_aside).context("cannot write the load journal")?;
        self.0.set_aside.store(Arc::new(set_aside));
        Ok(retried)
    }

    /// Notes that the host stops in an orderly way. Loads that have not returned by now hang, and stay
    /// in the journal.
    pub fn close(&self) {
        let mut lines = self.lines();
        lines.under_way.iter_mut().for_each(|attempt| attempt.has_hung = true);
        for Attempt { name, version, file, at, .. } in &lines.under_way {
            let plugin = format_args!("{name} {version}");
            tracing::error!(
                event = "plugin_load_unfinished",
                %plugin,
                file,
                %at,
                "a plugin has not finished loading, and will be set aside",
            );
        }
        if let Err(error) = lines.write(&self.0.set_aside.load()) {
            tracing::warn!(
                event = "load_journal_write_failed",
                %error,
                "cannot write the load journal",
            );
        }
        lines.file = None;
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Journal {
    /// Held while the journal is written, which takes as long as the disk does.
    lines: Mutex<Lines>,
    /// Changed only while `lines` is locked.
    set_aside: ArcSwap<Vec<Attempt>>,
}

#[derive(Debug, Default)]
struct Lines {
    /// The locked file; none if nothing is written.
    file: Option<File>,
    under_way: Vec<Attempt>,
}

impl Lines {
    fn begin(&mut self, attempt: Attempt, set_aside: &[Attempt]) {
        self.under_way.push(attempt);
        if let Err(error) = self.write(set_aside) {
            tracing::warn!(
                event = "load_journal_write_failed",
                %error,
                "cannot write the load journal: a crash while a plugin is loaded will not be recorded",
            );
        }
    }

    fn survived(&mut self, sha256: &str, set_aside: &[Attempt]) {
        // Removes only one line: another integration may be starting the same plugin.
        if let Some(at) = self.under_way.iter().position(|attempt| attempt.sha256 == sha256) {
            self.under_way.remove(at);
        }
        if let Err(error) = self.write(set_aside) {
            tracing::warn!(
                event = "load_journal_write_failed",
                %error,
                "cannot write the load journal: the next start may set aside a plugin that did \
                 not fail",
            );
        }
    }

    /// Writes all lines in place, because the lock belongs to this very file. A host that dies meanwhile
    /// may leave a part of a line, which is ignored.
    fn write(&self, set_aside: &[Attempt]) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut lines = Vec::new();
        for attempt in set_aside.iter().chain(&self.under_way) {
            serde_json::to_writer(&mut lines, attempt)?;
            lines.push(b'\n');
        }
        file.write_all_at(&lines, 0)?;
        file.set_len(lines.len() as u64)?;
        // A plugin may crash the machine, too; removed lines must not reappear then.
        file.sync_data()
    }
}

/// Locks the file. Returns false if a host holds the lock; readers release it at once.
fn lock(file: &File) -> io::Result<bool> {
    for _ in 0..50 {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Reads the valid lines, one for each hash, and returns whether all lines were valid.
fn read(file: &File) -> io::Result<(Vec<Attempt>, bool)> {
    let mut bytes = Vec::new();
    file.take(LARGEST_BYTES).read_to_end(&mut bytes)?;
    let (mut attempts, mut is_valid) = (Vec::<Attempt>::new(), true);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Attempt>(line) {
            Ok(attempt) if attempts.iter().all(|known| known.sha256 != attempt.sha256) => {
                attempts.push(attempt);
            }
            // The plugin was being started for several integrations.
            Ok(_) => {}
            Err(_) => is_valid = false,
        }
    }
    Ok((attempts, is_valid))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::PathBuf,
    };

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("tocsin.db.loading")
        }

        fn open(&self) -> LoadJournal {
            LoadJournal::open(&self.path())
        }

        /// Leaves the journal as a host does that dies while it loads these plugins.
        fn die_loading(&self, plugins: &[&AdmittedPlugin]) {
            let journal = self.open();
            for plugin in plugins {
                std::mem::forget(journal.begin(plugin));
            }
            // The journal is not closed: the lock ends with the file.
            journal.lines().file = None;
        }
    }

    fn plugin(name: &str, sha256: &str) -> AdmittedPlugin {
        AdmittedPlugin::pretended("plugins/libdemo.so".into(), name, sha256, None, None)
    }

    fn names(journal: &LoadJournal) -> Vec<String> {
        journal.0.set_aside.load().iter().map(|attempt| attempt.name.clone()).collect()
    }

    #[test]
    fn survived_loads_leave_no_line() {
        let place = Place::new();
        let journal = place.open();
        let (one, two) = (plugin("one", "aa"), plugin("two", "bb"));
        let first = journal.begin(&one);
        let (second, again) = (journal.begin(&two), journal.begin(&two));
        drop(first);
        let line = fs::read_to_string(place.path()).unwrap();
        assert_eq!(line.lines().count(), 2, "{line}");
        drop((second, again, journal));
        assert_eq!(fs::read(place.path()).unwrap(), b"");
        assert_eq!(names(&place.open()), [""; 0]);
    }

    #[test]
    fn plugins_of_a_fatal_load_are_set_aside_until_each_is_retried() {
        let place = Place::new();
        let (one, two) = (plugin("one", "aa"), plugin("two", "bb"));
        place.die_loading(&[&one, &two]);
        let journal = place.open();
        assert_eq!(names(&journal), ["one", "two"]);
        let attempt = journal.set_aside("aa").unwrap();
        assert_eq!((&*attempt.version, &*attempt.file), ("1.0.0", "libdemo.so"));
        assert_eq!(journal.set_aside("cc"), None, "other bytes are another plugin");
        // Other plugins can still be loaded, and the death of another host adds plugins.
        drop(journal.begin(&plugin("three", "cc")));
        drop(journal);
        place.die_loading(&[&plugin("four", "dd")]);
        let journal = place.open();
        assert_eq!(names(&journal), ["one", "two", "four"]);
        assert_eq!(journal.retry("two").unwrap().len(), 1);
        assert_eq!(journal.retry("two").unwrap().len(), 0);
        drop(journal);
        assert_eq!(names(&place.open()), ["one", "four"]);
    }

    #[test]
    fn a_load_that_has_not_returned_when_the_host_stops_is_set_aside() {
        let place = Place::new();
        place.die_loading(&[&plugin("one", "aa")]);
        let journal = place.open();
        let (hangs, again) = (plugin("two", "bb"), plugin("two", "bb"));
        let loading = [journal.begin(&hangs), journal.begin(&again)];
        drop(journal.begin(&plugin("three", "cc")));
        journal.close();
        // The loads return too late.
        drop(loading);
        drop(journal.begin(&plugin("four", "dd")));
        let journal = place.open();
        assert_eq!(names(&journal), ["one", "two"]);
        let has_hung = |sha256| journal.set_aside(sha256).map(|attempt| attempt.has_hung);
        assert_eq!((has_hung("aa"), has_hung("bb")), (Some(false), Some(true)));
    }

    #[test]
    fn reading_does_not_wait_for_a_slow_disk() {
        let place = Place::new();
        place.die_loading(&[&plugin("one", "aa")]);
        let journal = place.open();
        let writes = journal.lines();
        assert!(journal.set_aside("aa").is_some());
        drop(writes);
    }

    #[test]
    fn a_running_host_locks_its_journal_and_others_can_read_it() {
        let place = Place::new();
        assert_eq!(names(&LoadJournal::peek(&place.path())), [""; 0]);
        place.die_loading(&[&plugin("one", "aa")]);
        assert_eq!(names(&LoadJournal::peek(&place.path())), ["one"]);
        let journal = place.open();
        let loading = journal.begin(&plugin("two", "bb"));
        assert_eq!(names(&LoadJournal::peek(&place.path())), ["one"], "`two` is under way");
        let error = LoadJournal::hold(&place.path()).unwrap_err().to_string();
        assert!(error.contains("is held by a running host"), "{error}");
        drop((loading, journal));
        LoadJournal::hold(&place.path()).unwrap();
    }

    #[test]
    fn invalid_lines_are_ignored_and_removed() {
        let place = Place::new();
        place.die_loading(&[&plugin("one", "aa")]);
        let line = fs::read(place.path()).unwrap();
        let broken = [b"\0\xff{}\n\n{\"sha256\":3}\n", &line[..], &line[..], b"{\"sha2"].concat();
        fs::write(place.path(), broken).unwrap();
        let journal = place.open();
        assert_eq!(names(&journal), ["one"]);
        assert_eq!(fs::read_to_string(place.path()).unwrap().lines().count(), 1);
    }

    #[test]
    fn an_existing_journal_becomes_private() {
        let place = Place::new();
        fs::write(place.path(), "").unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o666)).unwrap();
        let mode = || fs::metadata(place.path()).unwrap().permissions().mode() & 0o777;
        drop(place.open());
        assert_eq!(mode(), 0o600);
        fs::remove_file(place.path()).unwrap();
        drop(place.open());
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn folders_that_the_journal_creates_are_private() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("var/tocsin");
        drop(LoadJournal::open(&folder.join("tocsin.db.loading")));
        for made in [folder.parent().unwrap(), &folder] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn does_not_write_through_a_symlink() {
        let place = Place::new();
        let target = place.0.path().join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, place.path()).unwrap();
        let journal = place.open();
        drop(journal.begin(&plugin("one", "aa")));
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert!(LoadJournal::hold(&place.path()).is_err());
    }

    #[test]
    fn plugins_are_loaded_without_a_journal_on_disk() {
        let place = Place::new();
        fs::create_dir(place.path()).unwrap();
        let journal = place.open();
        drop(journal.begin(&plugin("one", "aa")));
        assert_eq!(names(&journal), [""; 0]);
        assert_eq!(journal.retry("one").unwrap(), []);
    }
}
