//! The context of a certification: the plugin's schema, options that it accepts, messages, and its
//! outcomes for them. Each is found once, by the check that needs it first.
//!
//! The context judges nothing. It keeps every [`Failure`] for the check that reports it.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tocsin_plugin_api::{
    manifest::{self, Manifest},
    testing::Fixture,
};

use super::{
    attempts,
    baseline::{
        Baseline, Failure, Made, OptionsSchema, Repetition, StressResult, Table, TimedOutcome,
    },
    samples, stress_messages, tables,
    verdict::{Needs, Settings},
};
use crate::{
    plugins::refusal::AdmissionRefusal,
    sandbox::{
        Record, Sandbox,
        message::{Body, Bytes, Message},
        protocol::{FuzzRun, MessageRun, Observation, Operation, Task},
    },
};

/// The longest life of a child, so that a certification ends whatever the plugin does.
const CHILD_TIMEOUT: Duration = Duration::from_secs(600);
/// The number of failures of one kind after which the rest is skipped.
const MOST_FAILURES: usize = 3;
/// The number of different options tables that are used.
const MOST_TABLES: usize = 24;
/// The number of tables with which a notifier makes the sample attempts.
const MOST_NOTIFIER_TABLES: usize = 4;
/// The pause before messages are sent again. It is longer than a second, so that an outcome that
/// depends on the clock changes.
const REPEAT_DELAY: Duration = Duration::from_millis(1100);
/// The number of threads that send messages at once.
pub(super) const THREADS: usize = 4;

/// The plugin under certification, and all that is known of it so far.
pub(super) struct CheckContext<'a> {
    pub(super) settings: &'a Settings,
    progress: &'a dyn Fn(&str),
    pub(super) sandbox: Sandbox,
    /// The result of the check `manifest`.
    pub(super) admission: Option<Result<Manifest, AdmissionRefusal>>,
    /// Set by the check `loads`.
    pub(super) is_loaded: bool,
    /// Set by the check `schema-valid`.
    pub(super) schema: Option<OptionsSchema>,
    tables: Option<Vec<Table>>,
    baseline: Option<Baseline>,
    repetition: Option<Repetition>,
    stress_results: Option<Vec<StressResult>>,
    fuzz_record: Option<Record>,
    /// Panics, crashes and hangs, in whichever check they were met.
    pub(super) failures: Vec<Failure>,
}

impl<'a> CheckContext<'a> {
    pub(super) fn new(settings: &'a Settings, progress: &'a dyn Fn(&str)) -> Self {
        // Longer than the deadline, to tell a call that returns late from one that never returns.
        let call_timeout = settings.deadline * 2;
        Self {
            settings,
            progress,
            sandbox: Sandbox::new(&settings.file, call_timeout, CHILD_TIMEOUT),
            admission: None,
            is_loaded: false,
            schema: None,
            tables: None,
            baseline: None,
            repetition: None,
            stress_results: None,
            fuzz_record: None,
            failures: Vec::new(),
        }
    }

    /// Shows what is being done, in a few words.
    pub(super) fn show_progress(&self, what: &str) {
        (self.progress)(what);
    }

    pub(super) fn manifest(&self) -> Option<&Manifest> {
        match self.admission.as_ref()? {
            Ok(manifest) => Some(manifest),
            Err(refusal) => refusal.manifest.as_deref(),
        }
    }

    /// Returns the reason why a check with these needs cannot run, if there is one.
    pub(super) fn lacks(&mut self, needs: Needs) -> Option<String> {
        if needs >= Needs::Manifest && !self.admission.as_ref().is_some_and(Result::is_ok) {
            return Some("a host would refuse the file".into());
        }
        if needs >= Needs::Library && !self.is_loaded {
            return Some("the plugin can't be loaded".into());
        }
        if needs == Needs::Schema && self.schema.is_none() {
            return Some("the plugin has no valid schema".into());
        }
        if needs == Needs::Instance && self.tables().is_empty() {
            let hint = "give valid options with --fixtures or --options";
            return Some(format!("no options were found that the plugin accepts\nhint: {hint}"));
        }
        None
    }

    /// Returns options tables that the plugin accepts: those of the fixtures, or else tables made from
    /// the schema.
    pub(super) fn tables(&mut self) -> &[Table] {
        if self.tables.is_none() {
            let tables = self.find_tables();
            self.tables = Some(tables);
        }
        self.tables.as_deref().unwrap_or_default()
    }

    fn find_tables(&mut self) -> Vec<Table> {
        let mut candidates = self.candidates();
        candidates.truncate(MOST_TABLES);
        let tables: Vec<_> = candidates.iter().map(|table| table.options.clone()).collect();
        let made = self.make(&tables, &|index| candidates[index].name.clone());
        let is_made = |index: usize| matches!(made[index], Some(Made::Accepted));
        let mut at = 0;
        candidates.retain(|_| {
            at += 1;
            is_made(at - 1)
        });
        // Of tables made from the schema, one is enough.
        if self.settings.fixtures.is_empty() && self.settings.notifier_fixtures.is_empty() {
            candidates.truncate(1);
        }
        candidates
    }

    fn candidates(&self) -> Vec<Table> {
        if let Some(options) = &self.settings.options {
            return vec![Table {
                name: "the options of --options".into(),
                options: options.clone(),
            }];
        }
        let of_fixtures = self.settings.fixtures.iter().map(|one| (&one.name, &one.options));
        let of_notifier = self.settings.notifier_fixtures.iter();
        let of_notifier = of_notifier.map(|one| (&one.name, &one.options));
        let mut candidates: Vec<Table> = Vec::new();
        for (name, options) in of_fixtures.chain(of_notifier) {
            if !candidates.iter().any(|table| table.options == *options) {
                let name = format!("the options of fixture `{name}`");
                candidates.push(Table { name, options: options.clone() });
            }
        }
        if candidates.is_empty() {
            let empty = Value::Object(serde_json::Map::new());
            let made = self.schema.as_ref().map(|schema| tables::valid(schema, &empty));
            let name = |options: &Value| format!("the options `{options}`");
            let tables = made.unwrap_or_else(|| vec![empty]).into_iter();
            candidates.extend(tables.map(|options| Table { name: name(&options), options }));
        }
        candidates
    }

    /// Tries to make an instance of each table; the result is `None` for tables that were skipped after
    /// too many failures. Keeps panics and crashes as failures, under the name of the table.
    pub(super) fn make(
        &mut self,
        tables: &[Value],
        name: &dyn Fn(usize) -> String,
    ) -> Vec<Option<Made>> {
        let mut made: Vec<Option<Made>> = vec![None; tables.len()];
        let (mut from, mut failures) = (0, 0);
        while from < tables.len() && failures < MOST_FAILURES {
            let record = self.sandbox.run(Task::Make(tables[from..].to_vec()));
            for observation in record.observations {
                let (index, what) = match observation {
                    Observation::Made(index) => (index, Made::Accepted),
                    Observation::Refused { index, sentence } => (index, Made::Refused(sentence)),
                    Observation::Failed { operation, index, what } => {
                        let name = name(from + index);
                        self.keep_failure(false, format!("{what}, {operation} with {name}"));
                        // If only the destructor panics, the options are good.
                        if operation == Operation::Drop { continue } else { (index, Made::Failed) }
                    }
                    _ => continue,
                };
                made[from + index] = Some(what);
            }
            let Some(death) = record.death else { break };
            let (operation, index) = record.at.unwrap_or((Operation::New, 0));
            let sentence = format!("{death}, {operation} with {}", name(from + index));
            self.keep_failure(death.is_timeout(), sentence);
            made[from + index] = Some(Made::Failed);
            from += index + 1;
            failures += 1;
        }
        made
    }

    /// Returns messages and the outcome of each.
    pub(super) fn baseline(&mut self) -> &Baseline {
        let baseline = match self.baseline.take() {
            Some(known) => known,
            None => self.find_baseline(),
        };
        self.baseline.insert(baseline)
    }

    fn find_baseline(&mut self) -> Baseline {
        let tables = self.tables().to_vec();
        let mut messages = Vec::new();
        // With --options, one table serves all fixtures.
        let only_table = self.settings.options.as_ref().map(|_| 0);
        let table_of = |options: &Value| {
            tables.iter().position(|table| table.options == *options).or(only_table)
        };
        let mut of_fixtures = Vec::new();
        for fixture in &self.settings.fixtures {
            let table = table_of(&fixture.options);
            of_fixtures.push(table.map(|_| messages.len()));
            messages.extend(table.map(|table| of_fixture(fixture, table)));
        }
        let mut of_notifier_fixtures = Vec::new();
        for fixture in &self.settings.notifier_fixtures {
            let table = table_of(&fixture.options);
            of_notifier_fixtures.push(table.map(|_| messages.len()));
            messages.extend(table.map(|table| attempts::of_fixture(fixture, table)));
        }
        if self.has_capability(manifest::RECEIVE) {
            messages.extend(samples::usual());
        }
        for table in self.notifier_tables() {
            messages.extend(attempts::usual(table));
        }
        let options: Vec<_> = tables.into_iter().map(|table| table.options).collect();
        let outcomes = self.send_once(&options, &messages, false);
        Baseline { options, messages, outcomes, of_fixtures, of_notifier_fixtures }
    }

    /// Returns true if the manifest lists the capability with this name.
    pub(super) fn has_capability(&self, name: &str) -> bool {
        let capabilities = self.manifest().map(|manifest| manifest.capabilities.iter());
        capabilities.into_iter().flatten().any(|capability| capability == name)
    }

    /// Returns the positions of the tables for a notifier: those of its fixtures, or else the first one.
    fn notifier_tables(&mut self) -> Vec<usize> {
        if !self.has_capability(manifest::NOTIFY) {
            return Vec::new();
        }
        let settings = self.settings;
        let is_of_fixture = |table: &Table| {
            settings.notifier_fixtures.iter().any(|fixture| fixture.options == table.options)
        };
        let tables = self.tables().iter().enumerate();
        let mut found: Vec<_> =
            tables.filter(|(_, table)| is_of_fixture(table)).map(|(at, _)| at).collect();
        found.truncate(MOST_NOTIFIER_TABLES);
        if found.is_empty() { vec![0] } else { found }
    }

    /// Sends every message once. After a message that ends a child, a new child continues.
    fn send_once(
        &mut self,
        options: &[Value],
        messages: &[Message],
        is_brief: bool,
    ) -> Vec<Option<TimedOutcome>> {
        let mut outcomes: Vec<Option<TimedOutcome>> = vec![None; messages.len()];
        let (mut from, mut failures) = (0, 0);
        while from < messages.len() && failures < MOST_FAILURES {
            let record = self.sandbox.run(Task::Receive(MessageRun {
                options: options.to_vec(),
                messages: messages[from..].to_vec(),
                is_brief,
                ..MessageRun::default()
            }));
            for (index, outcome, took) in received(&record) {
                outcomes[from + index] = Some(TimedOutcome { outcome: outcome.clone(), took });
            }
            let Some(at) = self.keep_failures(&record, &messages[from..]) else { break };
            from += at + 1;
            failures += 1;
        }
        outcomes
    }

    /// Keeps the failures of a record, and returns the position of the message that failed, if one did.
    fn keep_failures(&mut self, record: &Record, messages: &[Message]) -> Option<usize> {
        let occupation = |index: usize| {
            messages.get(index).map_or_else(|| "receiving `?`".into(), Message::occupation)
        };
        let mut at = None;
        for observation in &record.observations {
            match observation {
                Observation::Failed { operation: Operation::Receive, index, what } => {
                    self.keep_failure(false, format!("{what}, {}", occupation(*index)));
                    at = Some(*index);
                }
                Observation::Failed { operation, what, .. } => {
                    self.keep_failure(false, format!("{what}, {operation}"));
                }
                _ => {}
            }
        }
        if let Some(death) = &record.death {
            let (operation, index) = record.at.unwrap_or((Operation::New, 0));
            let what = match operation {
                Operation::Receive => occupation(index),
                other => other.to_string(),
            };
            self.keep_failure(death.is_timeout(), format!("{death}, {what}"));
            // A failure outside of a message would come again with the next child.
            at = Some(if operation == Operation::Receive { index } else { messages.len() });
        }
        at
    }

    fn keep_failure(&mut self, is_hang: bool, sentence: String) {
        if !self.failures.iter().any(|failure| failure.sentence == sentence) {
            self.failures.push(Failure { is_hang, sentence });
        }
    }

    /// Returns the outcomes of the same messages sent again: in a row, in another process, later, and
    /// from several threads.
    pub(super) fn repetition(&mut self) -> &Repetition {
        let repetition = match self.repetition.take() {
            Some(known) => known,
            None => self.repeat(),
        };
        self.repetition.insert(repetition)
    }

    fn repeat(&mut self) -> Repetition {
        let later = Instant::now() + REPEAT_DELAY;
        let baseline = self.baseline();
        let options = baseline.options.clone();
        let known = baseline.messages.iter().zip(&baseline.outcomes);
        let known = known.filter_map(|(message, timed)| Some((message.clone(), timed.clone()?)));
        let (messages, first): (Vec<_>, Vec<_>) =
            known.map(|(message, timed)| (message, timed.outcome)).unzip();
        thread::sleep(later.saturating_duration_since(Instant::now()));
        let mut repetition = Repetition { messages, first, again: Vec::new(), failure: None };
        for (name, threads) in
            [("in another process, a second later", 0), ("from several threads at once", THREADS)]
        {
            let record = self.sandbox.run(Task::Receive(MessageRun {
                options: options.clone(),
                messages: repetition.messages.clone(),
                repeats: 3,
                threads,
                ..MessageRun::default()
            }));
            let mut again = vec![Vec::new(); repetition.messages.len()];
            for (index, outcome, _) in received(&record) {
                again[index].push(outcome.clone());
            }
            repetition.again.push((name, again));
            let failed = record.observations.iter().find_map(|observation| match observation {
                Observation::Failed { operation: Operation::Receive, what, .. } => {
                    Some(what.clone())
                }
                _ => None,
            });
            let failure = failed.or(record.death.map(|death| death.to_string()));
            if let Some(failure) = failure {
                repetition.failure = Some(format!("{failure}, asked again {name}"));
                break;
            }
        }
        repetition
    }

    /// Returns the result of each stress message.
    pub(super) fn stress_results(&mut self) -> &[StressResult] {
        if self.stress_results.is_none() {
            let results = self.run_stress_messages();
            self.stress_results = Some(results);
        }
        self.stress_results.as_deref().unwrap_or_default()
    }

    fn run_stress_messages(&mut self) -> Vec<StressResult> {
        let baseline = self.baseline();
        let options = baseline.options.clone();
        let mut messages = stress_messages::suited_to(baseline);
        if !self.has_capability(manifest::RECEIVE) {
            messages.clear();
        }
        // One table is enough: it is the code that is slow.
        for table in self.notifier_tables().into_iter().take(1) {
            messages.extend(attempts::stressful(table, stress_messages::UNITS));
        }
        let outcomes = self.send_once(&options, &messages, true);
        let results = messages.into_iter().zip(outcomes).map(|(message, timed)| StressResult {
            length_bytes: message.length_bytes(),
            name: message.name,
            took: timed.map(|timed| timed.took),
        });
        results.collect()
    }

    /// Returns the record of a long series of random and mutated messages, which ends at its first
    /// failure.
    pub(super) fn fuzz_record(&mut self) -> &Record {
        let record = match self.fuzz_record.take() {
            Some(known) => known,
            None => self.fuzz(),
        };
        self.fuzz_record.insert(record)
    }

    fn fuzz(&mut self) -> Record {
        let (requests, seed) = (self.settings.requests, self.settings.seed);
        let baseline = self.baseline();
        // A message that is known to fail would end the run when it is chosen.
        let samples = baseline.fuzz_samples();
        if samples.is_empty() && !self.has_capability(manifest::RECEIVE) {
            // Random requests are not for a notifier.
            return Record::default();
        }
        let options = self.baseline().options.clone();
        let task = Task::Fuzz(FuzzRun { options, samples, seed, requests });
        self.sandbox.watch(task, |index| {
            if index % 1000 == 0 {
                (self.progress)(&format!("request {index} of {requests}"));
            }
        })
    }
}

/// Returns the outcomes of a record, in the order in which they came.
pub(super) fn received(record: &Record) -> impl Iterator<Item = (usize, &Value, Duration)> {
    record.observations.iter().filter_map(|observation| match observation {
        Observation::Received { index, outcome, micros } => {
            Some((*index, outcome, Duration::from_micros(*micros)))
        }
        _ => None,
    })
}

fn of_fixture(fixture: &Fixture, table: usize) -> Message {
    let headers = fixture.header_lines().into_iter();
    Message {
        name: fixture.name.clone(),
        options: table,
        headers: headers.map(|(name, value)| (name, Bytes(value.into()))).collect(),
        query: fixture.query.clone().unwrap_or_default(),
        body: Body::Whole(Bytes(fixture.body())),
        attempt: None,
    }
}
