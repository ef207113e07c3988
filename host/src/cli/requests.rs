//! `tocsin requests`: lists, shows and replays webhook requests through the admin API.

use std::io::{IsTerminal, stderr};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use ulid::Ulid;

use super::{
    Connection,
    arguments::parse_time,
    client::{ApiError, Client},
    output,
    pages::{self, PagedList},
    times::local,
};
use crate::{
    api::requests::{RawView, RequestList},
    replay::ReplayReport,
    request::{EventEffect, RawState, RequestOutcome, RequestRecord},
};

#[derive(Args, Debug)]
pub(super) struct Requests {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List requests with their outcomes, newest first (the default)
    List(List),
    /// Show a request with its outcome, and its headers and body if they are kept
    Show(One),
    /// Run kept requests again through the plugin version that serves now
    ///
    /// A replay never repeats an event, however often it is run. A request on which the plugin
    /// fails again keeps waiting.
    Replay(Replay),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
    /// Show only requests with this outcome: events, ignored, malformed, failed, unauthorized, refused or
    /// maintenance
    #[arg(long, value_parser = parse_outcome)]
    outcome: Option<RequestOutcome>,
    /// Show only requests of this integration
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// Show only requests that wait for a replay because their plugin failed
    #[arg(long)]
    quarantined: bool,
    /// Show only requests since this time, such as `2026-11-24T10:00:00Z`, or `2h` for two hours ago
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Show only requests until this time, such as `2026-11-24T10:00:00Z`, or `2h` for two hours ago
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Show at most this many requests
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
    /// Id of the request, from the header `X-Request-Id` of its answer or from an alert's history
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: Ulid,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Replay {
    #[command(flatten)]
    connection: Connection,
    /// Ids of the requests
    #[arg(value_name = "ID", value_parser = parse_id, required_unless_present = "failed")]
    ids: Vec<Ulid>,
    /// Replay all requests that wait because their plugin failed, the oldest first
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    /// With `--failed`: replay only requests of this integration
    #[arg(long, value_name = "NAME", requires = "failed")]
    integration: Option<String>,
    /// Change nothing; show the outcome that each replay would have, and differences from the first one
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, as the API returns it, one object a line
    #[arg(long)]
    json: bool,
}

fn parse_outcome(name: &str) -> Result<RequestOutcome, String> {
    let found = RequestOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == name);
    found.ok_or_else(|| {
        let names = RequestOutcome::ALL.map(RequestOutcome::as_str);
        format!("write one of {}", names.join(", "))
    })
}

fn parse_id(text: &str) -> Result<Ulid, String> {
    Ulid::from_string(text).map_err(|_| {
        "is not the id of a request; the header `X-Request-Id` of an answer holds the id, and `tocsin requests` lists ids".into()
    })
}

pub(super) fn run(requests: Requests) -> anyhow::Result<()> {
    match requests.verb {
        None => list(&requests.list),
        Some(Verb::List(options)) => list(&options),
        Some(Verb::Show(options)) => show(&options),
        Some(Verb::Replay(options)) => replay(&options),
    }
}

fn list(options: &List) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let list = fetch(&client, options, options.limit as usize)?;
    if options.json {
        return output::print_json(&list);
    }
    if list.requests.is_empty() {
        return output::print_line("no requests");
    }
    let row = |request: &RequestRecord| {
        let alerts = request.alert.map(|number| format!("#{number}"));
        vec![
            request.id.to_string(),
            format!("{:.0}", local(request.received_at)),
            request.integration.clone(),
            outcome(request),
            alerts.unwrap_or_default(),
            request.sender.clone().unwrap_or_default(),
            request.size_bytes.map(|size| size.to_string()).unwrap_or_default(),
            request.reason.clone().unwrap_or_default(),
        ]
    };
    let header =
        ["REQUEST", "RECEIVED", "INTEGRATION", "OUTCOME", "ALERT", "SENDER", "BYTES", "REASON"];
    output::print_table(&header, &list.requests.iter().map(row).collect::<Vec<_>>())?;
    if list.next_cursor.is_some() {
        output::print_error("there are more requests; raise --limit to see them");
    }
    Ok(())
}

fn outcome(request: &RequestRecord) -> String {
    let waits = request.raw == RawState::Quarantined;
    match &request.replay {
        Some(replay) => format!("{}, replayed: {}", request.outcome, replay.outcome),
        None if waits => format!("{}, waits", request.outcome),
        None => request.outcome.to_string(),
    }
}

/// Fetches requests up to the limit.
fn fetch(client: &Client, options: &List, limit: usize) -> anyhow::Result<RequestList> {
    let filters = [
        ("outcome", options.outcome.map(|outcome| outcome.to_string())),
        ("integration", options.integration.clone()),
        ("quarantined", options.quarantined.then(|| "true".into())),
        ("since", options.since.map(|time| time.to_string())),
        ("until", options.until.map(|time| time.to_string())),
    ];
    pages::fetch(client, "/api/v1/requests", &filters, limit)
}

impl PagedList for RequestList {
    fn count(&self) -> usize {
        self.requests.len()
    }

    fn next_cursor(&self) -> Option<&String> {
        self.next_cursor.as_ref()
    }

    fn append(&mut self, page: Self) {
        self.requests.extend(page.requests);
        self.next_cursor = page.next_cursor;
    }
}

fn show(options: &One) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let path = format!("/api/v1/requests/{}", options.id);
    let request: RequestRecord = client.get(&path)?;
    if options.json {
        return output::print_json(&request);
    }
    print_request(&request)?;
    if request.raw != RawState::Absent {
        print_raw(&client.get(&format!("{path}/raw"))?)?;
    }
    Ok(())
}

fn print_request(request: &RequestRecord) -> anyhow::Result<()> {
    output::print_line(&request.id.to_string())?;
    let ms = |us: Option<u64>| us.map(|us| format!("{:.3} ms", us as f64 / 1000.0));
    let mut lines = vec![
        ("Received", Some(format!("{:.3}", local(request.received_at)))),
        ("Integration", Some(request.integration.clone())),
        ("Plugin", request.plugin.as_ref().map(ToString::to_string)),
        ("Sender", request.sender.clone()),
        ("Bytes", request.size_bytes.map(|size| size.to_string())),
        ("Outcome", Some(request.outcome.to_string())),
        ("Reason", request.reason.clone()),
        ("Effects", effects(&request.effects)),
        ("In plugin", ms(request.plugin_us)),
        ("In commit", ms(request.commit_us)),
    ];
    if request.raw == RawState::Quarantined {
        lines.push(("Waits", Some(format!("for `tocsin requests replay {}`", request.id))));
    }
    if let Some(replay) = &request.replay {
        let (at, by, tries) = (replay.at, &replay.by, replay.tries);
        let times = if tries == 1 { String::new() } else { format!(", {tries} times in all") };
        lines.push((
            "Replayed",
            Some(format!("{:.0} by {by}{times}: {}", local(at), replay.outcome)),
        ));
        lines.push(("", replay.reason.clone()));
        lines.push(("", effects(&replay.effects)));
    }
    for (label, value) in lines {
        if let Some(value) = value {
            output::print_field(2, label, &value)?;
        }
    }
    Ok(())
}

/// Most effects that are printed. Further ones are counted.
const MOST_EFFECTS: usize = 100;

fn effects(effects: &[EventEffect]) -> Option<String> {
    let word = |effect: &EventEffect| match effect.alert {
        Some(number) => format!("{} #{number}", effect.effect),
        None => effect.effect.clone(),
    };
    let mut words: Vec<_> = effects.iter().take(MOST_EFFECTS).map(word).collect();
    if effects.len() > MOST_EFFECTS {
        words.push(format!("and {} more, see `--json`", effects.len() - MOST_EFFECTS));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

fn print_raw(raw: &RawView) -> anyhow::Result<()> {
    output::print_line("")?;
    if !raw.query.is_empty() {
        output::print_line(&format!("  ?{}", raw.query))?;
    }
    for header in &raw.headers {
        output::print_line(&format!("  {}: {}", header.name, header.value))?;
    }
    output::print_line("")?;
    output::print_quoted(2, &raw.body)
}

fn replay(options: &Replay) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let ids = if options.failed { waiting(&client, options)? } else { options.ids.clone() };
    if ids.is_empty() {
        return output::print_line("no request waits for a replay");
    }
    let (mut failed, mut refused) = (0, 0);
    let shows_progress = ids.len() > 1 && stderr().is_terminal();
    for (done, id) in ids.iter().enumerate() {
        if shows_progress {
            eprint!("\r{done} of {}\r", ids.len());
        }
        let query = if options.dry_run { "?dry_run=true" } else { "" };
        let path = format!("/api/v1/requests/{id}/replay{query}");
        match client.post::<ReplayReport>(&path) {
            Ok(report) => {
                let outcome = report.outcome;
                let is_in_vain =
                    matches!(outcome, RequestOutcome::Failed | RequestOutcome::Refused);
                failed += usize::from(is_in_vain);
                print_report(&report, options)?;
            }
            // Requests of another integration may still succeed.
            Err(error) if error.is::<ApiError>() && ids.len() > 1 => {
                refused += 1;
                output::print_error(&format!("error: {id}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    if ids.len() > 1 && !options.json {
        let (what, count) =
            (if options.dry_run { "would be replayed" } else { "replayed" }, ids.len());
        output::print_line(&format!("{} {what}, {failed} of them failed", count - refused))?;
    }
    anyhow::ensure!(refused == 0, "{refused} of {} requests could not be replayed", ids.len());
    anyhow::ensure!(failed == 0, "the plugin failed on {failed} of {} requests", ids.len());
    Ok(())
}

/// Fetches the ids of all requests that wait for a replay, in the order of their arrival.
fn waiting(client: &Client, options: &Replay) -> anyhow::Result<Vec<Ulid>> {
    let which = List {
        connection: options.connection.clone(),
        outcome: None,
        integration: options.integration.clone(),
        quarantined: true,
        since: None,
        until: None,
        limit: 0,
        json: false,
    };
    let mut requests = fetch(client, &which, usize::MAX)?.requests;
    // Ids of the same millisecond are in no order; transactions keep the order of each sender.
    requests.sort_by_key(|request| (request.transaction, request.id));
    Ok(requests.iter().map(|request| request.id).collect())
}

fn print_report(report: &ReplayReport, options: &Replay) -> anyhow::Result<()> {
    if options.json {
        return output::print_json_line(report);
    }
    let said = effects(&report.effects).or_else(|| report.reason.clone());
    let said = said.map_or_else(String::new, |said| format!(": {said}"));
    output::print_line(&format!("{} {}{said}", report.id, report.outcome))?;
    if options.dry_run {
        for difference in &report.differences {
            let (field, then, now) = (&difference.field, &difference.kept, &difference.reported);
            output::print_line(&format!("  {field}: `{then}` then, `{now}` now"))?;
        }
    }
    Ok(())
}
