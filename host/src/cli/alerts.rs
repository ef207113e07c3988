//! `tocsin alerts`: what was received, and its life.

use clap::{Args, Subcommand};
use tocsin_plugin_api::Urgency;

use super::{Connection, client::Client, table};
use crate::{
    alert::{AlertRef, AlertWithHistory, Status},
    api::alerts::AlertList,
};

#[derive(Args, Debug)]
pub(super) struct Alerts {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List alerts, newest first (what `tocsin alerts` does alone)
    List(List),
    /// Show an alert with everything that happened to it
    Show(One),
    /// Say that somebody has taken alerts on
    Ack(Several),
    /// Say that alerts are over
    Resolve(Several),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
    /// Only with this status: open, acknowledged or resolved
    #[arg(long, value_parser = parse_status)]
    status: Option<Status>,
    /// Only with this urgency: low, medium, high or critical
    #[arg(long, value_parser = parse_urgency)]
    urgency: Option<Urgency>,
    /// Only of this integration
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON, as the API gives it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct One {
    #[command(flatten)]
    connection: Connection,
    /// The alert's number or id
    #[arg(value_name = "ALERT")]
    alert: AlertRef,
    /// Print JSON, as the API gives it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Several {
    #[command(flatten)]
    connection: Connection,
    /// The alerts' numbers or ids
    #[arg(value_name = "ALERT", required = true)]
    alerts: Vec<AlertRef>,
    /// Print JSON, as the API gives it
    #[arg(long)]
    json: bool,
}

fn parse_status(name: &str) -> Result<Status, String> {
    let found = Status::ALL.into_iter().find(|status| status.as_str() == name);
    found.ok_or_else(|| "write open, acknowledged or resolved".into())
}

fn parse_urgency(name: &str) -> Result<Urgency, String> {
    Urgency::from_name(name).ok_or_else(|| "write low, medium, high or critical".into())
}

pub(super) fn run(alerts: Alerts) -> anyhow::Result<()> {
    match alerts.verb {
        None => list(&alerts.list),
        Some(Verb::List(options)) => list(&options),
        Some(Verb::Show(options)) => show(&options),
        Some(Verb::Ack(options)) => change(&options, "acknowledge"),
        Some(Verb::Resolve(options)) => change(&options, "resolve"),
    }
}

fn list(options: &List) -> anyhow::Result<()> {
    let list = fetch(options)?;
    if options.json {
        return table::print_json(&list);
    }
    if list.alerts.is_empty() {
        return table::print_line("no alerts");
    }
    let row = |alert: &crate::alert::Alert| {
        let detail = |label: &str| {
            let mut details = alert.details.iter();
            let found = details.find(|detail| detail.label == label);
            found.map_or_else(String::new, |detail| detail.value.clone())
        };
        vec![
            alert.number.to_string(),
            alert.status.to_string(),
            alert.urgency.to_string(),
            alert.integration.clone(),
            alert.title.clone(),
            detail("Channel"),
            detail("User"),
            detail("Trigger"),
            alert.occurrences.to_string(),
            format!("{:.0}", alert.created_at),
            alert.link.clone().unwrap_or_default(),
        ]
    };
    let header = [
        "NUMBER",
        "STATUS",
        "URGENCY",
        "INTEGRATION",
        "TITLE",
        "CHANNEL",
        "USER",
        "TRIGGER",
        "SEEN",
        "CREATED",
        "LINK",
    ];
    table::print(&header, &list.alerts.iter().map(row).collect::<Vec<_>>())?;
    if list.next_cursor.is_some() {
        eprintln!("there are more; --limit shows them");
    }
    Ok(())
}

/// As many pages as the limit takes.
fn fetch(options: &List) -> anyhow::Result<AlertList> {
    const PAGE: u32 = 500;
    let client = Client::new(&options.connection)?;
    let mut list = AlertList { alerts: Vec::new(), next_cursor: None };
    let mut left = options.limit;
    while left > 0 {
        let mut query = format!("limit={}", left.min(PAGE));
        for (key, value) in [
            ("status", options.status.map(|status| status.to_string())),
            ("urgency", options.urgency.map(|urgency| urgency.to_string())),
            ("integration", options.integration.clone()),
            ("cursor", list.next_cursor.clone()),
        ] {
            if let Some(value) = value {
                query.push_str(&format!("&{key}={}", escape(&value)));
            }
        }
        let page: AlertList = client.get(&format!("/api/v1/alerts?{query}"))?;
        left -= left.min(PAGE);
        list.alerts.extend(page.alerts);
        list.next_cursor = page.next_cursor;
        if list.next_cursor.is_none() {
            break;
        }
    }
    Ok(list)
}

/// A name in a query string: everything but letters, digits, `-` and `_` is escaped.
fn escape(value: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'_' => char::from(byte).to_string(),
        letter if letter.is_ascii_alphanumeric() => char::from(letter).to_string(),
        other => format!("%{other:02X}"),
    };
    value.bytes().map(escape).collect()
}

fn show(options: &One) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let alert: AlertWithHistory = client.get(&format!("/api/v1/alerts/{}", options.alert))?;
    if options.json { table::print_json(&alert) } else { print_alert(&alert) }
}

fn change(options: &Several, verb: &str) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    for alert in &options.alerts {
        let alert: AlertWithHistory = client.post(&format!("/api/v1/alerts/{alert}/{verb}"))?;
        if options.json {
            table::print_json(&alert)?;
        } else {
            let alert = &alert.alert;
            table::print_line(&format!("{} {} {}", alert.number, alert.status, alert.title))?;
        }
    }
    Ok(())
}

fn print_alert(AlertWithHistory { alert, history }: &AlertWithHistory) -> anyhow::Result<()> {
    table::print_line(&format!("#{} {}", alert.number, alert.title))?;
    let mut lines = vec![
        ("Id".to_owned(), alert.id.to_string()),
        ("Status".into(), alert.status.to_string()),
        ("Urgency".into(), alert.urgency.to_string()),
        ("Integration".into(), alert.integration.clone()),
        ("Plugin".into(), alert.plugin.to_string()),
        ("Occurrences".into(), alert.occurrences.to_string()),
        ("Dedup key".into(), alert.dedup_key.clone().unwrap_or_default()),
        ("Link".into(), alert.link.clone().unwrap_or_default()),
    ];
    lines.extend(alert.details.iter().map(|detail| (detail.label.clone(), detail.value.clone())));
    for (label, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        table::print_line(&format!("  {label:<12} {value}"))?;
    }
    if let Some(description) = alert.description.as_ref().filter(|text| **text != alert.title) {
        table::print_line("")?;
        for line in description.lines() {
            table::print_line(&format!("  {line}"))?;
        }
    }
    table::print_line("")?;
    for entry in history {
        let change = entry.change.as_str();
        table::print_line(&format!("  {:.3}  {change:<12} by {}", entry.at, entry.by))?;
    }
    Ok(())
}
