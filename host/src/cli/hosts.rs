//! `tocsin hosts`: the hosts that share a store, and what each of them serves.

use clap::Args;

use super::{Inventory, UsageError, client::Client, output, times::local};
use crate::{
    api::hosts::{HostList, HostStatus, ServedByHost},
    store::hosts::ReportedPlugin,
};

#[derive(Args, Debug)]
pub(super) struct Hosts {
    #[command(flatten)]
    inventory: Inventory,
    /// Name or id of a host, to show its plugins and what each serves
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(options: &Hosts) -> anyhow::Result<()> {
    let list: HostList = Client::new(&options.inventory.connection)?.get("/api/v1/hosts")?;
    match &options.name {
        Some(name) => show(&list.hosts, name, options.inventory.json),
        None if options.inventory.json => output::print_json(&list),
        None => print(&list),
    }
}

fn print(list: &HostList) -> anyhow::Result<()> {
    if list.hosts.is_empty() {
        return output::print_line("no host has reported yet");
    }
    let row = |host: &HostStatus| {
        vec![
            host.name.clone(),
            host.version.clone(),
            host.state.as_str().to_owned(),
            format!("{:.0}", local(host.last_seen_at)),
            uptime(host.uptime_seconds),
            host.duties.join(", "),
        ]
    };
    let header = ["NAME", "VERSION", "STATE", "LAST SEEN", "UPTIME", "DUTIES"];
    output::print_table(&header, &list.hosts.iter().map(row).collect::<Vec<_>>())?;
    list.differences.iter().for_each(|difference| output::print_error(difference));
    Ok(())
}

fn show(hosts: &[HostStatus], name: &str, is_json: bool) -> anyhow::Result<()> {
    let Some(host) = hosts.iter().find(|host| host.name == name || host.id.to_string() == name)
    else {
        let names: Vec<_> = hosts.iter().map(|host| format!("`{}`", host.name)).collect();
        let message =
            format!("there is no host `{name}`\nhint: the hosts are {}", names.join(", "));
        return Err(UsageError(message).into());
    };
    if is_json {
        return output::print_json(host);
    }
    output::print_line(&host.name)?;
    let plugins: Vec<_> = host.plugins.iter().map(with_hash).collect();
    let serves = host.serves.iter().map(|ServedByHost { name, plugin }| {
        let plugin = plugin.as_ref().map_or_else(|| "no plugin".to_owned(), with_version);
        format!("{name}: {plugin}")
    });
    let list = |items: Vec<String>, between: &str| {
        if items.is_empty() { "none".to_owned() } else { items.join(between) }
    };
    for (label, value) in [
        ("id", host.id.to_string()),
        ("state", host.state.as_str().to_owned()),
        ("version", host.version.clone()),
        ("admin API", host.address.clone()),
        ("started", format!("{:.0}", local(host.started_at))),
        ("last seen", format!("{:.0}", local(host.last_seen_at))),
        ("uptime", uptime(host.uptime_seconds)),
        ("duties", list(host.duties.clone(), ", ")),
        ("plugins", list(plugins, "\n")),
        ("serves", list(serves.collect(), "\n")),
    ] {
        output::print_field(2, label, &value)?;
    }
    Ok(())
}

fn with_version(plugin: &ReportedPlugin) -> String {
    format!("{} {}", plugin.name, plugin.version)
}

fn with_hash(plugin: &ReportedPlugin) -> String {
    format!("{} (sha256 {})", with_version(plugin), plugin.sha256)
}

/// Returns a time in its two largest units.
fn uptime(seconds: u64) -> String {
    const UNITS: [(u64, char); 4] = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let (size, name) = UNITS[largest];
    let first = format!("{}{name}", seconds / size);
    match UNITS.get(largest + 1) {
        Some((next, name)) => format!("{first} {}{name}", seconds % size / next),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_has_its_two_largest_units() {
        let shown = [0, 59, 60, 3_725, 86_399, 86_400, 400_000].map(uptime);
        assert_eq!(shown, ["0s", "59s", "1m 0s", "1h 2m", "23h 59m", "1d 0h", "4d 15h"]);
    }
}
