//! `tocsin alerts`: lists, shows and changes alerts through the admin API.

use std::io::{self, IsTerminal as _};

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use tocsin_plugin_api::Urgency;

use super::{
    Connection, UsageError,
    arguments::{parse_time, parse_urgency},
    client::{ApiError, Client},
    output,
    pages::{self, PagedList},
    times::local,
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
    ///
    /// Names them by number or id, or all that match a filter.
    Ack(Several),
    /// Resolve alerts: their problems are over
    ///
    /// Names them by number or id, or all that match a filter.
    Resolve(Several),
    /// Add a note to the history of an alert
    Note(Note),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    filter: Filter,
    /// Show at most this many alerts
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

/// Filter of alerts. Each option that is given has to match.
#[derive(Args, Clone, Debug)]
struct Filter {
    /// Only alerts with this status: open, acknowledged or resolved
    #[arg(long, value_parser = parse_status)]
    status: Option<Status>,
    /// Only alerts with this urgency: low, medium, high or critical
    #[arg(long, value_parser = parse_urgency)]
    urgency: Option<Urgency>,
    /// Only alerts of this integration
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// Only alerts that were opened since this time, such as `2026-11-24T10:00:00Z`, or `2h` for two hours
    /// ago
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Only alerts with this text in their title, description, dedup key or details
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

impl Filter {
    /// Returns the parameters of the API's list.
    fn query(&self) -> [(&'static str, Option<String>); 5] {
        [
            ("status", self.status.map(|status| status.to_string())),
            ("urgency", self.urgency.map(|urgency| urgency.to_string())),
            ("integration", self.integration.clone()),
            ("since", self.since.map(|since| since.to_string())),
            ("search", self.search.clone()),
        ]
    }

    /// Returns true if no option is given, so that every alert matches.
    fn is_empty(&self) -> bool {
        self.query().iter().all(|(_, value)| value.is_none())
    }
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
    #[arg(value_name = "ALERT")]
    alerts: Vec<AlertRef>,
    #[command(flatten)]
    filter: Filter,
    /// Every alert that is not in the wanted status yet
    #[arg(long)]
    all: bool,
    /// Do not ask before all alerts that match a filter are changed
    #[arg(long)]
    yes: bool,
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
        Some(Verb::Ack(options)) => change(&options, Change::Acknowledge),
        Some(Verb::Resolve(options)) => change(&options, Change::Resolve),
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
            format!("{:.0}", local(alert.created_at)),
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
    let client = Client::new(&options.connection)?;
    pages::fetch(&client, "/api/v1/alerts", &options.filter.query(), options.limit as usize)
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

/// Change of several alerts.
#[derive(Clone, Copy)]
enum Change {
    Acknowledge,
    Resolve,
}

impl Change {
    /// Returns the name of the API's route.
    fn route(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }

    /// Returns the statuses of the alerts that can still be changed so.
    fn statuses(self) -> &'static [Status] {
        match self {
            Self::Acknowledge => &[Status::Open],
            Self::Resolve => &[Status::Open, Status::Acknowledged],
        }
    }
}

fn change(options: &Several, change: Change) -> anyhow::Result<()> {
    let is_by_filter = options.all || !options.filter.is_empty();
    let message = match (options.alerts.is_empty(), is_by_filter) {
        (true, true) => return change_all(options, change),
        (false, false) => {
            let client = Client::new(&options.connection)?;
            let mut alerts = options.alerts.iter();
            return alerts.try_for_each(|alert| change_one(&client, options, change, alert));
        }
        (true, false) => {
            "no alert is named\nhint: give numbers or ids, or a filter such as `--integration NAME`, or `--all`"
        }
        (false, true) => {
            "alerts are named, and a filter is given\nhint: give either numbers or ids, or a filter"
        }
    };
    Err(UsageError(message.into()).into())
}

fn change_one(
    client: &Client,
    options: &Several,
    change: Change,
    alert: &impl std::fmt::Display,
) -> anyhow::Result<()> {
    let path = format!("/api/v1/alerts/{alert}/{}", change.route());
    let alert: AlertWithHistory = client.post(&path)?;
    if options.json {
        return output::print_json(&alert);
    }
    let alert = &alert.alert;
    output::print_line(&format!("{} {} {}", alert.number, alert.status, alert.title))
}

/// Changes all alerts that match the filter, after a question.
fn change_all(options: &Several, change: Change) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let verb = change.route();
    let mut matching = Vec::new();
    let wanted = change.statuses().iter();
    for status in wanted.filter(|status| options.filter.status.is_none_or(|one| one == **status)) {
        let filter = Filter { status: Some(*status), ..options.filter.clone() };
        let list: AlertList = pages::fetch(&client, "/api/v1/alerts", &filter.query(), usize::MAX)?;
        matching.extend(list.alerts);
    }
    matching.sort_by_key(|alert| alert.number);
    if matching.is_empty() {
        output::print_error(&format!("no alert to {verb} matches"));
        return Ok(());
    }
    let count = counted(matching.len());
    if !options.yes && !asked(&format!("{verb} {count}? [y/N] "), &count)? {
        output::print_error("nothing was changed");
        return Ok(());
    }
    let mut left = Vec::new();
    for alert in &matching {
        match change_one(&client, options, change, &alert.number) {
            // Others may have changed or deleted an alert since it was counted.
            Err(error) if error.is::<ApiError>() => {
                left.push(format!("{}: {error:#}", alert.number));
            }
            result => result?,
        }
    }
    let changed = matching.len() - left.len();
    output::print_error(&format!("{verb}d {changed} of {count}"));
    if left.is_empty() {
        return Ok(());
    }
    bail!("{} could not be changed:\n{}", counted(left.len()), left.join("\n"))
}

fn counted(alerts: usize) -> String {
    if alerts == 1 { "1 alert".into() } else { format!("{alerts} alerts") }
}

/// Asks a question on the terminal, and returns true if the answer is yes.
fn asked(question: &str, count: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        let message =
            format!("{count} would be changed, and nobody can be asked\nhint: add `--yes`");
        return Err(UsageError(message).into());
    }
    output::print_question(question);
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
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
        (
            "Resolves at",
            alert.resolves_at.map(|at| format!("{:.0}", local(at))).unwrap_or_default(),
        ),
        ("Dedup key", alert.dedup_key.clone().unwrap_or_default()),
        ("Link", alert.link.clone().unwrap_or_default()),
        ("Request", alert.request_id.to_string()),
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
        more => format!("{more}, the last {:.0}", local(alert.last_occurred_at)),
    }
}

fn print_entry(entry: &HistoryEntry) -> anyhow::Result<()> {
    let change = entry.change.as_str();
    let times = match entry.count {
        1 => String::new(),
        more => format!(", {more} times until {:.0}", local(entry.last_at)),
    };
    let next = entry.next.map_or_else(String::new, |number| format!(", as #{number}"));
    let line = format!("  {:.3}  {change:<12} by {}{times}{next}", local(entry.at), entry.by);
    output::print_line(&line)?;
    for Difference { field, kept, reported } in &entry.differences {
        output::print_line(&format!("      {field} stays `{kept}`, reported was `{reported}`"))?;
    }
    entry.note.as_ref().map_or(Ok(()), |note| output::print_quoted(6, note))
}
