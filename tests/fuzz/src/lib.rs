//! Check that all fuzz targets of plugins share.
//!
//! No plugin is a dependency here, because two plugins in one program would export the same
//! symbols.

use tocsin_plugin_api::{Integration, Request, outcome::Outcome};

/// Token in the seeds.
pub const TOKEN: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";

/// Gives a plugin a request twice, and compares the outcome with the outcome that a host reads from
/// its JSON.
///
/// # Panics
///
/// If the plugin fails, the two outcomes differ, or the host reads another outcome.
pub fn receive_twice<I: Integration>(plugin: &I, request: &Request<'_>) {
    let received = || Outcome::from(plugin.receive(request));
    let outcome = received();
    assert!(!matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert_eq!(outcome, received(), "another outcome for the same request");
    let read = Outcome::from_json(&outcome.clone().to_json()).expect("it was just written");
    assert_eq!(outcome, read, "another outcome behind the boundary");
}
