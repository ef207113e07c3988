//! `make bench`: the cost of Tocsin next to a minimal server on the same machine, in one run.
//!
//! The run prints figures and fails for none of them: machines are shared, so only ratios of one
//! run can be compared.

#![expect(clippy::print_stdout, reason = "a table is what it is for")]

mod calls;
mod deliveries;
mod load;
mod process;
mod steady;
mod subject;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use mimalloc::MiMalloc;

use crate::{
    load::{Keys, Load, Throughput},
    subject::Subject,
};

/// Same as in the host, so that the minimal server differs only in its work.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Settings of the run, from the environment.
struct Plan {
    /// Duration of each load.
    load: Duration,
    /// Alerts in the filled database.
    stored: u64,
    /// Rounds of each subject. The result is the median of the rounds.
    rounds: usize,
    /// True to measure deliveries only.
    only_deliveries: bool,
}

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("floor") {
        return subject::serve_floor();
    }
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let plan = Plan {
        load: Duration::from_secs(number("BENCH_SECONDS", 10)),
        stored: number("BENCH_STORED", 5_000_000),
        rounds: number("BENCH_ROUNDS", 5) as usize,
        only_deliveries: std::env::var("BENCH_ONLY").is_ok_and(|only| only == "deliveries"),
    };
    run(&plan)
}

fn run(plan: &Plan) -> anyhow::Result<()> {
    let tocsin = PathBuf::from(std::env::var("BENCH_TOCSIN").context("run `make bench`")?);
    let plugins = PathBuf::from(std::env::var("BENCH_PLUGINS").context("run `make bench`")?);

    let mut rows = Vec::new();
    let mut row = |what: &str, figure: String, reach: &str, verdict: String| {
        println!("{what}: {figure} {verdict}");
        rows.push([what.to_owned(), figure, reach.to_owned(), verdict]);
    };

    if plan.only_deliveries {
        return measure_deliveries(plan, &tocsin, &plugins, &mut row);
    }

    // Another build of the host, such as the previous commit's, for comparison.
    let other = std::env::var_os("BENCH_OTHER").map(PathBuf::from);
    let (mut floors, mut tocsins, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut others, mut keepers, mut randoms) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory = (0, 0);
    let mut cpu_us = Vec::new();
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        // Subjects alternate, so that other work of the machine affects all alike.
        floors.push(Load::slack(&Subject::floor()?, plan.load)?);
        let subject = Subject::tocsin(&tocsin, &plugins, None)?;
        std::thread::sleep(Duration::from_secs(1));
        memory.0 = memory.0.max(subject.resident_mb()?);
        let load = Load::slack(&subject, plan.load)?;
        memory.1 = memory.1.max(load.peak_mb);
        cpu_us.push(load.cpu_us);
        tocsins.push(load);
        let keeps_all =
            Subject::tocsin_with(&tocsin, &plugins, None, "[requests]\nkeep = \"all\"")?;
        keepers.push(Load::slack(&keeps_all, plan.load)?);
        let subject = Subject::tocsin(&tocsin, &plugins, None)?;
        randoms.push(Load::slack_with(&subject, Keys::Random, plan.load)?);
        drop(subject);
        if let Some(other) = &other {
            others.push(Load::slack(&Subject::tocsin(other, &plugins, None)?, plan.load)?);
        }
        if let Some(alertmanager) = Subject::alertmanager()? {
            peers.push(Load::alertmanager(&alertmanager, plan.load)?);
        }
    }
    let (floor, tocsin_rate) = (median(&floors), median(&tocsins));
    row("floor", summary(&floors), "", String::new());
    row("tocsin", summary(&tocsins), "", String::new());
    row("the same, processor time by thread", by_thread(&tocsins), "", String::new());
    row(
        "tocsin / floor",
        format!("{:.2}", tocsin_rate / floor),
        ">= 0.60",
        reach(tocsin_rate / floor, 0.60),
    );
    if !others.is_empty() {
        let figure = format!("{}; {:.2}", summary(&others), tocsin_rate / median(&others));
        row("the other build; tocsin / it", figure, "", String::new());
        row("the same, processor time by thread", by_thread(&others), "", String::new());
    }
    let ratio = median(&randoms) / tocsin_rate;
    let figure = format!("{}; {ratio:.2}", summary(&randoms));
    row("random keys; / growing keys", figure, ">= 0.8", reach(ratio, 0.8));
    let all = median(&keepers);
    let figure = format!("{all:.0} requests/s = {:.2}", all / tocsin_rate);
    row("with `keep = \"all\"` / without", figure, "", String::new());
    if peers.is_empty() {
        println!("prometheus-alertmanager is not installed: left out");
    } else {
        let peer = median(&peers);
        row("Alertmanager", summary(&peers), "", String::new());
        row(
            "tocsin / Alertmanager",
            format!("{:.1}", tocsin_rate / peer),
            ">= 2",
            reach(tocsin_rate / peer, 2.0),
        );
    }

    let steady = steady::run(&Subject::tocsin(&tocsin, &plugins, None)?, 2000, plan.load)?;
    let p99 = steady.p99_ms;
    row(
        "p50 / p99 at 2,000 requests/s",
        format!("{:.2} / {p99:.2} ms", steady.p50_ms),
        "p99 < 10 ms",
        below(p99, 10.0),
    );

    measure_deliveries(plan, &tocsin, &plugins, &mut row)?;

    let calls = calls::measure(&plugins)?;
    row(
        "plugin call, usual Slack message, median",
        format!("{:.2} us", calls.through_library_us),
        "<= 3 us",
        below(calls.through_library_us, 3.0),
    );
    cpu_us.sort_by(f64::total_cmp);
    let cpu = cpu_us[cpu_us.len() / 2];
    let boundary = 100.0 * calls.boundary_us / cpu;
    row(
        "boundary / processor time of a request",
        format!("{:.2} of {cpu:.1} us = {boundary:.1} %", calls.boundary_us),
        "<= 5 %",
        below(boundary, 5.0),
    );

    row(
        "resident memory, idle",
        format!("{} MB", memory.0),
        "< 40 MB",
        below(memory.0 as f64, 40.0),
    );
    row(
        "resident memory, peak of the run",
        format!("{} MB", memory.1),
        "< 150 MB",
        below(memory.1 as f64, 150.0),
    );

    if plan.stored > 0 {
        let stored = plan.stored;
        let filled = subject::fill(stored, Keys::Random)?;
        let figure = compare_filled(plan, &tocsin, &plugins, (&filled, Keys::Random))?;
        row(&format!("{stored} alerts stored / empty, random keys"), figure.0, ">= 0.9", figure.1);
        drop(filled);
        let filled = subject::fill(stored, Keys::Growing)?;
        let figure = compare_filled(plan, &tocsin, &plugins, (&filled, Keys::Growing))?;
        row(&format!("{stored} alerts stored / empty"), figure.0, ">= 0.9", figure.1);

        for (what, retention) in [
            ("the same with all that stored", ""),
            ("the same while records are forgotten", "[retention]\nrecords = \"1s\""),
        ] {
            let subject = Subject::tocsin_with(&tocsin, &plugins, Some(&filled), retention)?;
            // Within this pause the copied database is written to disk, and retention begins.
            Command::new("sync").status()?;
            std::thread::sleep(Duration::from_secs(7));
            let steady = steady::run(&subject, 2000, plan.load)?;
            let p99 = steady.p99_ms;
            let figure = format!("{:.2} / {p99:.2} ms", steady.p50_ms);
            row(what, figure, "p99 < 10 ms", below(p99, 10.0));
        }
    }

    println!("\n| what | figure | reach | |\n| --- | --- | --- | --- |");
    for [what, figure, reach, verdict] in rows {
        println!("| {what} | {figure} | {reach} | {verdict} |");
    }
    Ok(())
}

/// Measures the load on a filled and on an empty database, and returns the figure and the verdict.
fn compare_filled(
    plan: &Plan,
    tocsin: &Path,
    plugins: &Path,
    (filled, keys): (&subject::Filled, Keys),
) -> anyhow::Result<(String, String)> {
    let (mut fulls, mut empties) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let empty = Subject::tocsin(tocsin, plugins, None)?;
        empties.push(Load::slack_with(&empty, keys, plan.load)?);
        drop(empty);
        let full = Subject::tocsin(tocsin, plugins, Some(filled))?;
        fulls.push(Load::slack_with(&full, keys, plan.load)?);
    }
    let ratio = median(&fulls) / median(&empties);
    let figure = format!("{} / {}; {ratio:.2}", summary(&fulls), summary(&empties));
    Ok((figure, reach(ratio, 0.9)))
}

/// Takes the name of a row, its figure, its target and the verdict.
type Row<'r> = dyn FnMut(&str, String, &str, String) + 'r;

/// Measures what deliveries cost, and how fast they are.
fn measure_deliveries(
    plan: &Plan,
    tocsin: &Path,
    plugins: &Path,
    row: &mut Row<'_>,
) -> anyhow::Result<()> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let (mut rates, mut storms) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        eprintln!("deliveries, round {round} of {}", plan.rounds);
        without.push(Load::slack(&Subject::tocsin(tocsin, plugins, None)?, plan.load)?);
        with.push(deliveries::load(tocsin, plugins, plan.load)?);
        rates.push(deliveries::rate(tocsin, plugins)?);
        storms.push(deliveries::storm(tocsin, plugins, round % 2 == 1)?);
    }
    let ratio = median(&with) / median(&without);
    row(
        "with a destination for every alert / without",
        format!("{:.0} / {:.0} requests/s = {ratio:.2}", median(&with), median(&without)),
        ">= 0.85",
        reach(ratio, 0.85),
    );
    let cpu = |loads: &[Throughput]| middle(loads.iter().map(|load| load.cpu_us));
    let figure = format!("{:.1} / {:.1} us", cpu(&with), cpu(&without));
    row("the same, processor time of a request", figure, "", String::new());
    let rate = middle(rates);
    row("deliveries", format!("{rate:.0} a second"), ">= 2000", reach(rate, 2000.0));
    let latency = deliveries::latency_p99(tocsin, plugins)?.as_secs_f64() * 1e3;
    row(
        "from the commit to the request sent, idle, p99",
        format!("{latency:.1} ms"),
        "< 50 ms",
        below(latency, 50.0),
    );
    let rate = middle(storms.iter().map(|storm| storm.with.rate / storm.without.rate));
    row(
        "10,000 alerts in 10 s with a slow destination / without: requests/s",
        format!("{rate:.2}"),
        ">= 0.90",
        reach(rate, 0.9),
    );
    let with = middle(storms.iter().map(|storm| storm.with.p99_ms));
    let without = middle(storms.iter().map(|storm| storm.without.p99_ms));
    row(
        "the same, p99",
        format!("{with:.2} / {without:.2} ms = {:.2}", with / without),
        "<= 1.10",
        below(with / without, 1.1),
    );
    for deliveries::Storm { with, told, messages, .. } in &storms {
        let alerts = &with.requests;
        let verdict = if told == alerts { "reached" } else { "missed" };
        row(
            "alerts of the storm; told by messages and digests",
            format!("{alerts}; {told} by {messages} messages"),
            "equal",
            verdict.into(),
        );
    }
    Ok(())
}

fn median(loads: &[Throughput]) -> f64 {
    middle(loads.iter().map(|load| load.requests_per_second))
}

/// Returns the medians of the rounds as text.
fn summary(loads: &[Throughput]) -> String {
    let of = |figure: fn(&Throughput) -> f64| middle(loads.iter().map(figure));
    format!(
        "{:.0} requests/s, {:.1} us, p50 {:.2} ms, p99 {:.2} ms",
        of(|load| load.requests_per_second),
        of(|load| load.cpu_us),
        of(|load| load.p50_ms),
        of(|load| load.p99_ms),
    )
}

/// Returns the medians of the processor time of a request by thread as text, the busiest thread first.
fn by_thread(loads: &[Throughput]) -> String {
    let names: BTreeSet<_> = loads.iter().flat_map(|load| load.cpu_us_by_thread.keys()).collect();
    let time = |name: &String| {
        middle(loads.iter().map(|load| load.cpu_us_by_thread.get(name).copied().unwrap_or(0.0)))
    };
    let mut threads: Vec<_> = names.into_iter().map(|name| (time(name), name)).collect();
    threads.retain(|(us, _)| *us >= 0.05);
    threads.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let threads = threads.iter().map(|(us, name)| format!("{name} {us:.1}"));
    threads.collect::<Vec<_>>().join(", ") + " us"
}

fn middle(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn reach(figure: f64, least: f64) -> String {
    if figure >= least {
        "reached".into()
    } else {
        format!("missed by {:.0} %", 100.0 * (1.0 - figure / least))
    }
}

fn below(figure: f64, most: f64) -> String {
    if figure <= most {
        "reached".into()
    } else {
        format!("missed by {:.0} %", 100.0 * (figure / most - 1.0))
    }
}
