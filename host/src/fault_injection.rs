//! Named points at which a test has the host die or a write fail, as a machine or a disk would have it.
//!
//! They are there in debug builds alone. Which one is meant, and at which of its turns, comes from the
//! environment: `TOCSIN_TEST_DIE_AT` or `TOCSIN_TEST_FAIL_AT`, such as `synced:17`.

use std::io;

/// Dies here as `kill -9` would have it, if a test says so.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::point(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Fails here as a broken disk would, if a test says so.
///
/// # Errors
///
/// Only then.
#[inline]
pub fn io(name: &str) -> io::Result<()> {
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

        /// Whether it is its turn, which comes once.
        fn is_due(&self, name: &str) -> bool {
            self.name == name && self.turns_left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    pub(super) fn point(name: &str) {
        if DIE_AT.as_ref().is_some_and(|fault| fault.is_due(name)) {
            // Nothing more is done, not even by other threads.
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
