//! `tocsin integrations`: lists endpoints, the plugins that serve them, and their problems.

use super::{
    Inventory,
    offline::{ask_host, load_offline, print_problems},
    output,
    times::local,
};
use crate::api::status::{BreakerStateName, IntegrationList, IntegrationStatus};

pub(super) fn list(inventory: &Inventory) -> anyhow::Result<()> {
    let live = ask_host::<IntegrationList>(inventory, "/api/v1/integrations")?;
    let integrations = match live {
        Some(list) => list.integrations,
        None => load_offline(inventory)?.integrations(),
    };
    if inventory.json {
        return output::print_json(&IntegrationList { integrations });
    }
    print_integrations(&integrations)?;
    let problems =
        integrations.iter().map(|one| (one.name.as_str(), &one.problem, one.place.as_ref()));
    print_problems(problems)
}

pub(super) fn print_integrations(integrations: &[IntegrationStatus]) -> anyhow::Result<()> {
    if integrations.is_empty() {
        return output::print_line("no integrations");
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
    output::print_table(&header, &integrations.iter().map(row).collect::<Vec<_>>())
}

/// Returns the state in an [`IntegrationStatus`], with maintenance, an open breaker and stuck threads if
/// there are any.
pub(super) fn state(integration: &IntegrationStatus) -> String {
    let breaker = integration.breaker.as_ref().and_then(|breaker| match breaker.state {
        BreakerStateName::Closed => None,
        BreakerStateName::Open => Some("breaker open".to_owned()),
        BreakerStateName::HalfOpen => Some("breaker half open".to_owned()),
    });
    let stuck = match integration.stuck_threads {
        0 => None,
        1 => Some("1 thread stuck".to_owned()),
        more => Some(format!("{more} threads stuck")),
    };
    let maintenance = integration.maintenance.as_ref().map(|maintenance| match maintenance.until {
        Some(until) => format!("in maintenance until {:.0}", local(until)),
        None => "in maintenance".to_owned(),
    });
    let unusual: Vec<_> = maintenance.into_iter().chain(breaker).chain(stuck).collect();
    if unusual.is_empty() {
        return integration.state.as_str().into();
    }
    format!("{} ({})", integration.state.as_str(), unusual.join(", "))
}
