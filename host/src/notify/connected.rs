//! Targets made of the destinations in force: plugin, guarded client, and settings.

use std::sync::Arc;

use tocsin_plugin_api::step::{NotifyCall, Step};
use tokio::sync::oneshot;

use super::{
    attempt::{AskNotifier, Coming, SendRequest},
    kinds::Links,
    schedule::Schedule,
    target::Target,
};
use crate::{
    call::{CallFailure, NotifierOutput},
    config::DeliveryConfig,
    destination::{Destination, ReadyDestination},
    outbound::{Client, ClientSettings, NetworkRules, OutboundRequest, Sent},
};

/// Returns the target of a destination; none if it is disabled or broken.
pub(super) fn target(
    destination: &Arc<Destination>,
    client: &Client,
    config: &DeliveryConfig,
) -> Option<Arc<Target>> {
    let ready = destination.ready()?;
    Some(Arc::new(Target {
        notifier: Box::new(Plugin(Arc::clone(destination))),
        sender: Box::new(GuardedLine {
            client: client.clone(),
            rules: Arc::new(ready.rules.clone()),
        }),
        redactor: ready.redactor.clone(),
        pause: ready.pause,
        parallel: ready.parallel,
        settings_digest: ready.settings_digest.clone(),
        schedule: Schedule::of(config),
        links: Links::of_config(config),
    }))
}

/// Returns the settings of the client for a configuration.
pub(super) fn client_settings(config: &DeliveryConfig) -> ClientSettings {
    ClientSettings {
        connect_timeout: config.connect_timeout,
        tls_timeout: config.tls_timeout,
        header_timeout: config.header_timeout,
        body_timeout: config.body_timeout,
        proxy: config.proxy.clone(),
        ca_pem: config.ca_pem.clone(),
    }
}

/// The plugin of a destination.
struct Plugin(Arc<Destination>);

impl AskNotifier for Plugin {
    fn next(&self, call: NotifyCall) -> Coming<Result<Step, CallFailure>> {
        let (sender, receiver) = oneshot::channel();
        match self.0.ready() {
            Some(ReadyDestination { caller, .. }) => caller.notify(
                &call,
                Box::new(move |result| {
                    // The attempt may have been broken off.
                    let _ = sender.send(result);
                }),
            ),
            None => drop(sender),
        }
        Box::pin(async move {
            match receiver.await {
                Ok(Ok(NotifierOutput::Step(step))) => Ok(*step),
                Ok(Ok(NotifierOutput::Description(_))) => {
                    Err(CallFailure::Unusable("the plugin gave no step".into()))
                }
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(CallFailure::Unusable("the host stops".into())),
            }
        })
    }
}

/// The guarded way to a destination.
struct GuardedLine {
    client: Client,
    rules: Arc<NetworkRules>,
}

impl SendRequest for GuardedLine {
    fn send(&self, request: OutboundRequest) -> Coming<Sent> {
        let (client, rules) = (self.client.clone(), Arc::clone(&self.rules));
        Box::pin(async move { client.send(&request, &rules).await })
    }
}
