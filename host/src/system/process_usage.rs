//! Use of the system by the process: processor time, memory, open files.
//!
//! Nothing is limited here, see [`process_limits`](super::process_limits).

use std::{fs, time::Duration};

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Returns the processor time that all threads have taken since the start.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Returns the memory that is in use and not swapped out, in bytes; none without `/proc`.
pub(crate) fn resident_bytes() -> Option<u64> {
    resident_bytes_of(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_bytes_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Returns the number of open files; none without `/proc`.
pub(crate) fn open_files() -> Option<u64> {
    let files = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the folder that is read.
    Some(files.saturating_sub(1) as u64)
}

/// Returns the largest number of open files that the system allows.
pub(crate) fn most_open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_system_says_about_the_process() {
        assert!(processor_time() > Duration::ZERO);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        let before = open_files().expect("a number");
        assert!(before >= 3 && before <= most_open_files());
    }

    #[test]
    fn reads_the_resident_memory_of_a_status() {
        let status = "Name:\ttocsin\nVmHWM:\t   99999 kB\nVmRSS:\t   39936 kB\n";
        assert_eq!(resident_bytes_of(status), Some(39936 * 1024));
        assert_eq!(resident_bytes_of("Name:\ttocsin\n"), None);
    }
}
