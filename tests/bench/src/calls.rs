//! Time of a call to a plugin through its library, and the share of that time that the boundary
//! takes.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::ensure;
use serde_json::json;
use tocsin_plugin_api::{Integration, Request, outcome::Outcome, request::Header, testing};

use crate::subject::TOKEN;

pub(crate) struct Calls {
    /// Time of a call through the library until the host has the outcome.
    pub(crate) through_library_us: f64,
    /// Part of that time that is not the plugin's own work.
    pub(crate) boundary_us: f64,
}

const BATCHES: usize = 400;
const CALLS: usize = 500;

/// Measures the Slack plugin with a usual message, and returns the median of many batches.
pub(crate) fn measure(plugins: &Path) -> anyhow::Result<Calls> {
    let options = json!({ "token": TOKEN });
    let body = format!(
        "token={TOKEN}&team_id=T3R0C6ABC&team_domain=pagertree&service_id=398047594123\
         &channel_id=C014E5UMZ1S&channel_name=production&timestamp=1664813178.766549&user_id=U3QTH7ABC\
         &user_name=austinrmiller1991&text=outage+check+servers+high&trigger_word=outage"
    );
    let headers = [
        Header::new("host", b"127.0.0.1:8080"),
        Header::new("content-type", b"application/x-www-form-urlencoded"),
        Header::new("user-agent", b"Slackbot 1.0 (+https://api.slack.com/robots)"),
        Header::new("accept", b"application/json,*/*"),
        Header::new("content-length", b"300"),
    ];
    let request = Request::new("POST", "", &headers, body.as_bytes());

    let library = testing::Library::open(&slack(plugins)?);
    let instance = library.instance(&options).map_err(|error| anyhow::anyhow!("{error}"))?;
    let value = testing::Value::<slack_outgoing_webhook::SlackOutgoingWebhook>::instance(&options);
    let value = value.map_err(|error| anyhow::anyhow!("{error}"))?;
    let through = instance.receive(&request).map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(through == Outcome::from(value.receive(&request)), "both ways give the same");

    // Batches alternate, so that other work of the machine affects both alike.
    let (mut through_library, mut as_value) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        through_library.push(batch(|| {
            black_box(instance.receive(black_box(&request)).is_ok());
        }));
        as_value.push(batch(|| {
            black_box(value.receive(black_box(&request)).is_ok());
        }));
    }
    let (through_library_us, as_value_us) = (median(through_library), median(as_value));
    Ok(Calls { through_library_us, boundary_us: through_library_us - as_value_us })
}

fn slack(plugins: &Path) -> anyhow::Result<PathBuf> {
    let library = plugins.join("libslack_outgoing_webhook.so");
    ensure!(library.exists(), "`{}` is missing", library.display());
    Ok(library)
}

/// Returns the microseconds of one call.
fn batch(mut call: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    started.elapsed().as_secs_f64() * 1e6 / CALLS as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
