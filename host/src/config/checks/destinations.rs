//! Checks of `[destinations.NAME]`.

use std::collections::BTreeMap;

use tocsin_plugin_api::notification::Kind;

use super::{Checks, is_url_part};
use crate::config::DestinationConfig;

/// Most attempts of a destination at the same time.
const MOST_PARALLEL: usize = 256;

impl Checks<'_> {
    pub(super) fn check_destinations(
        &mut self,
        destinations: &BTreeMap<String, DestinationConfig>,
    ) {
        for (name, destination) in destinations {
            if !is_url_part(name) {
                self.refuse(
                    &["destinations", name],
                    format!("`{name}` is not the name of a destination"),
                    "use 1 to 64 of a-z, A-Z, 0-9, `-` and `_`",
                );
            }
            self.check_events(name, &destination.events);
            self.check_range(
                &["destinations", name, "parallel"],
                &destination.parallel.get(),
                &(1..=MOST_PARALLEL),
                ("must be from 1 to 256", "leave it out for 8"),
            );
            if destination.allow_http && destination.allow_networks.is_empty() {
                self.refuse(
                    &["destinations", name, "allow_http"],
                    "`allow_networks` is empty, and `http` is only allowed within these networks",
                    "name the network of the server, such as `allow_networks = [\"10.0.0.0/8\"]`",
                );
            }
        }
    }

    fn check_events(&mut self, destination: &str, events: &[Kind]) {
        if events.is_empty() {
            self.refuse(
                &["destinations", destination, "events"],
                "is empty, so that the destination would only be told of escalations",
                "leave it out for `opened`, `acknowledged` and `resolved`",
            );
        }
        for (place, kind) in events.iter().enumerate() {
            let hint = match kind {
                Kind::Escalated => "leave it out: a route with `after` or `repeat` escalates",
                Kind::Test => "leave it out: `tocsin destinations test` sends a test",
                Kind::Digest => "leave it out: `digest_above` decides when a digest is sent",
                kind if events[..place].contains(kind) => "leave it out: it is named before",
                _ => continue,
            };
            let message = match hint.ends_with("before") {
                true => format!("`{kind}` is named twice"),
                false => format!("`{kind}` is not an event that can be chosen"),
            };
            self.refuse(&["destinations", destination, &format!("events[{place}]")], message, hint);
        }
    }
}
