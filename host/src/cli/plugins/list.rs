//! `tocsin plugins list`: the files of the plugins folder, and the version that serves each integration.

use crate::{
    api::status::{
        IntegrationStatus, PluginList, PluginStatus, VerifiedBy, WaitingReasonName, WaitingVersion,
    },
    cli::{
        Inventory,
        integrations::state,
        offline::{ask_host, load_offline, print_problems},
        output,
        times::local,
    },
};

pub(super) fn list(inventory: &Inventory) -> anyhow::Result<()> {
    let live = ask_host::<PluginList>(inventory, "/api/v1/plugins")?;
    let list = match live {
        Some(list) => list,
        None => {
            let offline = load_offline(inventory)?;
            PluginList { plugins: offline.plugins(), integrations: offline.integrations() }
        }
    };
    if inventory.json {
        return output::print_json(&list);
    }
    print_files(&list.plugins)?;
    print_services(&list.integrations)?;
    print_file_problems(&list.plugins)?;
    print_problems(list.integrations.iter().map(|one| (one.name.as_str(), &one.notice, None)))
}

/// Prints the [`PluginStatus`] of each file, and its problem.
pub(super) fn print_plugins(plugins: &[PluginStatus]) -> anyhow::Result<()> {
    print_files(plugins)?;
    print_file_problems(plugins)
}

fn print_file_problems(plugins: &[PluginStatus]) -> anyhow::Result<()> {
    print_problems(plugins.iter().map(|plugin| (plugin.file.as_str(), &plugin.problem, None)))
}

fn print_files(plugins: &[PluginStatus]) -> anyhow::Result<()> {
    if plugins.is_empty() {
        return output::print_line("no plugins");
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let notify = plugins.iter().any(|plugin| !plugin.destinations.is_empty());
    let row = |plugin: &PluginStatus| {
        let mut row = vec![
            text(&plugin.name),
            text(&plugin.version),
            plugin.state.as_str().into(),
            plugin.verified.map_or("-", VerifiedBy::as_str).into(),
            plugin.integrations.join(", "),
        ];
        row.extend(notify.then(|| plugin.destinations.join(", ")));
        row.push(plugin.file.clone());
        row
    };
    let mut header = vec!["PLUGIN", "VERSION", "STATE", "VERIFIED", "INTEGRATIONS"];
    header.extend(notify.then_some("DESTINATIONS"));
    header.push("FILE");
    output::print_table(&header, &plugins.iter().map(row).collect::<Vec<_>>())
}

/// Prints the version that serves each integration, its start, and other versions that wait.
fn print_services(integrations: &[IntegrationStatus]) -> anyhow::Result<()> {
    if integrations.is_empty() {
        return Ok(());
    }
    output::print_line("")?;
    let row = |integration: &IntegrationStatus| {
        let serves = integration.plugin.as_ref();
        let waiting: Vec<_> = integration.waiting.iter().map(waiting).collect();
        vec![
            integration.name.clone(),
            state(integration),
            serves.map_or_else(|| "-".into(), ToString::to_string),
            integration.generation.to_string(),
            format!("{:.0}", local(integration.since)),
            waiting.join(", "),
        ]
    };
    let header = ["INTEGRATION", "STATE", "SERVED BY", "GENERATION", "SINCE", "WAITING"];
    output::print_table(&header, &integrations.iter().map(row).collect::<Vec<_>>())
}

fn waiting(waiting: &WaitingVersion) -> String {
    let reason = match waiting.reason {
        WaitingReasonName::Failed => " (failed)",
        WaitingReasonName::NotAllowed => " (not allowed)",
        WaitingReasonName::NotNeeded => "",
    };
    format!("{}{reason} since {:.0}", waiting.version, local(waiting.since))
}
