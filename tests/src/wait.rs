//! Waits for a condition by polling it, up to a timeout that only a broken host reaches. Measures
//! nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Timeout of every wait. A busy machine or a slow disk may need a good part of it.
pub const TIMEOUT: Duration = Duration::from_secs(180);

/// Polls until a closure returns a value, and returns the value. `what` names the condition.
///
/// # Panics
///
/// If no value came within [`TIMEOUT`].
#[track_caller]
pub fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < end, "timed out after {TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
