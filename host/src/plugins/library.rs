//! Maps an admitted plugin into the process: the only unsafe code of a host that serves.
//!
//! It calls nothing that an author wrote: that is for [`crate::call`].

#![expect(unsafe_code, reason = "a library has to be mapped to be called")]

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use prometheus_client::metrics::gauge::Gauge;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tocsin_plugin_api::abi::{self, Module};

use super::{
    admission::{AdmittedPlugin, DroppedFile, one_line},
    journal::{Attempt, LoadJournal, Loading},
};
use crate::{
    alert::PluginId,
    patience::{NotDone, wait_for},
};

/// A plugin whose functions can be called. It stays mapped until the process ends.
pub struct LoadedPlugin {
    /// What was loaded.
    pub plugin: Arc<AdmittedPlugin>,
    /// Its functions.
    pub module: Module,
    journal: LoadJournal,
}

impl fmt::Debug for LoadedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoadedPlugin").field(&self.plugin.id).finish()
    }
}

/// Why an admitted plugin can't be loaded.
#[derive(Clone, Debug)]
pub struct LoadError {
    id: Arc<PluginId>,
    reason: String,
    /// Whether another try may go better.
    pub is_passing: bool,
    /// Whether a host died as it was loaded.
    pub is_set_aside: bool,
}

impl LoadError {
    pub(super) fn set_aside(plugin: &AdmittedPlugin, attempt: &Attempt) -> Self {
        let what = if attempt.has_hung {
            "did not come back as it was loaded before the host was stopped, from"
        } else {
            "was being loaded when the host died at"
        };
        let reason = format!(
            "{what} {:.0}, so it is left aside\n\
             hint: drop in another version, or try again with `tocsin plugins retry {}`",
            attempt.at, plugin.id.name,
        );
        Self { id: Arc::clone(&plugin.id), reason, is_passing: true, is_set_aside: true }
    }

    /// The plugin that can't be loaded.
    pub fn plugin(&self) -> &PluginId {
        &self.id
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin `{}` {} {}", self.id.name, self.id.version, one_line(&self.reason))
    }
}

impl std::error::Error for LoadError {}

/// What maps libraries into this process: the system's loader, which does so one at a time. As long as
/// the initializers of one library run, no other can be mapped, and hardly a thread begin.
#[derive(Debug)]
pub(super) struct Loader {
    journal: LoadJournal,
    /// The one that it is at.
    maps: Arc<ArcSwapOption<PluginId>>,
    left_behind: Gauge,
}

/// The loader is at a library until this is dropped.
struct Mapping(Arc<ArcSwapOption<PluginId>>);

impl Drop for Mapping {
    fn drop(&mut self) {
        self.0.store(None);
    }
}

impl Loader {
    /// A thread that is left behind in it counts in the gauge.
    pub(super) fn new(journal: LoadJournal, left_behind: Gauge) -> Self {
        Self { journal, maps: Arc::default(), left_behind }
    }

    /// Loads a plugin, and gives up after that time. Not for two threads at a time.
    pub(super) fn load(
        &self,
        plugin: &Arc<AdmittedPlugin>,
        patience: Duration,
    ) -> Result<LoadedPlugin, LoadError> {
        let (id, is_set_aside) = (&plugin.id, false);
        let error = |is_passing, reason| {
            let id = Arc::clone(id);
            LoadError { id, reason, is_passing, is_set_aside }
        };
        if let Some(other) = self.maps.load_full() {
            let reason = format!(
                "cannot be loaded while `{other}` is, which does not come back\n\
                 hint: restart the host, which then leaves `{}` aside",
                other.name
            );
            return Err(error(true, reason));
        }
        let file =
            DroppedFile::read(&plugin.path).map_err(|refusal| error(true, refusal.reason))?;
        // The bytes that were checked are the bytes that are mapped.
        if file.sha256() != plugin.sha256 {
            let reason = "was replaced while it was loaded\nhint: send the host a SIGHUP";
            return Err(error(true, reason.into()));
        }
        let sealed = seal(&id.name, file.bytes())
            .map_err(|why| error(true, format!("cannot be copied into memory: {why}")))?;
        drop(file);
        // Each destructor of a thread is entered with the system's loader, which holds it up while it is
        // at a library: what logging and the journal keep for this thread is entered before.
        tracing::info!(plugin = %id, "a plugin is being loaded");
        self.maps.store(Some(Arc::clone(id)));
        let mapping = Mapping(Arc::clone(&self.maps));
        let (loading, id) = (self.journal.begin(plugin), Arc::clone(id));
        let open = move || {
            // Both end when the plugin comes back, however late.
            let (_mapping, _loading) = (mapping, loading);
            open(sealed, &id)
        };
        let thread = thread::Builder::new().name("plugin-load".into());
        match wait_for(patience, thread, vec![self.left_behind.clone()], open) {
            Ok(Ok(module)) => {
                let (plugin, journal) = (Arc::clone(plugin), self.journal.clone());
                Ok(LoadedPlugin { plugin, module, journal })
            }
            Ok(Err(reason)) => Err(error(false, reason)),
            Err(NotDone::GivenUp(patience)) => {
                let reason = format!(
                    "did not come back within {patience:?} as it was loaded\n\
                     hint: remove it and restart the host: until it comes back, no other plugin can be loaded"
                );
                Err(error(false, reason))
            }
            Err(NotDone::Panicked) => Err(error(false, "panicked as it was loaded".into())),
            Err(not_done @ NotDone::NoThread(_)) => Err(error(true, not_done.to_string())),
        }
    }
}

/// Maps a library and looks at its functions; the error is the end of a sentence.
fn open(sealed: OwnedFd, id: &PluginId) -> Result<Module, String> {
    let header = map(sealed).map_err(|why| format!("cannot be mapped: {why}"))?;
    // SAFETY: `map` gives the address of the header symbol, in a library that stays mapped.
    let module = unsafe { Module::open(header) };
    module.map_err(|why| {
        tracing::debug!(plugin = %id, detail = why.detail, "the boundary does not match");
        why.message
    })
}

/// Ends the process at once. What libraries want done at its end is not: that may hang, as the
/// loader itself does where one of them hangs in its initializers.
pub fn leave(code: u8) -> ! {
    // Nobody may read any more.
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    // SAFETY: it ends all threads, and comes back to nobody.
    unsafe { libc::_exit(code.into()) }
}

impl LoadedPlugin {
    /// The plugin's own code is about to run with options that it may not have seen yet: if the host
    /// dies of that, the next one leaves it aside, as if it had died of mapping it.
    pub fn begin(&self) -> Loading {
        self.journal.begin(&self.plugin)
    }
}

/// A copy of the bytes that nobody can change, whatever becomes of the file in the folder.
fn seal(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    let memory = OwnedFd::from(file);
    fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(memory)
}

/// Maps a library for good, and gives the address of its header symbol.
fn map(sealed: OwnedFd) -> Result<*const (), libloading::Error> {
    let path = format!("/proc/self/fd/{}", sealed.as_raw_fd());
    // glibc knows libraries by the text of their path first. Were the descriptor closed, its number
    // would be given to another plugin, and opening that would give this one.
    std::mem::forget(sealed);
    // SAFETY: opening runs the library's initializers. The operator vouches for what they drop into
    // the folder; a plugin of safe Rust has none.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }?;
    // SAFETY: a symbol read as a pointer is its address, which is all that is used.
    let header = *unsafe { library.get::<*const ()>(abi::HEADER_SYMBOL.as_bytes()) }?;
    std::mem::forget(library);
    Ok(header)
}
