//! Confines the calling process: from then on it can compute, allocate memory and write to one
//! descriptor. Anything else ends the process, after a line that reports the [`Violation`].
//!
//! Reading the clock is possible all the same: it is no system call.
//!
//! [`Violation`]: super::violation::Violation

#![expect(
    unsafe_code,
    reason = "signal handlers, and an environment that can't be read, are out of reach of safe code"
)]

use std::{
    collections::BTreeMap,
    ffi::{c_char, c_int, c_void},
    mem,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    ptr,
    sync::atomic::{AtomicI32, AtomicUsize, Ordering},
    thread,
};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::protocol::Confinement;

/// The system calls that allocating, locking, panicking, aborting and exiting need.
///
/// `getrandom` is among them: every `HashMap` of the standard library takes its keys from there. Another
/// check finds out if the order of a map shows in an outcome.
const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The exit code of a child that broke its confinement.
const CAUGHT: c_int = 97;
const PAGE_BYTES: usize = 4096;

/// The descriptor for the report. Set before a handler is.
static REPORT: AtomicI32 = AtomicI32::new(-1);
/// The address of the page to which `environ` points.
static ENVIRONMENT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Confines this process until it ends. The process must have one thread only.
///
/// # Errors
///
/// If the kernel has no such filter.
pub(super) fn confine(report: BorrowedFd<'_>, how: Confinement) -> Result<(), String> {
    REPORT.store(report.as_raw_fd(), Ordering::Relaxed);
    let filter = filter(report.as_raw_fd()).map_err(|error| error.to_string())?;
    warm_up();
    handle(libc::SIGSYS, on_system_call)?;
    handle(libc::SIGSEGV, on_fault)?;
    if how == Confinement::Environment {
        hide_environment()?;
    }
    seccompiler::apply_filter(&filter).map_err(|error| error.to_string())
}

fn filter(report: RawFd) -> Result<BpfProgram, seccompiler::BackendError> {
    let first_is = |value: u64| {
        let length = SeccompCmpArgLen::Dword;
        let condition = SeccompCondition::new(0, length, SeccompCmpOp::Eq, value)?;
        Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(vec![condition])?])
    };
    let mut rules: BTreeMap<_, _> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_write, first_is(report as u64)?);
    // Allocators name their memory.
    rules.insert(libc::SYS_prctl, first_is(libc::PR_SET_VMA as u64)?);
    let here = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, here)?.try_into()
}

/// Uses both allocators and starts a thread, for the system calls that they make once. A plugin's own
/// first use must not be mistaken for a violation, nor hide one.
fn warm_up() {
    // A thread that cannot be started is no error.
    let _ = thread::Builder::new().spawn(|| ()).map(thread::JoinHandle::join);
    for size in [1, 1 << 10, 1 << 16, 1 << 20, 1 << 26] {
        drop(std::hint::black_box(vec![1_u8; size]));
        // SAFETY: what is freed was just allocated, or is null, and no other code has a pointer to it.
        unsafe { libc::free(std::hint::black_box(libc::malloc(size))) };
    }
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn handle(signal: c_int, handler: Handler) -> Result<(), String> {
    // SAFETY: all zeroes are a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // Once: a fault that is not ours comes again as soon as the handler returns, and ends the process.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
    // SAFETY: the handler is a function that does only what a signal handler may.
    if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
        return Err(std::io::Error::last_os_error().to_string());
    }
    Ok(())
}

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Points `environ` to a page that cannot be read. Reading a variable is no system call, so a filter
/// does not see it.
fn hide_environment() -> Result<(), String> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, at no particular place, changes none that is in use.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE_BYTES, libc::PROT_NONE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error().to_string());
    }
    ENVIRONMENT.store(page as usize, Ordering::Relaxed);
    // SAFETY: there is one thread, so no other reads it at this moment. Later reads fault, as they
    // should.
    unsafe { environ = page.cast() };
    Ok(())
}

/// The head of `siginfo_t` for a system call that a filter caught. The libc crate does not name these
/// fields.
#[repr(C)]
struct CaughtCall {
    signo: c_int,
    errno: c_int,
    code: c_int,
    address: *mut c_void,
    call: c_int,
    arch: u32,
}

extern "C" fn on_system_call(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a whole `siginfo_t`, which for SIGSYS begins like this.
    let call = unsafe { (*info.cast::<CaughtCall>()).call };
    let mut line = Line::new();
    line.push(br#"{"Violation":{"SystemCall":"#);
    line.push_number(call.unsigned_abs());
    line.push(b"}}\n");
    line.send_and_exit();
}

extern "C" fn on_fault(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a whole `siginfo_t`, which for SIGSEGV has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    let page = ENVIRONMENT.load(Ordering::Relaxed);
    if address.checked_sub(page).is_some_and(|offset| offset < PAGE_BYTES) {
        let mut line = Line::new();
        line.push(b"{\"Violation\":\"Environment\"}\n");
        line.send_and_exit();
    }
}

/// A line on the stack: a signal handler must not allocate.
struct Line {
    bytes: [u8; 64],
    len: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 64], len: 0 }
    }

    fn push(&mut self, more: &[u8]) {
        for byte in more {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = *byte;
                self.len += 1;
            }
        }
    }

    fn push_number(&mut self, number: u32) {
        let mut unit = 1_000_000_000;
        while unit > 0 {
            if number >= unit || unit == 1 {
                self.push(&[b'0' + (number / unit % 10) as u8]);
            }
            unit /= 10;
        }
    }

    fn send_and_exit(&self) -> ! {
        let report = REPORT.load(Ordering::Relaxed);
        // SAFETY: both calls are allowed in a signal handler and by the filter, and the bytes are
        // this value's own.
        unsafe {
            libc::write(report, self.bytes.as_ptr().cast(), self.len);
            libc::_exit(CAUGHT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{protocol::Observation, violation::Violation};

    #[test]
    fn the_parent_can_read_what_a_handler_writes() {
        for call in [0, 7, 41, 257, 1_234_567_890] {
            let mut line = Line::new();
            line.push(br#"{"Violation":{"SystemCall":"#);
            line.push_number(call);
            line.push(b"}}\n");
            let observation = serde_json::from_slice(&line.bytes[..line.len]).expect("a line");
            assert!(
                matches!(observation, Observation::Violation(Violation::SystemCall(read)) if read == i64::from(call))
            );
        }
        let observation =
            serde_json::from_str("{\"Violation\":\"Environment\"}\n").expect("a line");
        assert!(matches!(observation, Observation::Violation(Violation::Environment)));
    }
}
