//! Judges the servers that destinations contact by the rules of the guard, before the first delivery.
//!
//! Names are resolved, and nothing is dialled.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::Context;
use http::Uri;

use crate::{
    destination::Destination,
    host::in_force::InForce,
    outbound::{Client, ClientSettings, NetworkRules, Resolve, ResolvedAddresses, SendFailure},
};

/// Timeout for a name. All names are resolved at the same time.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The most servers of a destination that are judged.
const MOST_CONTACTS: usize = 32;

/// Returns a warning for each server that a destination contacts and that its rules refuse, or whose name
/// does not resolve. With `is_offline`, only addresses and `localhost` are judged.
///
/// # Errors
///
/// If the system refuses what a client of servers needs.
pub(super) fn warnings(in_force: &InForce, is_offline: bool) -> anyhow::Result<Vec<String>> {
    let destinations = in_force.destinations.sorted();
    if destinations.iter().all(|destination| destination.ready().is_none()) {
        return Ok(Vec::new());
    }
    let has_proxy = in_force.config.config.delivery.proxy.is_some();
    // The name may be one that only the proxy can resolve.
    let tells_unresolved = !is_offline && !has_proxy;
    let client = client(is_offline)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let warnings = runtime.block_on(async {
        let lookups: Vec<_> = destinations
            .into_iter()
            .flat_map(|destination| contacts(destination))
            .map(|contact| {
                let client = client.clone();
                tokio::spawn(async move { contact.warning(&client, tells_unresolved).await })
            })
            .collect();
        let mut warnings = Vec::new();
        for lookup in lookups {
            warnings.extend(lookup.await.ok().flatten());
        }
        warnings
    });
    // A resolver that does not return is not waited for.
    runtime.shutdown_background();
    Ok(warnings)
}

fn client(is_offline: bool) -> anyhow::Result<Client> {
    let settings = ClientSettings {
        connect_timeout: RESOLVE_TIMEOUT,
        tls_timeout: RESOLVE_TIMEOUT,
        header_timeout: RESOLVE_TIMEOUT,
        body_timeout: RESOLVE_TIMEOUT,
        proxy: None,
        ca_pem: None,
    };
    let client = match is_offline {
        true => Client::with_resolver(&settings, Arc::new(OnlyLocalhost)),
        false => Client::new(&settings),
    };
    client.context("cannot judge the servers of destinations")
}

/// A resolver that asks nobody.
struct OnlyLocalhost;

impl Resolve for OnlyLocalhost {
    fn addresses(&self, name: &str) -> ResolvedAddresses {
        let is_localhost = name == "localhost" || name.ends_with(".localhost");
        Box::pin(async move {
            match is_localhost {
                true => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
                false => Err(io::ErrorKind::NotFound.into()),
            }
        })
    }
}

/// A server that a destination contacts.
struct Contact {
    destination: String,
    /// The base URL, without secrets.
    url: String,
    uri: Option<Uri>,
    rules: NetworkRules,
}

/// Returns the servers that a destination contacts, as its plugin describes them.
fn contacts(destination: &Destination) -> Vec<Contact> {
    let Some(ready) = destination.ready() else { return Vec::new() };
    let contact = |url: &String| Contact {
        destination: destination.name.to_string(),
        url: ready.redactor.text(url),
        uri: url.parse().ok(),
        rules: ready.rules.clone(),
    };
    ready.description.contacts.iter().take(MOST_CONTACTS).map(contact).collect()
}

impl Contact {
    async fn warning(&self, client: &Client, tells_unresolved: bool) -> Option<String> {
        let Self { destination, url, uri, rules } = self;
        let subject = format!("destination `{destination}` contacts `{url}`");
        let Some(uri) = uri else {
            return Some(format!(
                "{subject}, which is no URL; hint: see the options of its plugin"
            ));
        };
        let refusal = match client.look_up(uri, rules).await {
            Ok(judged) => {
                let is_allowed = judged.iter().any(|(_, result)| result.is_ok());
                judged.into_iter().find_map(|(_, result)| result.err()).filter(|_| !is_allowed)?
            }
            Err(SendFailure::Forbidden(problem)) => problem,
            Err(failure) => {
                let warning = format!("{subject}, which cannot be judged now: {failure}");
                return tells_unresolved.then_some(warning);
            }
        };
        Some(format!("{subject}, which will be refused: {}", refusal.one_line()))
    }
}
