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
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tocsin_plugin_api::abi::{self, Module};

use super::{
    admission::{AdmittedPlugin, DroppedFile, one_line},
    journal::{Attempt, LoadJournal, Loading},
};
use crate::alert::PluginId;

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
        let reason = format!(
            "was being loaded when the host died at {:.0}, so it is left aside\n\
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

impl LoadedPlugin {
    pub(super) fn load(
        plugin: &Arc<AdmittedPlugin>,
        journal: &LoadJournal,
    ) -> Result<Self, LoadError> {
        let (id, is_set_aside) = (&plugin.id, false);
        let error = |is_passing, reason| {
            let id = Arc::clone(id);
            LoadError { id, reason, is_passing, is_set_aside }
        };
        let file =
            DroppedFile::read(&plugin.path).map_err(|refusal| error(true, refusal.reason))?;
        // The bytes that were checked are the bytes that are mapped.
        if file.sha256() != plugin.sha256 {
            let reason = "was replaced while it was loaded\nhint: send the host a SIGHUP";
            return Err(error(true, reason.into()));
        }
        let sealed = seal(&plugin.id.name, file.bytes())
            .map_err(|why| error(true, format!("cannot be copied into memory: {why}")))?;
        let loading = journal.begin(plugin);
        let header = map(sealed).map_err(|why| error(false, format!("cannot be mapped: {why}")))?;
        // SAFETY: `map` gives the address of the header symbol, in a library that stays mapped.
        let module = unsafe { Module::open(header) };
        let module = module.map_err(|why| {
            tracing::debug!(plugin = %plugin.id, detail = why.detail, "the boundary does not match");
            error(false, why.message)
        })?;
        drop(loading);
        Ok(Self { plugin: Arc::clone(plugin), module, journal: journal.clone() })
    }

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
