//! `tocsin plugins list`: every file of the plugins folder.

use crate::{
    api::status::{PluginList, PluginStatus},
    cli::{
        Inventory,
        rehearsal::{ask, print_problems, rehearse},
        table,
    },
};

pub(super) fn list(inventory: &Inventory) -> anyhow::Result<()> {
    let live = ask::<PluginList>(inventory, "/api/v1/plugins")?;
    let plugins = match live {
        Some(list) => list.plugins,
        None => rehearse(inventory)?.plugins(),
    };
    if inventory.json {
        return table::print_json(&PluginList { plugins });
    }
    if plugins.is_empty() {
        return table::print_line("no plugins");
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let row = |plugin: &PluginStatus| {
        vec![
            text(&plugin.name),
            text(&plugin.version),
            plugin.state.clone(),
            text(&plugin.verified),
            plugin.integrations.join(", "),
            plugin.file.clone(),
        ]
    };
    let header = ["PLUGIN", "VERSION", "STATE", "VERIFIED", "INTEGRATIONS", "FILE"];
    table::print(&header, &plugins.iter().map(row).collect::<Vec<_>>())?;
    print_problems(plugins.iter().map(|plugin| (plugin.file.as_str(), &plugin.problem)))
}
