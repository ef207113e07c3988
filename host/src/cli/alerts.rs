//! `tocsin alerts`: lists, shows and changes alerts through the admin API.

use clap::{Args, Subcommand};
use tocsin_plugin_api::Urgency;

use super::{
    Connection,
    arguments::parse_urgency,
    client::Client,
    output,
    pages::{self, PagedList},
};
use crate::{
    alert::{Alert, AlertRef, AlertWithHistory, Difference, HistoryEntry, Status},
    api::alerts::{self, AlertList},
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
    /// List alerts, newest first (the default)
    List(List),
    /// Show an alert with its history
    Show(One),
    /// Acknowledge alerts: a person works on them
    Ack(Several),
    /// Resolve alerts: their problems are over
    Resolve(Several),
    /// Add a note to the history of an alert
    Note(Note),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
    /// Show only alerts with this status: open, acknowledged or resolved
    #[arg(long, value_parser = parse_status)]
    status: Option<Status>,
    /// Show only alerts with this urgency: low, medium, high or critical
    #[arg(long, value_parser = parse_urgency)]
    urgency: Option<Urgency>,
    /// Show only alerts of this integration
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// Show at most this many alerts
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct One {
    #[command(flatten)]
    connection: Connection,
    /// Number or id of the alert
    #[arg(value_name = "ALERT")]
    alert: AlertRef,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Several {
    #[command(flatten)]
    connection: Connection,
    /// Numbers or ids of the alerts
    #[arg(value_name = "ALERT", required = true)]
    alerts: Vec<AlertRef>,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Note {
    #[command(flatten)]
    connection: Connection,
    /// Number or id of the alert
    #[arg(value_name = "ALERT")]
    alert: AlertRef,
    /// Text of the note, 1 to 10000 characters
    #[arg(value_name = "TEXT")]
    text: String,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

fn parse_status(name: &str) -> Result<Status, String> {
    let found = Status::ALL.into_iter().find(|status| status.as_str() == name);
    found.ok_or_else(|| "write open, acknowledged or resolved".into())
}

pub(super) fn run(options: Alerts) -> anyhow::Result<()> {
    match options.verb {
        None => list(&options.list),
        Some(Verb::List(options)) => list(&options),
        Some(Verb::Show(options)) => show(&options),
        Some(Verb::Ack(options)) => change(&options, "acknowledge"),
        Some(Verb::Resolve(options)) => change(&options, "resolve"),
        Some(Verb::Note(options)) => note(&options),
    }
}

fn list(options: &List) -> anyhow::Result<()> {
    let list = fetch(options)?;
    if options.json {
        return output::print_json(&list);
    }
    if list.alerts.is_empty() {
        return output::print_line("no alerts");
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
    output::print_table(&header, &list.alerts.iter().map(row).collect::<Vec<_>>())?;
    if list.next_cursor.is_some() {
        output::print_error("there are more alerts; raise --limit to see them");
    }
    Ok(())
}

/// Fetches alerts up to the limit.
fn fetch(options: &List) -> anyhow::Result<AlertList> {
    let filters = [
        ("status", options.status.map(|status| status.to_string())),
        ("urgency", options.urgency.map(|urgency| urgency.to_string())),
        ("integration", options.integration.clone()),
    ];
    let client = Client::new(&options.connection)?;
    pages::fetch(&client, "/api/v1/alerts", &filters, options.limit as usize)
}

impl PagedList for AlertList {
    fn count(&self) -> usize {
        self.alerts.len()
    }

    fn next_cursor(&self) -> Option<&String> {
        self.next_cursor.as_ref()
    }

    fn append(&mut self, page: Self) {
        self.alerts.extend(page.alerts);
        self.next_cursor = page.next_cursor;
    }
}

fn show(options: &One) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let alert: AlertWithHistory = client.get(&format!("/api/v1/alerts/{}", options.alert))?;
    if options.json { output::print_json(&alert) } else { print_alert(&alert) }
}

fn change(options: &Several, verb: &str) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    for alert in &options.alerts {
        let alert: AlertWithHistory = client.post(&format!("/api/v1/alerts/{alert}/{verb}"))?;
        if options.json {
            output::print_json(&alert)?;
        } else {
            let alert = &alert.alert;
            output::print_line(&format!("{} {} {}", alert.number, alert.status, alert.title))?;
        }
    }
    Ok(())
}

fn note(options: &Note) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let note = alerts::Note { text: options.text.clone() };
    let path = format!("/api/v1/alerts/{}/notes", options.alert);
    let alert: AlertWithHistory = client.post_json(&path, &note)?;
    if options.json {
        return output::print_json(&alert);
    }
    output::print_line(&format!(
        "noted in the history of {} {}",
        alert.alert.number, alert.alert.title
    ))
}

fn print_alert(AlertWithHistory { alert, history }: &AlertWithHistory) -> anyhow::Result<()> {
    output::print_line(&format!("#{} {}", alert.number, alert.title))?;
    let lines = [
        ("Id", alert.id.to_string()),
        ("Status", alert.status.to_string()),
        ("Urgency", alert.urgency.to_string()),
        ("Integration", alert.integration.clone()),
        ("Plugin", alert.plugin.to_string()),
        ("Occurrences", occurrences(alert)),
        ("Previous", alert.previous.map(|number| format!("#{number}")).unwrap_or_default()),
        ("Resolves at", alert.resolves_at.map(|at| format!("{at:.0}")).unwrap_or_default()),
        ("Dedup key", alert.dedup_key.clone().unwrap_or_default()),
        ("Link", alert.link.clone().unwrap_or_default()),
    ];
    for (label, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        output::print_field(2, label, value)?;
    }
    // Labels come from the sender. Below a heading of their own they cannot pass for the fields above.
    if alert.details.iter().any(|detail| !detail.value.is_empty()) {
        output::print_line("  Details")?;
    }
    for detail in alert.details.iter().filter(|detail| !detail.value.is_empty()) {
        output::print_field(4, &detail.label, &detail.value)?;
    }
    if let Some(description) = alert.description.as_ref().filter(|text| **text != alert.title) {
        output::print_line("")?;
        output::print_quoted(2, description)?;
    }
    output::print_line("")?;
    history.iter().try_for_each(print_entry)
}

fn occurrences(alert: &Alert) -> String {
    match alert.occurrences {
        1 => "1".into(),
        more => format!("{more}, the last {:.0}", alert.last_occurred_at),
    }
}

fn print_entry(entry: &HistoryEntry) -> anyhow::Result<()> {
    let change = entry.change.as_str();
    let times = match entry.count {
        1 => String::new(),
        more => format!(", {more} times until {:.0}", entry.last_at),
    };
    let next = entry.next.map_or_else(String::new, |number| format!(", as #{number}"));
    let line = format!("  {:.3}  {change:<12} by {}{times}{next}", entry.at, entry.by);
    output::print_line(&line)?;
    for Difference { field, kept, reported } in &entry.differences {
        output::print_line(&format!("      {field} stays `{kept}`, reported was `{reported}`"))?;
    }
    entry.note.as_ref().map_or(Ok(()), |note| output::print_quoted(6, note))
}
