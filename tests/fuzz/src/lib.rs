//! What every fuzz target of a plugin promises.
//!
//! No plugin is named here: two in one program would export the same names.

use tocsin_plugin_api::{Integration, Request, outcome::Outcome};

/// The token that the seeds show.
pub const TOKEN: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";

/// Gives a plugin a request twice: it does not fail, says the same both times, and what it says is
/// what the host reads.
///
/// # Panics
///
/// Where the plugin breaks that promise.
pub fn receive_twice<I: Integration>(plugin: &I, request: &Request<'_>) {
    let received = || Outcome::from(plugin.receive(request));
    let outcome = received();
    assert!(!matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert_eq!(outcome, received(), "another outcome for the same request");
    let read = Outcome::from_json(&outcome.clone().to_json()).expect("it was just written");
    assert_eq!(outcome, read, "another outcome behind the boundary");
}
