//! `tocsin destinations`: the destinations, the plugins that write their messages, and the deliveries that
//! wait for them.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::{
    Inventory, UsageError,
    client::Client,
    offline::{ask_host, load_offline, print_problems},
    output,
    times::local,
};
use crate::{
    api::status::{BreakerStateName, DestinationList, DestinationStatus, WaitingVersion},
    delivery::AttemptResult,
    notify::trial::{Trial, TrialStep},
};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Destinations {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: Inventory,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the destinations and their problems (the default)
    List(Inventory),
    /// Show one destination: its plugin, its limits, and what waits for it
    Show(Show),
    /// Send a marked test to a destination, and print each step; needs a running host
    ///
    /// No alert is opened and nothing is recorded. The exit code is 1 if the test was not delivered.
    Test(Test),
}

#[derive(Args, Debug)]
struct Test {
    #[command(flatten)]
    inventory: Inventory,
    /// Name of the destination
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Args, Debug)]
struct Show {
    #[command(flatten)]
    inventory: Inventory,
    /// Name of the destination
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) fn run(destinations: Destinations) -> anyhow::Result<()> {
    match destinations.verb.unwrap_or(Verb::List(destinations.list)) {
        Verb::List(inventory) => list(&inventory),
        Verb::Show(show) => self::show(&show),
        Verb::Test(options) => test(&options),
    }
}

fn fetch(inventory: &Inventory) -> anyhow::Result<DestinationList> {
    match ask_host(inventory, "/api/v1/destinations")? {
        Some(list) => Ok(list),
        None => Ok(DestinationList { destinations: load_offline(inventory)?.destinations() }),
    }
}

fn list(inventory: &Inventory) -> anyhow::Result<()> {
    let list = fetch(inventory)?;
    if inventory.json {
        return output::print_json(&list);
    }
    print_destinations(&list.destinations)?;
    let problems: Vec<_> = list.destinations.iter().map(|one| (one, problem(one))).collect();
    let problems = problems.iter();
    print_problems(problems.map(|(one, problem)| (one.name.as_str(), problem, one.place.as_ref())))
}

/// Prints the [`DestinationStatus`] of each destination as a table.
pub(super) fn print_destinations(destinations: &[DestinationStatus]) -> anyhow::Result<()> {
    if destinations.is_empty() {
        return output::print_line("no destinations");
    }
    let row = |destination: &DestinationStatus| {
        let plugin = destination.plugin.as_ref();
        vec![
            destination.name.clone(),
            status(destination),
            plugin.map_or_else(|| "-".into(), ToString::to_string),
            destination.events.join(", "),
            destination.waiting.to_string(),
            destination.dead.to_string(),
        ]
    };
    let header = ["DESTINATION", "STATUS", "PLUGIN", "EVENTS", "WAITING", "DEAD"];
    output::print_table(&header, &destinations.iter().map(row).collect::<Vec<_>>())
}

fn show(show: &Show) -> anyhow::Result<()> {
    let list = fetch(&show.inventory)?.destinations;
    let Some(destination) = list.iter().find(|one| one.name == show.name) else {
        let names: Vec<_> = list.iter().map(|one| format!("`{}`", one.name)).collect();
        let hint = match names.as_slice() {
            [] => "there are none".to_owned(),
            names => format!("the destinations are {}", names.join(", ")),
        };
        let message = format!("there is no destination `{}`\nhint: {hint}", show.name);
        return Err(UsageError(message).into());
    };
    if show.inventory.json {
        return output::print_json(destination);
    }
    output::print_line(&destination.name)?;
    let time = |time: Option<jiff::Timestamp>| time.map(|time| format!("{:.0}", local(time)));
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(", "));
    let version = |other: &WaitingVersion| match &other.problem {
        Some(problem) => format!("{}: {problem}", other.version),
        None => other.version.clone(),
    };
    let others: Vec<_> = destination.other_versions.iter().map(version).collect();
    for (label, value) in [
        ("status", Some(status(destination))),
        ("problem", problem(destination)),
        ("plugin", destination.plugin.as_ref().map(ToString::to_string)),
        ("contacts", list(&destination.contacts)),
        ("events", list(&destination.events)),
        ("pause", destination.pause.clone()),
        ("parallel", destination.parallel.map(|most| most.to_string())),
        (
            "digest",
            destination
                .digest_above
                .filter(|above| *above > 0)
                .map(|above| format!("above {above} waiting alerts")),
        ),
        ("waiting", Some(destination.waiting.to_string())),
        ("oldest", time(destination.oldest_waiting_at)),
        ("dead", Some(destination.dead.to_string())),
        ("generation", destination.generation.map(|generation| generation.to_string())),
        ("since", time(destination.since)),
        ("versions", (!others.is_empty()).then(|| others.join("\n"))),
    ] {
        if let Some(value) = value {
            output::print_field(2, label, &value)?;
        }
    }
    Ok(())
}

/// Longest time to wait for the result of a test. The host gives a test up earlier.
const LONGEST_TEST: Duration = Duration::from_secs(330);

fn test(options: &Test) -> anyhow::Result<()> {
    let client = Client::with_timeout(&options.inventory.connection, LONGEST_TEST)?;
    let trial: Trial = client.post(&format!("/api/v1/destinations/{}/test", options.name))?;
    if options.inventory.json {
        output::print_json(&trial)?;
    } else {
        output::print_line(&format!("test {} to {}", trial.delivery, trial.destination))?;
        trial.steps.iter().try_for_each(print_step)?;
        if trial.result == AttemptResult::Delivered {
            output::print_line("delivered")?;
        }
    }
    if trial.result == AttemptResult::Delivered {
        return Ok(());
    }
    let result = trial.result.as_str().replace('_', " ");
    bail!("the test was not delivered ({result}): {}", trial.reason.unwrap_or_default())
}

fn print_step(step: &TrialStep) -> anyhow::Result<()> {
    let TrialStep { request, headers, body, address, allowed_by, tls } = step;
    output::print_line(&format!("  {}: {} {}", request.name, request.method, request.url))?;
    headers.iter().try_for_each(|header| output::print_line(&format!("      {header}")))?;
    output::print_quoted(6, body)?;
    let none = || "none".to_owned();
    let tls = address.as_ref().map(|_| tls.clone().unwrap_or_else(none));
    let answer = request.status.map(|status| format!("{status} after {} ms", request.took_ms));
    for (label, value) in [
        ("address", address.clone()),
        ("allowed by", allowed_by.clone()),
        ("TLS", tls),
        ("answer", Some(answer.unwrap_or_else(none))),
    ] {
        if let Some(value) = value {
            output::print_field(4, label, &value)?;
        }
    }
    output::print_quoted(6, &request.answer)
}

/// Returns the problem or the reason of the parking, if there is one.
fn problem(destination: &DestinationStatus) -> Option<String> {
    let parked = destination.parked.as_ref();
    let parked = parked
        .map(|parked| format!("is parked since {:.0}: {}", local(parked.since), parked.reason));
    destination.problem.clone().or(parked)
}

/// Returns the status in a [`DestinationStatus`], with a pause, an open breaker and stuck threads if there
/// are any.
fn status(destination: &DestinationStatus) -> String {
    let now = jiff::Timestamp::now();
    let paused = destination.paused_until.filter(|until| *until > now);
    let breaker = destination.breaker.as_ref().and_then(|breaker| match breaker.state {
        BreakerStateName::Closed => None,
        BreakerStateName::Open => Some("breaker open".to_owned()),
        BreakerStateName::HalfOpen => Some("breaker half open".to_owned()),
    });
    let stuck = match destination.stuck_threads {
        0 => None,
        1 => Some("1 thread stuck".to_owned()),
        more => Some(format!("{more} threads stuck")),
    };
    let paused = paused.map(|until| format!("paused until {:.0}", local(until)));
    let unusual: Vec<_> = paused.into_iter().chain(breaker).chain(stuck).collect();
    let status = destination.status.as_str();
    if unusual.is_empty() {
        return status.into();
    }
    format!("{status} ({})", unusual.join(", "))
}
