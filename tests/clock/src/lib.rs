//! A clock that is wrong by the number of seconds in `TOCSIN_TEST_CLOCK`.
//!
//! The library is loaded with `LD_PRELOAD`. Its function takes the place of the one of libc. Clocks that only measure
//! durations are left as they are.

#![expect(unsafe_code, reason = "the function of libc that a program calls")]

use std::{ffi::c_int, sync::OnceLock};

use libc::{CLOCK_REALTIME, SYS_clock_gettime, clockid_t, syscall, time_t, timespec};

/// # Safety
///
/// `time` can be written, as `clock_gettime(2)` expects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller of the function of libc gave a place to be written.
    let result = unsafe { syscall(SYS_clock_gettime, clock, time) } as c_int;
    if result == 0 && clock == CLOCK_REALTIME {
        // SAFETY: the system has just written the time.
        unsafe { (*time).tv_sec += wrong_by() };
    }
    result
}

fn wrong_by() -> time_t {
    static SECONDS: OnceLock<time_t> = OnceLock::new();
    *SECONDS.get_or_init(|| {
        let seconds = std::env::var("TOCSIN_TEST_CLOCK").ok();
        seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
    })
}
