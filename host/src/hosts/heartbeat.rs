//! Reports of this host to the store, and what it learns about the others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    differences::{Lasting, Vitality, differences},
    report::Reporter,
};
use crate::{
    host::Host,
    http::server::Stop,
    store::{StoreError, hosts::KnownHost},
};

/// Time between two reports.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Reports this host to the store until the signal to stop, and compares it with the others.
pub(crate) async fn run(host: Arc<Host>, mut stop: Stop) {
    let mut reporter = Reporter::starting(Timestamp::now(), Instant::now());
    let mut lasting = Lasting::default();
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return,
            done = beat(&host, &mut reporter, &mut lasting) => if let Err(error) = done {
                tracing::debug!(%error, "the hosts could not be read or written yet");
            }
        }
        tokio::select! {
            biased;
            () = stop.wait() => return,
            () = tokio::time::sleep(REPORT_EVERY) => {}
        }
    }
}

async fn beat(
    host: &Host,
    reporter: &mut Reporter,
    lasting: &mut Lasting,
) -> Result<(), StoreError> {
    let report = reporter.report(&host.in_force(), Instant::now());
    host.store.report(report).await?;
    let hosts = host.store.hosts().await?;
    survey(host, &hosts);
    let found = lasting.note(&differences(&hosts), Instant::now());
    for difference in &found.new {
        tracing::warn!(
            event = "hosts_differ",
            difference,
            "hosts on the same store differ for more than a minute",
        );
    }
    host.metrics.hosts.differ(found.all.len());
    host.host_differences.store(Arc::new(found.all));
    Ok(())
}

/// Sets the gauges of hosts by state, and of the duties of this host.
fn survey(host: &Host, hosts: &[KnownHost]) {
    let count = |state| hosts.iter().filter(|host| Vitality::of(host) == state).count();
    for state in [Vitality::Alive, Vitality::Silent, Vitality::Stopped] {
        host.metrics.hosts.count(state.as_str(), count(state));
    }
    let this = hosts.iter().find(|known| known.id == host.store.this_host());
    host.metrics.hosts.hold(this.map_or(0, |this| this.duties.len()));
}
