//! Metrics of the process, with the names that every client of Prometheus uses.
//!
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics> lists them.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use crate::system::process_usage;

/// Metrics of the process, read when the metrics are requested.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    started_at: Timestamp,
}

impl ProcessMetrics {
    /// Creates the metrics of a process that has just started.
    pub(super) fn new() -> Self {
        Self { started_at: Timestamp::now() }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut add = |name, help, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let processor = ConstCounter::new(process_usage::processor_time().as_secs_f64());
        add("process_cpu_seconds", "Processor time of all threads.", &processor)?;
        if let Some(bytes) = process_usage::resident_bytes() {
            let help = "Memory in use that is not swapped out.";
            add("process_resident_memory_bytes", help, &ConstGauge::new(bytes))?;
        }
        if let Some(files) = process_usage::open_files() {
            add("process_open_fds", "Open files.", &ConstGauge::new(files))?;
        }
        let most = process_usage::most_open_files();
        add("process_max_fds", "Largest number of open files.", &ConstGauge::new(most))?;
        let started_at = self.started_at.as_duration().as_secs_f64();
        let help = "Time of the start, in seconds since 1970.";
        add("process_start_time_seconds", help, &ConstGauge::new(started_at))
    }
}
