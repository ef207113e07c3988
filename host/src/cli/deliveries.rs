//! `tocsin deliveries`: lists, shows, retries and discards deliveries through the admin API.

use clap::{Args, Subcommand};
use ulid::Ulid;

use super::{
    Connection,
    client::Client,
    output,
    pages::{self, PagedList},
    times::local,
};
use crate::{
    alert::AlertRef,
    api::{deliveries::DeliveryList, destinations::Changed},
    delivery::{Attempt, Delivery, DeliveryStatus, DeliveryWithAttempts},
};

#[derive(Args, Debug)]
pub(super) struct Deliveries {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List deliveries, newest first (the default)
    List(List),
    /// Show a delivery with its attempts
    Show(One),
    /// Make deliveries due at once, also dead ones
    ///
    /// With `--destination`, ends the parking of the destination, too.
    Retry(Change),
    /// End deliveries that wait: no further attempt is made
    Discard(Change),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    connection: Connection,
    /// Show only deliveries with this status: waiting, delivered or dead
    #[arg(long)]
    status: Option<DeliveryStatus>,
    /// Show only deliveries to this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Show only deliveries about this alert, by number or id
    #[arg(long, value_name = "ALERT")]
    alert: Option<AlertRef>,
    /// Show at most this many deliveries
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
    /// Id of the delivery
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: Ulid,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Change {
    #[command(flatten)]
    connection: Connection,
    /// Ids of the deliveries
    #[arg(value_name = "ID", value_parser = parse_id, required_unless_present = "destination")]
    ids: Vec<Ulid>,
    /// Change the dead deliveries of this destination (retry), or those that wait (discard)
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    destination: Option<String>,
    /// With `retry --destination`: also deliveries that wait
    #[arg(long, requires = "destination")]
    all: bool,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

fn parse_id(text: &str) -> Result<Ulid, String> {
    Ulid::from_string(text)
        .map_err(|_| "is not the id of a delivery; `tocsin deliveries` lists ids".into())
}

pub(super) fn run(options: Deliveries) -> anyhow::Result<()> {
    match options.verb {
        None => list(&options.list),
        Some(Verb::List(options)) => list(&options),
        Some(Verb::Show(options)) => show(&options),
        Some(Verb::Retry(options)) => change(&options, "retry"),
        Some(Verb::Discard(options)) => change(&options, "discard"),
    }
}

fn list(options: &List) -> anyhow::Result<()> {
    let list = fetch(options)?;
    if options.json {
        return output::print_json(&list);
    }
    if list.deliveries.is_empty() {
        return output::print_line("no deliveries");
    }
    print_deliveries(&list.deliveries)?;
    if list.next_cursor.is_some() {
        output::print_error("there are more deliveries; raise --limit to see them");
    }
    Ok(())
}

/// Prints a table of deliveries.
pub(super) fn print_deliveries(deliveries: &[Delivery]) -> anyhow::Result<()> {
    let row = |delivery: &Delivery| {
        vec![
            delivery.id.to_string(),
            format!("{:.0}", local(delivery.changed_at)),
            delivery.destination.clone(),
            subject(delivery),
            delivery.kind.to_string(),
            status(delivery),
            delivery.attempts.to_string(),
            delivery.next_attempt_at.map(|at| format!("{:.0}", local(at))).unwrap_or_default(),
            delivery.reason.clone().unwrap_or_default(),
        ]
    };
    let header = [
        "DELIVERY",
        "CHANGED",
        "DESTINATION",
        "ALERT",
        "KIND",
        "STATUS",
        "TRIES",
        "NEXT",
        "REASON",
    ];
    output::print_table(&header, &deliveries.iter().map(row).collect::<Vec<_>>())
}

fn subject(delivery: &Delivery) -> String {
    match (&delivery.digest, delivery.alert) {
        (Some(digest), _) => format!("{} alerts", digest.count),
        (None, Some(number)) => format!("#{number}"),
        (None, None) => String::new(),
    }
}

fn status(delivery: &Delivery) -> String {
    let status = delivery.status;
    match delivery.told_by {
        Some(_) => format!("{status}, by another"),
        None if delivery.in_flight => format!("{status}, in flight"),
        None if delivery.in_doubt => format!("{status}, in doubt"),
        None => status.to_string(),
    }
}

/// Fetches deliveries up to the limit.
fn fetch(options: &List) -> anyhow::Result<DeliveryList> {
    let filters = [
        ("status", options.status.map(|status| status.to_string())),
        ("destination", options.destination.clone()),
        ("alert", options.alert.map(|alert| alert.to_string())),
    ];
    let client = Client::new(&options.connection)?;
    pages::fetch(&client, "/api/v1/deliveries", &filters, options.limit as usize)
}

impl PagedList for DeliveryList {
    fn count(&self) -> usize {
        self.deliveries.len()
    }

    fn next_cursor(&self) -> Option<&String> {
        self.next_cursor.as_ref()
    }

    fn append(&mut self, page: Self) {
        self.deliveries.extend(page.deliveries);
        self.next_cursor = page.next_cursor;
    }
}

fn show(options: &One) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let found: DeliveryWithAttempts = client.get(&format!("/api/v1/deliveries/{}", options.id))?;
    if options.json { output::print_json(&found) } else { print_delivery(&found) }
}

fn change(options: &Change, verb: &str) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    if let Some(name) = &options.destination {
        let scope = if options.all { "?scope=all" } else { "" };
        let scope = if verb == "retry" { scope } else { "" };
        let changed: Changed =
            client.post(&format!("/api/v1/destinations/{name}/{verb}{scope}"))?;
        return if options.json {
            output::print_json(&changed)
        } else {
            let done = if verb == "retry" { "due now" } else { "discarded" };
            output::print_line(&format!("{} deliveries to `{name}` {done}", changed.deliveries))
        };
    }
    for id in &options.ids {
        let found: DeliveryWithAttempts =
            client.post(&format!("/api/v1/deliveries/{id}/{verb}"))?;
        if options.json {
            output::print_json(&found)?;
        } else {
            let delivery = &found.delivery;
            let (subject, status) = (subject(delivery), status(delivery));
            output::print_line(&format!(
                "{id} {subject} {} to {}: {status}",
                delivery.kind, delivery.destination
            ))?;
        }
    }
    Ok(())
}

fn print_delivery(found: &DeliveryWithAttempts) -> anyhow::Result<()> {
    let DeliveryWithAttempts { delivery, attempt_log } = found;
    let skipped: Vec<_> = delivery.skipped.iter().map(|kind| kind.as_str()).collect();
    output::print_line(&format!("{} to {}", delivery.kind, delivery.destination))?;
    let lines = [
        ("Id", delivery.id.to_string()),
        ("Alert", subject(delivery)),
        ("Status", status(delivery)),
        ("Reason", delivery.reason.clone().unwrap_or_default()),
        ("Told by", delivery.told_by.map(|id| id.to_string()).unwrap_or_default()),
        ("Replaces", skipped.join(", ")),
        ("Changed at", format!("{:.3}", local(delivery.changed_at))),
        ("Attempts", delivery.attempts.to_string()),
        (
            "Next",
            delivery.next_attempt_at.map(|at| format!("{:.0}", local(at))).unwrap_or_default(),
        ),
        (
            "Finished at",
            delivery.finished_at.map(|at| format!("{:.3}", local(at))).unwrap_or_default(),
        ),
    ];
    for (label, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        output::print_field(2, label, value)?;
    }
    attempt_log.iter().try_for_each(print_attempt)
}

fn print_attempt(attempt: &Attempt) -> anyhow::Result<()> {
    let reason = attempt.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    output::print_line("")?;
    output::print_line(&format!(
        "  attempt {} at {:.3}, {} ms: {}{reason}",
        attempt.number,
        local(attempt.at),
        attempt.took_ms,
        attempt.result.as_str().replace('_', " "),
    ))?;
    for request in &attempt.requests {
        let status = request.status.map_or_else(|| "no answer".into(), |status| status.to_string());
        output::print_line(&format!(
            "    {}: {} {}: {status}, {} ms",
            request.name, request.method, request.url, request.took_ms
        ))?;
        output::print_quoted(6, &request.answer)?;
    }
    Ok(())
}
