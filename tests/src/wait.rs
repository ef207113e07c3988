//! Waiting for something that has to come: by looking again and again, up to a limit that only a
//! broken host reaches. It measures nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything is waited for. A busy machine, or a slow disk, may need a good part of it.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Looks until there is something to see, and gives it.
///
/// # Panics
///
/// Where nothing came within [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
