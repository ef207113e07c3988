//! As many requests as a server answers: wrk over 64 connections, each request a new message.

use std::{
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
    pub(crate) peak_mb: u64,
}

impl Load {
    pub(crate) fn slack(subject: &Subject, lasts: Duration) -> anyhow::Result<Throughput> {
        wrk(subject, "/in/bench", "new_message.lua", &[TOKEN], lasts)
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
    let output = Command::new("wrk")
        .args(["-t1", "-c64", &format!("-d{}s", lasts.as_secs()), "-s"])
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
    let cpu = subject.process.cpu()? - cpu_before;
    let requests = requests_per_second * took.as_secs_f64();
    Ok(Throughput {
        requests_per_second,
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        peak_mb: subject.process.memory_mb("VmHWM")?,
    })
}
