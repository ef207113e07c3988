//! As many requests as a server answers: wrk over 64 connections, each request a new message.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::subject::{Subject, TOKEN};

pub(crate) struct Load;

pub(crate) struct Throughput {
    pub(crate) requests_per_second: f64,
    /// Processor time of the server for one request.
    pub(crate) cpu_us: f64,
    /// The same of each thread.
    pub(crate) cpu_us_by_thread: BTreeMap<String, f64>,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) peak_mb: u64,
}

/// Order of the keys that tell one message from another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// Each key is a little higher than the one before.
    Growing,
    /// Keys such as fingerprints and UUIDs.
    Random,
}

impl Load {
    pub(crate) fn slack(subject: &Subject, lasts: Duration) -> anyhow::Result<Throughput> {
        Self::slack_with(subject, Keys::Growing, lasts)
    }

    pub(crate) fn slack_with(
        subject: &Subject,
        keys: Keys,
        lasts: Duration,
    ) -> anyhow::Result<Throughput> {
        let keys = match keys {
            Keys::Growing => "growing",
            Keys::Random => "random",
        };
        wrk(subject, "/in/bench", "new_message.lua", &[TOKEN, keys], lasts)
    }

    pub(crate) fn alertmanager(subject: &Subject, lasts: Duration) -> anyhow::Result<Throughput> {
        wrk(subject, "/api/v2/alerts", "new_alert.lua", &[], lasts)
    }
}

fn wrk(
    subject: &Subject,
    path: &str,
    script: &str,
    arguments: &[&str],
    lasts: Duration,
) -> anyhow::Result<Throughput> {
    let (started, cpu_before) = (Instant::now(), subject.process.cpu()?);
    let threads_before = subject.process.cpu_by_thread()?;
    let output = Command::new("wrk")
        .args(["-t1", "-c64", "--latency", &format!("-d{}s", lasts.as_secs()), "-s"])
        .arg(format!("{}/{script}", env!("CARGO_MANIFEST_DIR")))
        .arg(format!("http://{}{path}", subject.address))
        .arg("--")
        .args(arguments)
        .output()
        .context("cannot run wrk: `apt-get install wrk`")?;
    let took = started.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {said}");
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        bail!("not every request was accepted: {said}");
    }
    let figure = |label: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(label));
        line.and_then(|rest| rest.trim().parse::<f64>().ok())
    };
    let requests_per_second = figure("Requests/sec:").context("an unknown form of wrk's report")?;
    let latency = |label: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(label));
        line.and_then(|time| milliseconds(time.trim())).context("an unknown form of wrk's report")
    };
    let cpu = subject.process.cpu()? - cpu_before;
    let requests = requests_per_second * took.as_secs_f64();
    let cpu_us_by_thread = subject.process.cpu_by_thread()?.into_iter().map(|(name, time)| {
        let before = threads_before.get(&name).copied().unwrap_or_default();
        (name, time.saturating_sub(before).as_secs_f64() * 1e6 / requests)
    });
    Ok(Throughput {
        requests_per_second,
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        cpu_us_by_thread: cpu_us_by_thread.collect(),
        p50_ms: latency("50%")?,
        p99_ms: latency("99%")?,
        peak_mb: subject.process.memory_mb("VmHWM")?,
    })
}

/// Reads a time of wrk such as `1.45ms`.
fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)];
    let (number, factor) = units.iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
        Some((number, factor))
    })?;
    Some(number * factor)
}
