//! Maps admitted plugins into the process: the only unsafe code of a host that serves.
//!
//! Functions that an author wrote are called elsewhere, through the [`Module`] of a loaded plugin.

#![expect(unsafe_code, reason = "a library has to be mapped to be called")]

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use prometheus_client::metrics::gauge::Gauge;
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};
use tocsin_plugin_api::abi::{self, Module};

use super::{
    admission::AdmittedPlugin,
    dropped_file::DroppedFile,
    folder::explained,
    journal::{Attempt, LoadGuard, LoadJournal},
};
use crate::{
    alert::PluginId,
    problem::Problem,
    system::timeout::{RunError, run_with_timeout},
};

/// Time for which [`add_seals`] repeats a call that the kernel refuses as busy.
const SEALED_WITHIN: Duration = Duration::from_secs(10);
/// Pause between two such calls. The kernel itself waits up to 150 ms in each.
const SEAL_PAUSE: Duration = Duration::from_millis(20);

/// An [`AdmittedPlugin`] whose functions can be called. Its library stays mapped until the process ends.
pub struct LoadedPlugin {
    /// The admitted plugin.
    pub plugin: Arc<AdmittedPlugin>,
    /// The functions of the library.
    pub module: Module,
    journal: LoadJournal,
}

impl fmt::Debug for LoadedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoadedPlugin").field(&self.plugin.id).finish()
    }
}

/// Failure to load an [`AdmittedPlugin`].
#[derive(Clone, Debug)]
pub struct LoadError {
    id: Arc<PluginId>,
    /// The message is the end of a sentence that starts with the plugin.
    problem: Problem,
    /// True if another try may succeed, though nothing has changed.
    pub is_transient: bool,
    /// True if an earlier host died while it loaded the plugin.
    pub is_set_aside: bool,
}

impl LoadError {
    pub(super) fn set_aside(plugin: &AdmittedPlugin, attempt: &Attempt) -> Self {
        let what = if attempt.has_hung {
            "was still being loaded when the host was stopped, since"
        } else {
            "was being loaded when the host died at"
        };
        let message = format!("{what} {:.0}, so it is set aside", attempt.at);
        let problem = Problem::new("plugin-set-aside", message).with_hint(retry_hint(&plugin.id));
        Self { id: Arc::clone(&plugin.id), problem, is_transient: true, is_set_aside: true }
    }

    /// Returns the plugin that cannot be loaded.
    pub fn plugin(&self) -> &PluginId {
        &self.id
    }

    /// Returns the [`Problem`] of the plugin, as a whole sentence.
    pub fn problem(&self) -> Problem {
        let PluginId { name, version } = &*self.id;
        let message = format!("plugin `{name}` {version} {}", self.problem.message);
        Problem { message, ..self.problem.clone() }
    }
}

fn retry_hint(plugin: &PluginId) -> String {
    format!("drop in another version, or try again with `tocsin plugins retry {}`", plugin.name)
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem().one_line())
    }
}

impl std::error::Error for LoadError {}

/// A probe, which tries a plugin outside of this process before it is loaded.
pub trait Probe: fmt::Debug + Send {
    /// Has a plugin loaded elsewhere, and gives up after the timeout.
    fn try_out(&self, plugin: &AdmittedPlugin, timeout: Duration) -> Finding;
}

/// The result of a [`Probe`].
#[derive(Clone, Debug)]
pub enum Finding {
    /// Loading the plugin returned, or the loader refused it.
    Harmless,
    /// The plugin would have harmed the host.
    Harmful {
        /// The end of a sentence that starts with the plugin.
        what: String,
        /// True if another try may succeed, though nothing has changed.
        is_transient: bool,
    },
    /// The plugin could not be tried, for this reason.
    NotTried(String),
}

/// The system's loader, which maps one library at a time. While the initializers of one library run, no
/// other library can be mapped, and new threads hardly start.
#[derive(Debug)]
pub(super) struct Loader {
    journal: LoadJournal,
    /// The plugin that is being mapped.
    mapping: Arc<ArcSwapOption<PluginId>>,
    left_behind: Gauge,
    probe: Option<Box<dyn Probe>>,
    /// The hashes of plugins that were found harmless.
    harmless: HashSet<String>,
}

/// Guard that is held while a library is mapped.
struct Mapping(Arc<ArcSwapOption<PluginId>>);

impl Drop for Mapping {
    fn drop(&mut self) {
        self.0.store(None);
    }
}

impl Loader {
    /// Creates a loader. A thread that is stuck in the system's loader counts in the gauge.
    pub(super) fn new(
        journal: LoadJournal,
        left_behind: Gauge,
        probe: Option<Box<dyn Probe>>,
    ) -> Self {
        Self { journal, mapping: Arc::default(), left_behind, probe, harmless: HashSet::new() }
    }

    /// Tries a plugin with the [`Probe`] and loads it if it is harmless, with a timeout. One thread at a
    /// time calls this.
    pub(super) fn load(
        &mut self,
        plugin: &Arc<AdmittedPlugin>,
        timeout: Duration,
    ) -> Result<LoadedPlugin, LoadError> {
        let (id, is_set_aside) = (&plugin.id, false);
        let error = |is_transient, problem| {
            let id = Arc::clone(id);
            LoadError { id, problem, is_transient, is_set_aside }
        };
        if let Some(other) = self.mapping.load_full() {
            let message = format!(
                "cannot be loaded because `{other}` is still being loaded and does not return"
            );
            let hint = format!("restart the host, which then sets `{}` aside", other.name);
            return Err(error(true, not_loaded(message).with_hint(hint)));
        }
        self.try_out(plugin, timeout)?;
        let file =
            DroppedFile::read(&plugin.path).map_err(|refusal| error(true, refusal.problem))?;
        // The bytes that were checked are the bytes that are mapped.
        if file.sha256() != plugin.sha256 {
            let problem = not_loaded("was replaced while it was loaded");
            return Err(error(true, problem.with_hint("send the host a SIGHUP")));
        }
        let sealed = seal(&id.name, file.bytes()).map_err(|why| error(true, not_sealed(&why)))?;
        drop(file);
        self.mapping.store(Some(Arc::clone(id)));
        let mapping = Mapping(Arc::clone(&self.mapping));
        let (loading, id) = (self.journal.begin(plugin), Arc::clone(id));
        let open = move || {
            // Both guards end when the library's initializers return, however late.
            let (_mapping, _loading) = (mapping, loading);
            open(sealed, &id)
        };
        let thread = thread::Builder::new().name("plugin-load".into());
        match run_with_timeout(timeout, thread, vec![self.left_behind.clone()], open) {
            Ok(Ok(module)) => {
                let (plugin, journal) = (Arc::clone(plugin), self.journal.clone());
                Ok(LoadedPlugin { plugin, module, journal })
            }
            Ok(Err(problem)) => Err(error(false, problem)),
            Err(RunError::TimedOut(timeout)) => {
                let message = format!("did not finish loading within {timeout:?}");
                let hint = "remove it and restart the host: until it returns, no other plugin can \
                            be loaded";
                Err(error(false, not_loaded(message).with_hint(hint)))
            }
            Err(RunError::Panicked) => {
                Err(error(false, not_loaded("panicked while it was loaded")))
            }
            Err(not_run @ RunError::NoThread(_)) => {
                Err(error(true, not_loaded(not_run.to_string())))
            }
        }
    }
}

impl Loader {
    /// Has the probe test a plugin once in a child process. If no child can be started, the plugin is
    /// loaded all the same: the load journal records the load.
    fn try_out(&mut self, plugin: &AdmittedPlugin, timeout: Duration) -> Result<(), LoadError> {
        let Some(probe) = &self.probe else { return Ok(()) };
        if self.harmless.contains(&plugin.sha256) {
            return Ok(());
        }
        let started = Instant::now();
        match probe.try_out(plugin, timeout) {
            Finding::Harmless => {
                let millis = started.elapsed().as_millis();
                tracing::debug!(plugin = %plugin.id, millis, "a plugin was tried before it is loaded");
                self.harmless.insert(plugin.sha256.clone());
                Ok(())
            }
            Finding::Harmful { what, is_transient } => {
                let message =
                    format!("{what}; it was tried in a sandbox, and the host does not load it");
                let problem = not_loaded(message).with_hint(retry_hint(&plugin.id));
                Err(LoadError {
                    id: Arc::clone(&plugin.id),
                    problem,
                    is_transient,
                    is_set_aside: false,
                })
            }
            Finding::NotTried(why) => {
                tracing::debug!(plugin = %plugin.id, why, "a plugin is loaded without being tried");
                Ok(())
            }
        }
    }
}

fn not_loaded(message: impl Into<String>) -> Problem {
    Problem::new("plugin-not-loaded", message)
}

/// Maps a library and checks its functions. The message of the error is the end of a sentence.
fn open(sealed: OwnedFd, id: &PluginId) -> Result<Module, Problem> {
    let header = map(sealed).map_err(|why| {
        let missing = explained(io::ErrorKind::NotFound.into());
        match Problem::in_io_error(&missing).cloned() {
            Some(problem) => {
                Problem { message: format!("cannot be mapped: {}", problem.message), ..problem }
            }
            None => not_loaded(format!("cannot be mapped: {why}")),
        }
    })?;
    // SAFETY: `map` gives the address of the header symbol, in a library that stays mapped.
    let module = unsafe { Module::open(header) };
    module.map_err(|why| {
        tracing::debug!(plugin = %id, detail = why.detail, "the boundary does not match");
        Problem::from_text("plugin-not-loaded", &why.message)
    })
}

/// Ends the process at once, without the exit handlers of libraries. Those may hang, as the loader does
/// if a library hangs in its initializers.
pub fn exit_now(code: u8) -> ! {
    // The readers of both streams may have closed them.
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    // SAFETY: the call ends all threads and never returns.
    unsafe { libc::_exit(code.into()) }
}

impl LoadedPlugin {
    /// Notes that the plugin's code is about to see new options: if the host dies before the guard is
    /// dropped, the next host sets the plugin aside, as if mapping it had been fatal.
    pub fn begin(&self) -> LoadGuard {
        self.journal.begin(&self.plugin)
    }
}

/// Returns a sealed copy of the bytes, which stays the same if the file in the folder changes.
fn seal(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    let memory = OwnedFd::from(file);
    add_seals(&memory)?;
    Ok(memory)
}

/// Forbids every further change of a memory file.
///
/// Linux refuses with `EBUSY` while anything holds one of the file's pages, such as the kernel that moves pages
/// of a machine with little memory. Such holds are short, so that the call is repeated until [`SEALED_WITHIN`]
/// has passed.
fn add_seals(memory: &OwnedFd) -> io::Result<()> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    let end = Instant::now() + SEALED_WITHIN;
    loop {
        match fcntl_add_seals(memory, seals) {
            Err(Errno::BUSY) if Instant::now() < end => thread::sleep(SEAL_PAUSE),
            Err(Errno::INTR) => {}
            sealed => return Ok(sealed?),
        }
    }
}

/// Explains why there is no sealed memory, with a hint if the system forbids it to the host.
fn not_sealed(error: &io::Error) -> Problem {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let is_forbidden = matches!(errno, Some(Errno::NOSYS | Errno::PERM | Errno::ACCESS));
    if !is_forbidden {
        return not_loaded(format!("cannot be copied into memory: {error}"));
    }
    not_loaded(format!("cannot be copied into memory: the system refuses `memfd_create`: {error}"))
        .with_hint(
            "allow the system calls `memfd_create` and `fcntl` in the seccomp profile of the \
             container or service, set `vm.memfd_noexec` to 0 or 1, or use Linux 3.17 or later",
        )
}

/// Maps a library for good, and returns the address of its header symbol.
fn map(sealed: OwnedFd) -> Result<*const (), libloading::Error> {
    let path = format!("/proc/self/fd/{}", sealed.as_raw_fd());
    // glibc knows libraries by the text of their path first. If the descriptor were closed, its number
    // would be given to another plugin, and opening that plugin would return this library.
    std::mem::forget(sealed);
    // SAFETY: opening runs the library's initializers. The operator is responsible for the files in the
    // folder; a plugin of safe Rust has none.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }?;
    // SAFETY: a symbol read as a pointer is its address, which is all that is used.
    let header = *unsafe { library.get::<*const ()>(abi::HEADER_SYMBOL.as_bytes()) }?;
    std::mem::forget(library);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    use super::{super::Libraries, *};

    /// A probe that returns the same finding for every plugin, and counts its calls.
    #[derive(Debug)]
    struct Found(Finding, Arc<AtomicUsize>);

    impl Probe for Found {
        fn try_out(&self, _: &AdmittedPlugin, _: Duration) -> Finding {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.clone()
        }
    }

    /// Loads the same missing file several times. Returns the last error, and how often the plugin was
    /// tried.
    fn load(finding: Finding, times: usize, retry: bool) -> (String, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let probe = Found(finding, Arc::clone(&asked));
        let journal = LoadJournal::default();
        let libraries = Libraries::new(journal, Gauge::default(), Some(Box::new(probe)));
        let path = PathBuf::from("plugins/libdemo.so");
        let plugin = Arc::new(AdmittedPlugin::pretended(path, "demo", "aa", None, None));
        let mut sentence = String::new();
        for _ in 0..times {
            let error = libraries.load(&plugin, Duration::from_secs(5)).expect_err("no such file");
            sentence = error.to_string();
            if retry {
                assert!(libraries.retry("demo").expect("nothing is written"));
            }
        }
        (sentence, asked.load(Ordering::Relaxed))
    }

    fn harmful(is_transient: bool) -> Finding {
        Finding::Harmful { what: "sang".into(), is_transient }
    }

    /// Loads a file on a thread that may not call `memfd_create`.
    fn load_without_memfd(errno: Errno) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("libdemo.so");
        // The bytes are read and compared, but never mapped.
        std::fs::write(&path, b"\x7fELF, and no more").expect("written");
        let sha256 = DroppedFile::read(&path).expect("it is there").sha256().to_owned();
        let plugin = Arc::new(AdmittedPlugin::pretended(path, "demo", &sha256, None, None));
        let load = move || {
            let rules = [(libc::SYS_memfd_create, Vec::new())].into();
            let code = u32::try_from(errno.raw_os_error()).expect("it is positive");
            let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(code));
            let here = std::env::consts::ARCH.try_into().expect("a machine with filters");
            let filter = SeccompFilter::new(rules, allow, refuse, here).expect("a filter");
            let filter: BpfProgram = filter.try_into().expect("a filter");
            // The filter holds for this thread alone.
            seccompiler::apply_filter(&filter).expect("a kernel with filters");
            let libraries = Libraries::new(LoadJournal::default(), Gauge::default(), None);
            libraries.load(&plugin, Duration::from_secs(5)).expect_err("refused").to_string()
        };
        thread::spawn(load).join().expect("no panic")
    }

    #[test]
    fn an_error_says_what_to_do_if_the_system_gives_no_sealed_memory() {
        insta::assert_snapshot!(load_without_memfd(Errno::PERM), @"plugin `demo` 1.0.0 cannot be copied into memory: the system refuses `memfd_create`: Operation not permitted (os error 1); hint: allow the system calls `memfd_create` and `fcntl` in the seccomp profile of the container or service, set `vm.memfd_noexec` to 0 or 1, or use Linux 3.17 or later");
        let old = load_without_memfd(Errno::NOSYS);
        assert!(
            old.contains("the system refuses `memfd_create`: Function not implemented"),
            "{old}"
        );
        let full = load_without_memfd(Errno::MFILE);
        assert!(full.contains("cannot be copied into memory: Too many open files"), "{full}");
    }

    #[test]
    fn memory_is_sealed_as_soon_as_nothing_else_holds_its_pages() {
        let memory = memfd_create("held", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
        let mut file = File::from(memory.expect("memory"));
        file.write_all(&[7; 4096]).expect("written");
        let memory = OwnedFd::from(file);
        // A pipe that was filled by `splice` holds the page until the page is read.
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let (mut from, length) = (0, 4096);
        let flags = rustix::pipe::SpliceFlags::empty();
        let moved = rustix::pipe::splice(&memory, Some(&mut from), &writer, None, length, flags);
        assert_eq!(moved, Ok(length));
        assert_eq!(fcntl_add_seals(&memory, SealFlags::WRITE), Err(Errno::BUSY));
        thread::scope(|scope| {
            let sealed = scope.spawn(|| add_seals(&memory));
            // The first call of the other thread most likely comes before the page is free.
            thread::sleep(Duration::from_millis(300));
            io::Read::read_exact(&mut File::from(reader), &mut [0; 4096]).expect("read");
            sealed.join().expect("no panic").expect("sealed");
        });
        let refused = File::from(memory).write_all(b"x").expect_err("sealed");
        assert_eq!(refused.raw_os_error(), Some(Errno::PERM.raw_os_error()));
    }

    #[test]
    fn a_harmful_plugin_is_not_loaded_and_only_tried_again_on_request() {
        let (sentence, asked) = load(harmful(false), 3, false);
        insta::assert_snapshot!(sentence, @"plugin `demo` 1.0.0 sang; it was tried in a sandbox, and the host does not load it; hint: drop in another version, or try again with `tocsin plugins retry demo`");
        assert_eq!(asked, 1);
        assert_eq!(load(harmful(false), 3, true).1, 3);
        assert_eq!(load(harmful(true), 3, false).1, 3, "it may have passed");
    }

    #[test]
    fn a_harmless_plugin_is_tried_only_once() {
        let (sentence, asked) = load(Finding::Harmless, 3, false);
        assert!(sentence.contains("No such file"), "{sentence}");
        assert_eq!(asked, 1);
    }

    #[test]
    fn a_plugin_that_cannot_be_tried_is_loaded() {
        let (sentence, _) = load(Finding::NotTried("no process".into()), 1, false);
        assert_eq!(sentence, load(Finding::Harmless, 1, false).0);
    }
}
