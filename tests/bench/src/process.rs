//! A child process, the time and memory that it has used so far, and its end.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;

/// Child process that is killed when the value is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("cannot run {command:?}"))?))
    }

    /// Returns the processor time, user and system.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(&format!("/proc/{}/stat", self.0.id()))
    }

    /// Returns the processor time of the threads that run now, by their names. Threads that have the same
    /// name are added up.
    pub(crate) fn cpu_by_thread(&self) -> anyhow::Result<BTreeMap<String, Duration>> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let folder = entry?.path();
            // A thread may end while the list is read.
            let Ok(name) = fs::read_to_string(folder.join("comm")) else { continue };
            let Ok(time) = cpu(&folder.join("stat").to_string_lossy()) else { continue };
            *threads.entry(name.trim_end().to_owned()).or_default() += time;
        }
        Ok(threads)
    }

    /// Returns a value of `/proc/PID/status` in MB: `VmRSS`, or `VmHWM` for the peak.
    pub(crate) fn memory_mb(&self, line: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(':'));
        let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kb.context("an unknown form of /proc/PID/status")? / 1024)
    }
}

/// Returns the processor time in a `stat` file of a process or a thread.
fn cpu(path: &str) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(path)?;
    // The name in parentheses may hold spaces. Fields 12 and 13 after it are utime and stime in hundredths
    // of a second (proc_pid_stat(5)).
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).context("an unknown form of /proc/PID/stat")?;
    Ok(Duration::from_millis(10 * (ticks.0 + ticks.1)))
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
