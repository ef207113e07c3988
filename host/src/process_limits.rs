//! Limits of this process: open files as many as the system allows, no core dumps that would hold
//! secrets, no privileges that a program could gain, and one arena of C's memory.
//!
//! All of these hold until the process ends.

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::set_no_new_privs,
};

/// Open files that the store, plugins, reloads, trials and the health reserve may need beside
/// connections.
const OTHER_FILES: u64 = 320;

/// Keeps secrets out of core dumps and out of the reach of other processes of the same user, and has no
/// child gain privileges that this process has not.
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

/// Lets all threads share one arena of the C library's memory, which SQLite and plugins use.
///
/// glibc lets the arenas of other threads grow by a system call for each page, and SQLite's cache of pages
/// grows in one of these. To be called while there are no other threads.
pub(crate) fn share_arena() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt has no safe form")]
    // SAFETY: the option takes any number, and no other thread allocates meanwhile.
    unsafe {
        // Where it has no effect, all works as before.
        let _ = libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Raises the limit on open files as far as the system lets this process, and returns it.
pub(crate) fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Without it, the limit is as it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Returns how many connections to the webhook listener fit under a limit on open files, beside those
/// to the admin listener and everything else: as many as are wanted, or fewer.
pub(crate) fn connections_that_fit(wanted: usize, admin: usize, open_files: u64) -> usize {
    let left = open_files.saturating_sub(OTHER_FILES + admin as u64);
    // Very little is shared out all the same.
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
