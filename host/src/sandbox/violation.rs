//! Violations of purity: things that a plugin must not do, and their names in reports.
//!
//! The child's [`confinement`](super::confinement) detects them; this file only describes them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An action of a plugin besides computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Violation {
    /// A system call that computing does not need, by its number.
    SystemCall(i64),
    /// The plugin read the environment.
    Environment,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::SystemCall(number) = self else {
            return f.write_str("read the environment");
        };
        let named = GROUPS.iter().find_map(|(what, calls)| {
            let (_, name) = calls.iter().find(|(call, _)| call == number)?;
            Some((what, name.trim_start_matches("SYS_")))
        });
        match named {
            Some((what, name)) => write!(f, "{what} (system call `{name}`)"),
            None => write!(f, "used another service of the system (system call {number})"),
        }
    }
}

type Calls = &'static [(i64, &'static str)];

macro_rules! calls {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

const FILES: &str = "opened, read or changed a file";
const SOCKETS: &str = "used a socket";
/// The description of starting a thread or a process.
pub(crate) const THREADS: &str = "started a thread or a process";
const SLEEP: &str = "slept or used a timer";
const OTHER: &str = "used another service of the system";

/// System calls that a plugin is likely to use, by their purpose.
const GROUPS: &[(&str, Calls)] = &[
    (
        FILES,
        calls![
            SYS_openat SYS_openat2 SYS_close SYS_read SYS_readv SYS_pread64 SYS_write SYS_writev
            SYS_pwrite64 SYS_lseek SYS_fstat SYS_statx SYS_faccessat SYS_faccessat2 SYS_readlinkat
            SYS_getdents64 SYS_unlinkat SYS_mkdirat SYS_renameat2 SYS_linkat SYS_symlinkat
            SYS_fchmodat SYS_fchownat SYS_utimensat SYS_ftruncate SYS_truncate SYS_fallocate
            SYS_fsync SYS_fdatasync SYS_ioctl SYS_fcntl SYS_dup SYS_dup3 SYS_pipe2 SYS_getcwd
            SYS_chdir SYS_statfs SYS_memfd_create SYS_inotify_init1 SYS_sendfile
            SYS_copy_file_range SYS_io_uring_setup SYS_newfstatat
        ],
    ),
    (
        SOCKETS,
        calls![
            SYS_socket SYS_socketpair SYS_connect SYS_bind SYS_listen SYS_accept SYS_accept4
            SYS_sendto SYS_sendmsg SYS_sendmmsg SYS_recvfrom SYS_recvmsg SYS_recvmmsg SYS_setsockopt
            SYS_getsockopt SYS_getsockname SYS_getpeername SYS_shutdown SYS_ppoll SYS_epoll_create1
        ],
    ),
    (
        THREADS,
        calls![
            SYS_clone SYS_clone3 SYS_execve SYS_execveat SYS_kill SYS_tkill SYS_wait4 SYS_waitid
            SYS_setns SYS_unshare SYS_ptrace SYS_pidfd_open
        ],
    ),
    (
        SLEEP,
        calls![SYS_nanosleep SYS_clock_nanosleep SYS_timer_create SYS_timerfd_create SYS_setitimer],
    ),
    (
        OTHER,
        calls![
            SYS_uname SYS_sysinfo SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getppid
            SYS_sched_getaffinity SYS_sched_setaffinity SYS_rt_sigaction SYS_prctl SYS_prlimit64
            SYS_getrusage SYS_times SYS_umask SYS_setpriority
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    (
        FILES,
        calls![
            SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_unlink SYS_mkdir
            SYS_rmdir SYS_rename SYS_link SYS_symlink SYS_chmod SYS_chown SYS_getdents SYS_dup2
            SYS_pipe
        ],
    ),
    #[cfg(target_arch = "x86_64")]
    (SOCKETS, calls![SYS_poll SYS_select SYS_epoll_create]),
    #[cfg(target_arch = "x86_64")]
    (THREADS, calls![SYS_fork SYS_vfork]),
    #[cfg(target_arch = "x86_64")]
    (SLEEP, calls![SYS_alarm SYS_pause]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_a_violation_in_words() {
        let words = |call| Violation::SystemCall(call).to_string();
        insta::assert_snapshot!(words(libc::SYS_openat), @"opened, read or changed a file (system call `openat`)");
        insta::assert_snapshot!(words(libc::SYS_socket), @"used a socket (system call `socket`)");
        insta::assert_snapshot!(words(libc::SYS_clone3), @"started a thread or a process (system call `clone3`)");
        insta::assert_snapshot!(words(9999), @"used another service of the system (system call 9999)");
        insta::assert_snapshot!(Violation::Environment.to_string(), @"read the environment");
    }
}
