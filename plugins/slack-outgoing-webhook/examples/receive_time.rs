//! Time of one call: `cargo run --release --example receive_time`.
//!
//! Only `receive` is timed, without the boundary to the host and the JSON that crosses it.

#![expect(clippy::print_stdout, reason = "the example prints its measurements")]

use std::{hint::black_box, time::Instant};

use slack_outgoing_webhook::{Options, SlackOutgoingWebhook};
use tocsin_plugin_api::prelude::*;

const CALLS_PER_ROUND: u32 = 200;
const ROUNDS: usize = 501;

const SLACK: &str = "token=Xk3vT9pQz7LmN2rB8sWc4dYf&team_id=T3R0C6ABC&team_domain=pagertree\
    &service_id=398047594123&channel_id=C014E5UMZ1S&channel_name=production\
    &timestamp=1664813178.766549&user_id=U3QTH7ABC&user_name=austinrmiller1991\
    &text=outage+check+servers+high&trigger_word=outage";

const MATTERMOST: &str = r##"{"token": "Xk3vT9pQz7LmN2rB8sWc4dYf", "team_id": "abcdefg",
    "team_domain": "team_domain", "channel_id": "hijklmnop", "channel_name": "noc-ops-center",
    "timestamp": 1656637234966, "user_id": "qrstuvwxyz", "user_name": "joe.bob",
    "post_id": "0123456789", "text": "#page_noc cRitical outage on server-1",
    "trigger_word": "#page_noc", "file_ids": ""}"##;

fn main() -> Result<(), OptionsError> {
    let token = Some(Secrets::new([Secret::new("Xk3vT9pQz7LmN2rB8sWc4dYf")]));
    let plugin = SlackOutgoingWebhook::new(Options { token, ..Options::default() })?;
    let marked_up = "&text=".to_owned()
        + &"%3C%40U1%7Cbob%3E+says+%26lt%3Bdb1%26gt%3B+is+high,+see+%3Chttps://x.example%7Cit%3E%0A"
            .repeat(50);
    let (start, end) = SLACK.split_once("&text=outage+check+servers+high").unwrap_or((SLACK, ""));
    for (name, content_type, body) in [
        ("slack form", "application/x-www-form-urlencoded", SLACK),
        ("slack form, 5 kB of marked-up text", "", &[start, &marked_up, end].concat()),
        ("mattermost json", "application/json", MATTERMOST),
        ("wrong token", "", "token=Xk3vT9pQz7LmN2rB8sWc4dYg&text=db1+down"),
    ] {
        let request =
            Request::post(body.as_bytes()).with_header("content-type", content_type.as_bytes());
        let (median, best) = median_and_best_ns(&plugin, &request);
        println!("{name}: {median} ns per call, at best {best}");
    }
    Ok(())
}

fn median_and_best_ns(plugin: &SlackOutgoingWebhook, request: &Request<'_>) -> (u128, u128) {
    let mut rounds: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..CALLS_PER_ROUND {
                let _ = black_box(plugin.receive(black_box(request)));
            }
            started.elapsed().as_nanos() / u128::from(CALLS_PER_ROUND)
        })
        .collect();
    rounds.sort_unstable();
    (rounds[ROUNDS / 2], rounds[0])
}
