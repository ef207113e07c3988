//! Named points at which a test makes the host die or a write fail, as a broken machine or disk would.
//!
//! Only debug builds have them. The environment variables `TOCSIN_TEST_DIE_AT` and `TOCSIN_TEST_FAIL_AT`
//! choose a point and the number of its turn, such as `synced:17`.

use std::io;

/// Kills the process with SIGKILL if a test has chosen this point.
#[inline]
pub(crate) fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::point(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Fails as a broken disk would if a test has chosen this point.
///
/// # Errors
///
/// Only if a test has chosen this point.
#[inline]
pub(crate) fn io(name: &str) -> io::Result<()> {
    #[cfg(debug_assertions)]
    return armed::io(name);
    #[cfg(not(debug_assertions))]
    {
        let _ = name;
        Ok(())
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        env, io,
        sync::{
            LazyLock,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use rustix::process::{Signal, getpid, kill_process};

    struct Fault {
        name: String,
        turns_left: AtomicUsize,
    }

    static DIE_AT: LazyLock<Option<Fault>> = LazyLock::new(|| Fault::of("TOCSIN_TEST_DIE_AT"));
    static FAIL_AT: LazyLock<Option<Fault>> = LazyLock::new(|| Fault::of("TOCSIN_TEST_FAIL_AT"));

    impl Fault {
        fn of(variable: &str) -> Option<Self> {
            let text = env::var(variable).ok()?;
            let (name, turn) = text.split_once(':')?;
            let turns_left = AtomicUsize::new(turn.parse().ok()?);
            Some(Self { name: name.into(), turns_left })
        }

        /// Counts a turn of a point, and returns true at the chosen one.
        fn is_due(&self, name: &str) -> bool {
            self.name == name && self.turns_left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    pub(super) fn point(name: &str) {
        if DIE_AT.as_ref().is_some_and(|fault| fault.is_due(name)) {
            // No code runs after SIGKILL, not even on other threads.
            let _ = kill_process(getpid(), Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }

    pub(super) fn io(name: &str) -> io::Result<()> {
        if FAIL_AT.as_ref().is_some_and(|fault| fault.is_due(name)) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        Ok(())
    }
}
