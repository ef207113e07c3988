//! Limits of the host's process: most open files, no core dumps, no new privileges, and one memory arena
//! of the C library.
//!
//! All limits hold until the process ends.

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::set_no_new_privs,
};

/// Open files that the store, plugins, reloads, sandboxes and the connections reserved for health may need
/// besides other connections.
const OTHER_FILES: u64 = 320;

/// Switches core dumps off, since they would hold secrets, hides the memory from other processes of the same
/// user, and keeps child processes from gaining privileges.
pub(crate) fn harden() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(
            event = "core_dumps_not_disabled",
            %error,
            "a core dump of this process might hold secrets",
        );
    }
    if let Err(error) = set_no_new_privs(true) {
        tracing::warn!(
            event = "new_privileges_not_disabled",
            %error,
            "a child of this process might gain privileges",
        );
    }
}

/// Makes all threads share one memory arena of the C library, which SQLite and plugins use.
///
/// By default, glibc gives threads arenas that grow by a system call for each page, among them the one that
/// holds SQLite's page cache. Must be called before other threads start.
pub(crate) fn share_arena() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt has no safe form")]
    // SAFETY: the option takes any number, and no other thread allocates meanwhile.
    unsafe {
        // If the call fails, the default stays.
        let _ = libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Raises the limit on open files as far as the system lets this process, and returns it.
pub(crate) fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // If the call fails, the limit stays unchanged.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns the number of connections to the webhook listener, at most `wanted`, that fit under a limit on
/// open files beside `admin` connections and all other files.
pub(crate) fn connections_that_fit(wanted: usize, admin: usize, open_files: u64) -> usize {
    let left = open_files.saturating_sub(OTHER_FILES + admin as u64);
    // Even under a very low limit, a quarter goes to webhooks.
    let left = left.max(open_files / 4).max(1);
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(connections_that_fit(1024, 256, u64::MAX), 1024);
        assert_eq!(connections_that_fit(1024, 256, 1024), 448);
        assert_eq!(connections_that_fit(100, 256, 1024), 100);
        assert_eq!(connections_that_fit(1024, 256, 256), 64);
        assert_eq!(connections_that_fit(1024, 256, 0), 1);
    }

    #[test]
    fn the_limit_on_open_files_is_raised_to_its_maximum() {
        let raised = raise_open_files();
        assert_eq!(Some(raised), Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)));
    }
}
