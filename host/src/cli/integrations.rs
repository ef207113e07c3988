//! `tocsin integrations`: the endpoints, what serves them, and what is wrong with them.

use super::{
    Inventory,
    rehearsal::{ask, print_problems, rehearse},
    table,
};
use crate::api::status::{BreakerStateName, IntegrationList, IntegrationStatus};

pub(super) fn list(inventory: &Inventory) -> anyhow::Result<()> {
    let live = ask::<IntegrationList>(inventory, "/api/v1/integrations")?;
    let integrations = match live {
        Some(list) => list.integrations,
        None => rehearse(inventory)?.integrations(),
    };
    if inventory.json {
        return table::print_json(&IntegrationList { integrations });
    }
    print_integrations(&integrations)?;
    let problems = integrations.iter().map(|one| (one.name.as_str(), &one.problem));
    print_problems(problems)
}

pub(super) fn print_integrations(integrations: &[IntegrationStatus]) -> anyhow::Result<()> {
    if integrations.is_empty() {
        return table::print_line("no integrations");
    }
    let row = |integration: &IntegrationStatus| {
        let plugin = integration.plugin.as_ref();
        vec![
            integration.name.clone(),
            state(integration),
            plugin.map_or_else(|| "-".into(), ToString::to_string),
            integration.urgency.to_string(),
            integration.endpoint.clone(),
        ]
    };
    let header = ["INTEGRATION", "STATE", "PLUGIN", "URGENCY", "ENDPOINT"];
    table::print(&header, &integrations.iter().map(row).collect::<Vec<_>>())
}

/// With what the breaker has to do with it.
fn state(integration: &IntegrationStatus) -> String {
    let state = &integration.state;
    match integration.breaker.as_ref().map(|breaker| breaker.state) {
        None | Some(BreakerStateName::Closed) => state.clone(),
        Some(BreakerStateName::Open) => format!("{state} (breaker open)"),
        Some(BreakerStateName::HalfOpen) => format!("{state} (breaker half open)"),
    }
}
