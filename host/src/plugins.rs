//! The plugins folder: what lies in it, what of it is admitted, and what is loaded.
//!
//! A file becomes a plugin in three steps, each a type that only the step before gives:
//! [`DroppedFile`](admission::DroppedFile) -> [`AdmittedPlugin`] -> [`LoadedPlugin`]. Until the last,
//! no byte of it is run.

pub mod admission;
pub mod folder;
pub mod library;
pub mod verification;

use std::{
    cmp::Reverse,
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use semver::VersionReq;
use tocsin_plugin_api::manifest::Manifest;

use self::{
    admission::{AdmittedPlugin, Refusal},
    library::{LoadError, LoadedPlugin},
    verification::Verifier,
};

/// What lay in the plugins folder at one moment, in the order of file names.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Every `.so` of the folder.
    pub files: Vec<CatalogFile>,
}

/// A file of the plugins folder.
#[derive(Clone, Debug)]
pub struct CatalogFile {
    /// Its name, without the folder.
    pub file_name: String,
    /// What became of it.
    pub admission: Result<Arc<AdmittedPlugin>, Refusal>,
}

impl CatalogFile {
    /// What the file says of itself, if that could be read.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.admission {
            Ok(plugin) => Some(&plugin.manifest),
            Err(refusal) => refusal.manifest.as_ref(),
        }
    }
}

impl Catalog {
    /// Reads and checks every `.so` of a folder.
    ///
    /// # Errors
    ///
    /// Where the folder can't be listed. A file that can't be read, is no plugin or is not trusted is
    /// refused by itself.
    pub fn read(folder: &Path, verifier: &Verifier) -> io::Result<Self> {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "so"));
        paths.sort();
        let files = paths.into_iter().map(|path| {
            let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let admission = verifier.admit(&path).map(Arc::new);
            CatalogFile { file_name, admission }
        });
        let mut catalog = Self { files: files.collect() };
        catalog.refuse_clashes();
        Ok(catalog)
    }

    /// Admitted plugins of that name whose version matches, highest first.
    pub fn candidates<'c>(
        &'c self,
        name: &'c str,
        version: &VersionReq,
    ) -> Vec<&'c Arc<AdmittedPlugin>> {
        let mut candidates: Vec<_> = self.named(name).collect();
        candidates.retain(|plugin| version.matches(&plugin.version));
        candidates.sort_by_key(|plugin| Reverse(&plugin.version));
        candidates
    }

    /// Why there is no candidate, and what to do about it.
    pub fn why_missing(&self, name: &str, version: &VersionReq) -> Missing {
        let refused =
            self.files.iter().filter_map(|file| Some((file, file.admission.as_ref().err()?)));
        let refused: Vec<_> = refused
            .filter(|(file, _)| file.manifest().is_none_or(|manifest| manifest.name == name))
            .collect();
        let mut versions: Vec<_> =
            self.named(name).map(|plugin| plugin.version.to_string()).collect();
        if !refused.is_empty() {
            let files: Vec<_> = refused
                .iter()
                .map(|(file, refusal)| format!("`{}` {refusal}", file.file_name))
                .collect();
            return Missing {
                message: format!("no usable plugin named `{name}`: {}", files.join("; ")),
                hint: "`tocsin plugins` shows every file and what is wrong with it".into(),
                may_be_refused: true,
            };
        }
        if versions.is_empty() {
            let mut names: Vec<_> =
                self.admitted().map(|plugin| plugin.manifest.name.as_str()).collect();
            names.dedup();
            let hint = match names.as_slice() {
                [] => "the plugins folder is empty: drop the plugin's `.so` in".into(),
                names => format!("the plugins folder has `{}`", names.join("`, `")),
            };
            return Missing {
                message: format!("no plugin is named `{name}`"),
                hint,
                may_be_refused: false,
            };
        }
        versions.sort();
        Missing {
            message: format!("no version of plugin `{name}` matches `{version}`"),
            hint: format!("the plugins folder has {}", versions.join(", ")),
            may_be_refused: false,
        }
    }

    fn named<'c>(&'c self, name: &'c str) -> impl Iterator<Item = &'c Arc<AdmittedPlugin>> {
        self.admitted().filter(move |plugin| plugin.manifest.name == name)
    }

    fn admitted(&self) -> impl Iterator<Item = &Arc<AdmittedPlugin>> {
        self.files.iter().filter_map(|file| file.admission.as_ref().ok())
    }

    /// Two files that claim to be the same version: a copy is left aside, and where they differ
    /// nobody can say which is meant.
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
                let reason = if are_copies {
                    format!("is a copy of `{}`\nhint: remove one of them", names[0])
                } else {
                    let mut others = names.clone();
                    others.remove(position);
                    format!(
                        "is {id}, and so is `{}`, with other contents\n\
                         hint: remove all but one of them, or give them different versions",
                        others.join("`, `"),
                    )
                };
                let manifest = file.manifest().cloned();
                file.admission = Err(Refusal { reason, manifest });
            }
        }
    }
}

/// Why an integration has no plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Whether a file that was refused may be the one: then the plugin is at fault, otherwise the
    /// configuration is.
    pub may_be_refused: bool,
}

/// The libraries of this process, by the hash of their bytes. They are never unloaded.
#[derive(Debug, Default)]
pub struct Libraries {
    loaded: Mutex<HashMap<String, Result<Arc<LoadedPlugin>, LoadError>>>,
}

impl Libraries {
    /// Loads a plugin, or gives the one that was loaded from the same bytes before.
    ///
    /// # Errors
    ///
    /// Where it can't be loaded into this host. It is not tried again: the bytes are the same.
    pub fn load(&self, plugin: &Arc<AdmittedPlugin>) -> Result<Arc<LoadedPlugin>, LoadError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.get(&plugin.sha256) {
            return known.clone();
        }
        let result = LoadedPlugin::load(plugin).map(Arc::new);
        if !matches!(result, Err(LoadError { is_passing: true, .. })) {
            loaded.insert(plugin.sha256.clone(), result.clone());
        }
        result
    }

    /// What loading the plugin gave, if it was tried.
    pub fn known(&self, plugin: &AdmittedPlugin) -> Option<Result<Arc<LoadedPlugin>, LoadError>> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.get(&plugin.sha256).cloned()
    }
}
