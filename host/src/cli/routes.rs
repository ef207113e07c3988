//! `tocsin routes test`: explains who is told of an alert, when, and why another destination is not.

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use tocsin_plugin_api::{Urgency, notification::Kind};

use super::{
    Connection, UsageError,
    arguments::{parse_detail, parse_urgency},
    client::{Client, Unreachable},
    deliveries::print_deliveries,
    output,
    times::local,
};
use crate::{
    alert::AlertRef,
    api::{
        deliveries::AlertNotifications,
        routes::{
            LaterMessage, RouteAnswer, RouteQuestion, RoutedOutcome, RoutedTo, details, explain,
        },
    },
    config::LoadedConfig,
    delivery::FactReason,
    routing::{Silences, Subject},
};

#[derive(Args, Debug)]
pub(super) struct RoutesCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Explain who is told of an alert, when, and why another destination is not
    ///
    /// Nothing is sent. With `--alert`, also shows what was recorded when the alert was routed, and needs a
    /// running host. Without it, asks the running host; if no host answers, evaluates the routes of the
    /// configuration itself, and knows no silences.
    Test(Test),
}

#[derive(Args, Debug)]
struct Test {
    #[command(flatten)]
    connection: Connection,
    /// Number or id of a stored alert
    #[arg(long, value_name = "ALERT", required_unless_present = "integration")]
    alert: Option<AlertRef>,
    /// Integration of an alert that could come
    #[arg(long, value_name = "NAME", conflicts_with = "alert")]
    integration: Option<String>,
    /// Urgency: low, medium, high or critical; that of the integration if left out
    #[arg(long, value_parser = parse_urgency, requires = "integration")]
    urgency: Option<Urgency>,
    /// Detail of the alert; may be given several times
    #[arg(long = "detail", value_name = "LABEL=VALUE", value_parser = parse_detail, requires = "integration")]
    details: Vec<(String, String)>,
    /// Time of the change, such as `2026-11-24T10:00:00Z`; now if left out, or the time of the alert
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Kind of the news: opened, acknowledged, resolved, occurred or noted
    #[arg(long, value_parser = parse_kind, default_value = "opened")]
    kind: Kind,
    /// Print JSON, as the API returns it
    #[arg(long)]
    json: bool,
}

fn parse_kind(name: &str) -> Result<Kind, String> {
    Kind::from_name(name)
        .filter(|kind| !matches!(kind, Kind::Escalated | Kind::Test | Kind::Digest))
        .ok_or_else(|| "write opened, acknowledged, resolved, occurred or noted".into())
}

pub(super) fn run(options: RoutesCommand) -> anyhow::Result<()> {
    let Verb::Test(options) = options.verb;
    let question = RouteQuestion {
        alert: options.alert.map(|alert| alert.to_string()),
        integration: options.integration,
        urgency: options.urgency,
        details: options.details.into_iter().collect(),
        at: options.at,
        kind: Some(options.kind),
    };
    let answer = ask(&options.connection, &question)?;
    if options.json { output::print_json(&answer) } else { print_answer(&answer) }
}

/// Asks the running host. If no host answers, evaluates the routes of the configuration file.
fn ask(connection: &Connection, question: &RouteQuestion) -> anyhow::Result<RouteAnswer> {
    match Client::new(connection)?.post_json("/api/v1/routes/test", question) {
        Err(error)
            if error.is::<Unreachable>()
                && connection.url.is_none()
                && question.alert.is_none() =>
        {
            output::print_error("no host is running: silences are not known");
            evaluate(&LoadedConfig::read(&connection.config.config)?, question)
        }
        answer => answer,
    }
}

fn evaluate(config: &LoadedConfig, question: &RouteQuestion) -> anyhow::Result<RouteAnswer> {
    let RouteQuestion { integration, urgency, details: given, at, kind, .. } = question;
    let name = integration.as_deref().unwrap_or_default();
    let Some(section) = config.config.integrations.get(name) else {
        bail!(UsageError(format!("there is no integration `{name}`")));
    };
    let details = details(given);
    let urgency = urgency.unwrap_or(section.urgency);
    let subject = Subject { integration: name, urgency, details: &details };
    let at = at.unwrap_or_else(Timestamp::now);
    let kind = kind.unwrap_or(Kind::Opened);
    Ok(explain(&config.routes, &Silences::default(), subject, at, kind))
}

fn print_answer(answer: &RouteAnswer) -> anyhow::Result<()> {
    if answer.destinations.is_empty() {
        output::print_line("no destinations are configured")?;
    } else {
        output::print_line(&format!(
            "{} at {:.0}, by the present routes:",
            answer.kind,
            local(answer.at)
        ))?;
    }
    if let Some(silence) = &answer.silence {
        output::print_line(&format!(
            "  silence {} by {} until {:.0} holds ({}): nobody is told before it ends",
            silence.id,
            silence.by,
            local(silence.ends_at),
            silence.reason
        ))?;
    }
    answer.destinations.iter().try_for_each(print_destination)?;
    answer.recorded.as_ref().map_or(Ok(()), print_recorded)
}

fn print_destination(to: &RoutedTo) -> anyhow::Result<()> {
    let name = &to.destination;
    let line = match (to.outcome, &to.route) {
        (RoutedOutcome::Told, Some(route)) => format!("  {name}: told at once, by {route}"),
        (RoutedOutcome::Told, None) => format!("  {name}: told at once, since there are no routes"),
        (RoutedOutcome::Later, _) => format!("  {name}: told later"),
        (RoutedOutcome::NotWanted | RoutedOutcome::NoRoute, _) => format!("  {name}: not told"),
    };
    output::print_line(&line)?;
    for LaterMessage { route, due_at, repeat_seconds } in &to.later {
        let repeat = repeat_seconds.map(|seconds| format!(", then every {seconds} s"));
        let repeat = repeat.unwrap_or_default();
        output::print_line(&format!(
            "      at {:.0}{repeat}, if still open and not acknowledged, by {route}",
            local(*due_at)
        ))?;
    }
    to.reasons.iter().try_for_each(|reason| output::print_line(&format!("      {reason}")))
}

fn print_recorded(recorded: &AlertNotifications) -> anyhow::Result<()> {
    output::print_line("")?;
    output::print_line(&format!("recorded for alert #{}:", recorded.alert))?;
    if recorded.deliveries.is_empty() && recorded.not_told.is_empty() {
        return output::print_line("  nothing: no destination was configured when it changed");
    }
    if !recorded.deliveries.is_empty() {
        print_deliveries(&recorded.deliveries)?;
    }
    for fact in &recorded.not_told {
        let reason = match &fact.reason {
            FactReason::NoRoute { routes } => routes.join("; "),
            FactReason::Silenced { silence, by, reason } => {
                format!("silence {silence} by {by} held: {reason}")
            }
            FactReason::InDigest { delivery } => format!("digest {delivery} told of the alert"),
            FactReason::NotNeeded { status } => format!("the alert was {status} by then"),
            FactReason::NeverTold => "the destination was never told of the alert".into(),
        };
        output::print_line(&format!(
            "  {:.0}  {} to {}: not told, {reason}",
            local(fact.at),
            fact.kind,
            fact.destination
        ))?;
    }
    Ok(())
}
