//! The plugins folder: finds the files in it, admits plugins, and loads them.
//!
//! A file becomes a plugin in three steps. Each is a type that only the step before gives:
//! [`DroppedFile`](dropped_file::DroppedFile) -> [`AdmittedPlugin`] -> [`LoadedPlugin`]. Until the last
//! step, no byte of the file is run.

pub mod admission;
pub mod dropped_file;
pub mod folder;
pub mod inspection;
pub mod journal;
pub mod library;
pub mod reference;
pub mod refusal;
pub(crate) mod schema;
pub mod validation;
pub mod verification;

use std::{
    cmp::Reverse,
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use semver::VersionReq;
use tocsin_plugin_api::manifest::Manifest;

use self::{
    admission::AdmittedPlugin,
    journal::LoadJournal,
    library::{LoadError, LoadedPlugin, Loader, Probe},
    refusal::AdmissionRefusal,
    verification::{Verifier, VerifierError},
};
use crate::{
    problem::{Problem, known_names},
    system::file_stamp::Stamp,
};

/// The contents of the plugins folder at one moment, in the order of file names, as [`Catalog::read`]
/// found them.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Every `.so` of the folder.
    pub files: Vec<CatalogFile>,
    /// The number of readings of the folder so far, with this one.
    pub reading: u64,
}

/// A file of the plugins folder.
#[derive(Clone, Debug)]
pub struct CatalogFile {
    /// The name without the folder.
    pub file_name: String,
    /// The plugin in the file, or why the file is refused.
    pub admission: Result<Arc<AdmittedPlugin>, AdmissionRefusal>,
    /// The time of the first reading that found the file as it is.
    pub since: Timestamp,
    /// The number of the first reading that found the file as it is.
    pub arrived: u64,
    path: PathBuf,
    stamp: Option<Stamp>,
    /// The plugin in the file, even if it is refused by now: permissions or trust settings may have
    /// changed since.
    known_plugin: Option<Arc<AdmittedPlugin>>,
}

impl CatalogFile {
    /// Returns the [`Manifest`] of the file, if it could be read.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.admission {
            Ok(plugin) => Some(&plugin.manifest),
            Err(refusal) => refusal.manifest.as_deref(),
        }
    }

    fn admitted(&self) -> Option<&Arc<AdmittedPlugin>> {
        self.admission.as_ref().ok()
    }

    fn read(path: PathBuf, verifier: &Verifier, reading: u64, earlier: Option<&Self>) -> Self {
        let (stamp, since) = (Stamp::of(&path), Timestamp::now());
        // A plugin that is refused for its permissions or by the trust settings is not read again
        // either.
        let known = earlier.and_then(|earlier| earlier.known_plugin.as_ref());
        let admission =
            known.map_or_else(|| verifier.admit(&path), |known| verifier.admit_again(known));
        let admission = admission.map(Arc::new);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let known_plugin = admission.as_ref().ok().cloned();
        let new = Self { file_name, admission, since, arrived: reading, path, stamp, known_plugin };
        match earlier.filter(|known| known.is_same_drop(&new)) {
            Some(known) => Self {
                since: known.since,
                arrived: known.arrived,
                known_plugin: new.known_plugin.or_else(|| known.known_plugin.clone()),
                ..new
            },
            None => new,
        }
    }

    /// Returns whether both readings found the same file, however it was judged.
    fn is_same_drop(&self, later: &Self) -> bool {
        let is_same_file = self.stamp.zip(later.stamp).is_some_and(|(a, b)| a.is_same_file(&b));
        let hashes = self.known_plugin.as_ref().zip(later.known_plugin.as_ref());
        is_same_file && hashes.is_none_or(|(one, other)| one.sha256 == other.sha256)
    }
}

/// An [`AdmittedPlugin`] that an integration could use.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'c> {
    /// The admitted plugin.
    pub plugin: &'c Arc<AdmittedPlugin>,
    /// The file of the plugin.
    pub file: &'c CatalogFile,
}

impl Catalog {
    /// Reads, checks and verifies every `.so` of a folder. Files that are as they were in an `earlier`
    /// reading are not read again, but verified under the present trust settings of the [`Verifier`].
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed. A file that cannot be read, is no plugin or is not trusted is
    /// refused by itself.
    pub fn read(folder: &Path, verifier: &Verifier, earlier: &Self) -> Result<Self, VerifierError> {
        let known: HashMap<_, _> = earlier.files.iter().map(|file| (&*file.path, file)).collect();
        let reading = earlier.reading + 1;
        let paths = libraries_in(folder)
            .map_err(|error| VerifierError::unreadable_folder(folder, &error))?;
        let files = paths.into_iter().map(|path| {
            let earlier = known.get(&*path).copied();
            CatalogFile::read(path, verifier, reading, earlier)
        });
        let mut catalog = Self { files: files.collect(), reading };
        catalog.refuse_clashes();
        Ok(catalog)
    }

    /// Returns the admitted plugins with a name whose version matches, highest first.
    pub fn candidates(&self, name: &str, version: &VersionReq) -> Vec<Candidate<'_>> {
        let mut candidates = self.versions(name);
        candidates.retain(|candidate| version.matches(&candidate.plugin.version));
        candidates
    }

    /// Returns the admitted plugins with a name, highest version first.
    pub fn versions(&self, name: &str) -> Vec<Candidate<'_>> {
        let mut versions: Vec<_> = self.named(name).collect();
        versions.sort_by_key(|candidate| Reverse(&candidate.plugin.version));
        versions
    }

    /// Returns the file that holds exactly this plugin, even if the file is refused by now.
    pub fn file_of(&self, plugin: &AdmittedPlugin) -> Option<&CatalogFile> {
        let is_it = |held: &Arc<AdmittedPlugin>| held.sha256 == plugin.sha256;
        let mut files: Vec<_> = self
            .files
            .iter()
            .filter(|file| file.known_plugin.as_ref().is_some_and(is_it))
            .collect();
        // Of several copies, all but one are refused.
        files.sort_by_key(|file| file.admission.is_err());
        files.first().copied()
    }

    /// Explains why [`candidates`](Self::candidates) are missing. The code of the problem is
    /// [`PLUGIN_REFUSED`], [`PLUGIN_MISSING`] or [`VERSION_MISSING`].
    pub fn why_missing(&self, name: &str, version: &VersionReq) -> Problem {
        let refused =
            self.files.iter().filter_map(|file| Some((file, file.admission.as_ref().err()?)));
        let refused: Vec<_> = refused
            .filter(|(file, _)| file.manifest().is_none_or(|manifest| manifest.name == name))
            .collect();
        let mut versions: Vec<_> =
            self.named(name).map(|candidate| candidate.plugin.version.to_string()).collect();
        if !refused.is_empty() {
            let (files, mut hint) = match refused.as_slice() {
                [(file, AdmissionRefusal { problem, .. })] => {
                    (format!("`{}` {}", file.file_name, problem.message), problem.hint.clone())
                }
                several => {
                    let line = |(file, refusal): &(&CatalogFile, &AdmissionRefusal)| {
                        format!("`{}` {refusal}", file.file_name)
                    };
                    (several.iter().map(line).collect::<Vec<_>>().join("; "), None)
                }
            };
            hint = hint.map(|hint| format!("{hint}; hint: "));
            let hint = hint.unwrap_or_default()
                + "`tocsin plugins` shows every file and what is wrong with it";
            let message = format!("no usable plugin named `{name}`: {files}");
            return Problem::new(PLUGIN_REFUSED, message).with_hint(hint);
        }
        if versions.is_empty() {
            let mut names: Vec<_> =
                self.admitted().map(|one| one.plugin.manifest.name.as_str()).collect();
            names.dedup();
            let hint = match names.as_slice() {
                [] => "the plugins folder is empty: drop the plugin's `.so` in".into(),
                names => known_names(name, "the plugins folder has", names),
            };
            let message = format!("no plugin is named `{name}`");
            return Problem::new(PLUGIN_MISSING, message).with_hint(hint);
        }
        versions.sort();
        let message = format!("no version of plugin `{name}` matches `{version}`");
        Problem::new(VERSION_MISSING, message)
            .with_hint(format!("the plugins folder has {}", versions.join(", ")))
    }

    fn named(&self, name: &str) -> impl Iterator<Item = Candidate<'_>> {
        self.admitted().filter(move |candidate| candidate.plugin.manifest.name == name)
    }

    fn admitted(&self) -> impl Iterator<Item = Candidate<'_>> {
        let admitted = |file| {
            let plugin = CatalogFile::admitted(file)?;
            Some(Candidate { plugin, file })
        };
        self.files.iter().filter_map(admitted)
    }

    /// Refuses files that claim to be the same version of the same plugin: all copies but one, and all
    /// files if their contents differ.
    fn refuse_clashes(&mut self) {
        let mut claims: HashMap<_, Vec<(usize, String)>> = HashMap::new();
        for (at, file) in self.files.iter().enumerate() {
            if let Ok(plugin) = &file.admission {
                claims.entry(plugin.id.clone()).or_default().push((at, plugin.sha256.clone()));
            }
        }
        for (id, files) in claims.into_iter().filter(|(_, files)| files.len() > 1) {
            let names: Vec<_> =
                files.iter().map(|(at, _)| self.files[*at].file_name.clone()).collect();
            let are_copies = files.iter().all(|(_, sha256)| *sha256 == files[0].1);
            for (position, (at, _)) in files.iter().enumerate().skip(usize::from(are_copies)) {
                let file = &mut self.files[*at];
                let refusal = if are_copies {
                    AdmissionRefusal::new(
                        format!("is a copy of `{}`", names[0]),
                        "remove one of them",
                    )
                } else {
                    let mut others = names.clone();
                    others.remove(position);
                    let others = others.join("`, `");
                    AdmissionRefusal::new(
                        format!("is {id}, and so is `{others}`, with other contents"),
                        "remove all but one of them, or give them different versions",
                    )
                };
                file.admission = Err(refusal.of(file.manifest().cloned()));
            }
        }
    }
}

/// Lists the files of a folder that are named like libraries, in the order of their names.
///
/// # Errors
///
/// If the folder cannot be listed.
pub fn libraries_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "so"));
    paths.sort();
    Ok(paths)
}

/// Code of the [`Problem`] that a file which may be the plugin was refused: the plugin has to be
/// corrected.
pub const PLUGIN_REFUSED: &str = "plugin-refused";
/// Code of the [`Problem`] that the folder has no plugin of a name: the configuration has to be
/// corrected.
pub const PLUGIN_MISSING: &str = "plugin-missing";
/// Code of the [`Problem`] that no version of a plugin matches: the configuration has to be corrected.
pub const VERSION_MISSING: &str = "version-missing";

/// The plugin libraries of this process, by the hash of their bytes. Libraries are never unloaded.
#[derive(Debug)]
pub struct Libraries {
    /// Read without waiting while another thread loads.
    known: ArcSwap<HashMap<String, LoadResult>>,
    /// Held while a plugin is loaded.
    loader: Mutex<Loader>,
    journal: LoadJournal,
}

/// The result of loading a plugin.
type LoadResult = Result<Arc<LoadedPlugin>, LoadError>;

impl Libraries {
    /// Creates an empty set of libraries. The [`LoadJournal`] sets aside plugins in whose load a host
    /// died. The [`Probe`], if there is one, tries every plugin before its first load. Threads that a
    /// plugin keeps while it is loaded count in the gauge.
    pub fn new(journal: LoadJournal, stuck_threads: Gauge, probe: Option<Box<dyn Probe>>) -> Self {
        let loader = Mutex::new(Loader::new(journal.clone(), stuck_threads, probe));
        Self { known: ArcSwap::default(), loader, journal }
    }

    /// Loads a plugin, or returns the [`LoadedPlugin`] that was loaded from the same bytes before.
    ///
    /// # Errors
    ///
    /// If the plugin cannot be loaded, an earlier host died while loading it, the probe found it
    /// harmful, or it did not load within the timeout. It is not tried again before
    /// [`retry`](Self::retry), unless the failure is transient: the bytes are the same, and each load
    /// that hangs keeps another thread.
    pub fn load(&self, plugin: &Arc<AdmittedPlugin>, timeout: Duration) -> LoadResult {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.known(plugin) {
            return known;
        }
        let result = loader.load(plugin, timeout).map(Arc::new);
        if !matches!(result, Err(LoadError { is_transient: true, .. })) {
            self.known.rcu(|known| {
                let mut known = HashMap::clone(known);
                known.insert(plugin.sha256.clone(), result.clone());
                known
            });
        }
        result
    }

    /// Returns the result of loading a plugin, if it was tried. Never waits.
    pub fn known(&self, plugin: &AdmittedPlugin) -> Option<LoadResult> {
        if let Some(attempt) = self.journal.set_aside(&plugin.sha256) {
            return Some(Err(LoadError::set_aside(plugin, &attempt)));
        }
        self.known.load().get(&plugin.sha256).cloned()
    }

    /// Forgets the failures of all plugins with a name, so that the next load tries them again. Returns
    /// false if there were none.
    ///
    /// # Errors
    ///
    /// If that cannot be written to the journal.
    pub fn retry(&self, name: &str) -> anyhow::Result<bool> {
        let was_set_aside = !self.journal.retry(name)?.is_empty();
        let is_tried_again =
            |result: &LoadResult| result.as_ref().is_err_and(|error| error.plugin().name == name);
        let before = self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.retain(|_, result| !is_tried_again(result));
            known
        });
        Ok(was_set_aside || before.values().any(is_tried_again))
    }

    /// Notes that the host stops in an orderly way. The next host sets aside plugins whose load has not
    /// returned by now.
    pub fn close(&self) {
        self.journal.close();
    }
}
