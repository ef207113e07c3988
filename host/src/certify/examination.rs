//! What the checks share: the plugin's schema, options that it accepts, messages, and what it makes
//! of them, each found out once and by the check that needs it first.
//!
//! It judges nothing. What goes wrong on the way is kept as [`Trouble`], for the check it belongs to.

use std::{
    thread,
    time::{Duration, Instant},
};

use jsonschema::Validator;
use serde_json::Value;
use tocsin_plugin_api::{manifest::Manifest, testing::Fixture};

use super::{Needs, Settings, adversaries, corpus, tables};
use crate::{
    plugins::admission::AdmissionRefusal,
    sandbox::{Death, Doing, Questions, Record, Said, Sandbox, Storm, Task, message::Message},
};

/// No child lives longer, so that the whole ends in bounded time whatever the plugin does.
const CHILD_LIMIT: Duration = Duration::from_secs(600);
/// After so many troubles of a kind, the rest is no longer looked at.
const MOST_TROUBLES: usize = 3;
/// Of more different options, the first are used.
const MOST_TABLES: usize = 24;
/// Time that passes before a message is asked again, so that a clock that shows, shows.
const A_SECOND_LATER: Duration = Duration::from_millis(1100);
/// How many threads ask at once.
pub(super) const THREADS: usize = 4;

/// One plugin under examination.
pub(super) struct Examination<'a> {
    pub(super) settings: &'a Settings,
    progress: &'a dyn Fn(&str),
    pub(super) trial: Sandbox,
    /// Set by the check of the manifest.
    pub(super) admission: Option<Result<Manifest, AdmissionRefusal>>,
    /// Set by the check that it loads.
    pub(super) is_loaded: bool,
    /// Set by the check that it is valid.
    pub(super) schema: Option<OptionsSchema>,
    tables: Option<Vec<Table>>,
    acquaintance: Option<Baseline>,
    repetition: Option<Repetition>,
    ordeal: Option<Vec<StressResult>>,
    storm: Option<Record>,
    /// Panics and crashes, wherever they were met.
    pub(super) troubles: Vec<Trouble>,
}

/// A schema, and what validates by it.
pub(super) struct OptionsSchema {
    pub(super) json: Value,
    pub(super) validator: Validator,
}

/// Options that the plugin accepts.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// As in `with the options of fixture x`.
    pub(super) name: String,
    pub(super) options: Value,
}

/// Something that must not happen.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// Whether a call did not return: that is the deadline's matter.
    pub(super) is_hang: bool,
    /// The whole sentence.
    pub(super) sentence: String,
}

/// Messages, and what came of each when it was first asked.
pub(super) struct Baseline {
    pub(super) options: Vec<Value>,
    pub(super) messages: Vec<Message>,
    pub(super) outcomes: Vec<Option<Heard>>,
    /// The message of each fixture; none where its options are refused.
    pub(super) of_fixtures: Vec<Option<usize>>,
}

/// What came of a message.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) outcome: Value,
    pub(super) took: Duration,
}

/// What came of each message when it was asked again.
pub(super) struct Repetition {
    /// The messages that are known to give an outcome.
    pub(super) messages: Vec<Message>,
    /// What they gave first.
    pub(super) first: Vec<Value>,
    /// What each gave in another process, several times in a row, with a name for that.
    pub(super) again: Vec<(&'static str, Vec<Vec<Value>>)>,
    /// Why it could not be asked to the end.
    pub(super) trouble: Option<String>,
}

/// What came of an adversarial message.
pub(super) struct StressResult {
    pub(super) name: String,
    pub(super) length_bytes: usize,
    /// None where it did not come back.
    pub(super) took: Option<Duration>,
}

impl<'a> Examination<'a> {
    pub(super) fn new(settings: &'a Settings, progress: &'a dyn Fn(&str)) -> Self {
        // One that comes back late is told apart from one that does not come back.
        let patience = settings.deadline * 2;
        Self {
            settings,
            progress,
            trial: Sandbox::new(&settings.file, patience, CHILD_LIMIT),
            admission: None,
            is_loaded: false,
            schema: None,
            tables: None,
            acquaintance: None,
            repetition: None,
            ordeal: None,
            storm: None,
            troubles: Vec::new(),
        }
    }

    pub(super) fn tell(&self, what: &str) {
        (self.progress)(what);
    }

    pub(super) fn manifest(&self) -> Option<&Manifest> {
        match self.admission.as_ref()? {
            Ok(manifest) => Some(manifest),
            Err(refusal) => refusal.manifest.as_deref(),
        }
    }

    /// Why a check with such needs makes no sense.
    pub(super) fn lacks(&mut self, needs: Needs) -> Option<String> {
        if needs >= Needs::Manifest && !self.admission.as_ref().is_some_and(Result::is_ok) {
            return Some("no host admits the file".into());
        }
        if needs >= Needs::Library && !self.is_loaded {
            return Some("it can't be loaded".into());
        }
        if needs == Needs::Schema && self.schema.is_none() {
            return Some("it has no valid schema".into());
        }
        if needs == Needs::Instance && self.tables().is_empty() {
            let hint = "give some that are good with --fixtures or --options";
            return Some(format!("no options were found that it accepts\nhint: {hint}"));
        }
        None
    }

    /// Options that it accepts: those of the fixtures, else made from the schema.
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
        // One made from the schema is as good as another.
        if self.settings.fixtures.is_empty() {
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
        let mut candidates: Vec<Table> = Vec::new();
        for fixture in &self.settings.fixtures {
            if !candidates.iter().any(|table| table.options == fixture.options) {
                let name = format!("the options of fixture `{}`", fixture.name);
                candidates.push(Table { name, options: fixture.options.clone() });
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

    /// Tries to make an instance of each table; none where trouble left no time to. Panics and
    /// crashes are kept as troubles, under the name of the table.
    pub(super) fn make(
        &mut self,
        tables: &[Value],
        name: &dyn Fn(usize) -> String,
    ) -> Vec<Option<Made>> {
        let mut made: Vec<Option<Made>> = vec![None; tables.len()];
        let (mut from, mut troubles) = (0, 0);
        while from < tables.len() && troubles < MOST_TROUBLES {
            let record = self.trial.run(Task::Make(tables[from..].to_vec()));
            for said in record.said {
                let (index, what) = match said {
                    Said::Made(index) => (index, Made::Accepted),
                    Said::Refused { index, sentence } => (index, Made::Refused(sentence)),
                    Said::Failed { doing, index, what } => {
                        let name = name(from + index);
                        self.trouble(false, format!("{what}, {} with {name}", doing_words(doing)));
                        // A destructor that panics leaves the options good.
                        if doing == Doing::Drop { continue } else { (index, Made::Troubled) }
                    }
                    _ => continue,
                };
                made[from + index] = Some(what);
            }
            let Some(death) = record.death else { break };
            let (doing, index) = record.at.unwrap_or((Doing::New, 0));
            let sentence = format!("{death}, {} with {}", doing_words(doing), name(from + index));
            self.trouble(matches!(death, Death::Hung(_) | Death::Overtime(_)), sentence);
            made[from + index] = Some(Made::Troubled);
            from += index + 1;
            troubles += 1;
        }
        made
    }

    /// Messages and what comes of each.
    pub(super) fn acquaintance(&mut self) -> &Baseline {
        let acquaintance = match self.acquaintance.take() {
            Some(known) => known,
            None => self.get_acquainted(),
        };
        self.acquaintance.insert(acquaintance)
    }

    fn get_acquainted(&mut self) -> Baseline {
        let tables = self.tables().to_vec();
        let mut messages = Vec::new();
        let mut of_fixtures = Vec::new();
        for fixture in &self.settings.fixtures {
            // With --options, theirs are used for all.
            let table = tables.iter().position(|table| table.options == fixture.options);
            let table = table.or(self.settings.options.as_ref().map(|_| 0));
            of_fixtures.push(table.map(|_| messages.len()));
            messages.extend(table.map(|table| of_fixture(fixture, table)));
        }
        messages.extend(corpus::usual());
        let options: Vec<_> = tables.into_iter().map(|table| table.options).collect();
        let outcomes = self.ask_once(&options, &messages, false);
        Baseline { options, messages, outcomes, of_fixtures }
    }

    /// Asks every message once, in new children after those that trouble a child.
    fn ask_once(
        &mut self,
        options: &[Value],
        messages: &[Message],
        is_brief: bool,
    ) -> Vec<Option<Heard>> {
        let mut heard: Vec<Option<Heard>> = vec![None; messages.len()];
        let (mut from, mut troubles) = (0, 0);
        while from < messages.len() && troubles < MOST_TROUBLES {
            let record = self.trial.run(Task::Ask(Questions {
                options: options.to_vec(),
                messages: messages[from..].to_vec(),
                is_brief,
                ..Questions::default()
            }));
            for (index, outcome, took) in received(&record) {
                heard[from + index] = Some(Heard { outcome: outcome.clone(), took });
            }
            let Some(at) = self.keep_troubles(&record, &messages[from..]) else { break };
            from += at + 1;
            troubles += 1;
        }
        heard
    }

    /// Keeps what went wrong, and says at which message it did.
    fn keep_troubles(&mut self, record: &Record, messages: &[Message]) -> Option<usize> {
        let name = |index: usize| {
            messages.get(index).map_or("?", |message| message.name.as_str()).to_owned()
        };
        let mut at = None;
        for said in &record.said {
            match said {
                Said::Failed { doing: Doing::Receive, index, what } => {
                    self.trouble(false, format!("{what}, receiving `{}`", name(*index)));
                    at = Some(*index);
                }
                Said::Failed { doing, what, .. } => {
                    self.trouble(false, format!("{what}, {}", doing_words(*doing)));
                }
                _ => {}
            }
        }
        if let Some(death) = &record.death {
            let (doing, index) = record.at.unwrap_or((Doing::New, 0));
            let what = match doing {
                Doing::Receive => format!("receiving `{}`", name(index)),
                doing => doing_words(doing).into(),
            };
            let is_hang = matches!(death, Death::Hung(_) | Death::Overtime(_));
            self.trouble(is_hang, format!("{death}, {what}"));
            // Not at a message: there is nothing to go on from.
            at = Some(if doing == Doing::Receive { index } else { messages.len() });
        }
        at
    }

    fn trouble(&mut self, is_hang: bool, sentence: String) {
        if !self.troubles.iter().any(|trouble| trouble.sentence == sentence) {
            self.troubles.push(Trouble { is_hang, sentence });
        }
    }

    /// What the same messages give again: in a row, in another process, later, from several threads.
    pub(super) fn repetition(&mut self) -> &Repetition {
        let repetition = match self.repetition.take() {
            Some(known) => known,
            None => self.repeat(),
        };
        self.repetition.insert(repetition)
    }

    fn repeat(&mut self) -> Repetition {
        let later = Instant::now() + A_SECOND_LATER;
        let acquaintance = self.acquaintance();
        let options = acquaintance.options.clone();
        let known = acquaintance.messages.iter().zip(&acquaintance.outcomes);
        let known = known.filter_map(|(message, heard)| Some((message.clone(), heard.clone()?)));
        let (messages, first): (Vec<_>, Vec<_>) =
            known.map(|(message, heard)| (message, heard.outcome)).unzip();
        thread::sleep(later.saturating_duration_since(Instant::now()));
        let mut repetition = Repetition { messages, first, again: Vec::new(), trouble: None };
        for (name, threads) in
            [("in another process, a second later", 0), ("from several threads at once", THREADS)]
        {
            let record = self.trial.run(Task::Ask(Questions {
                options: options.clone(),
                messages: repetition.messages.clone(),
                repeats: 3,
                threads,
                ..Questions::default()
            }));
            let mut again = vec![Vec::new(); repetition.messages.len()];
            for (index, outcome, _) in received(&record) {
                again[index].push(outcome.clone());
            }
            repetition.again.push((name, again));
            let failed = record.said.iter().find_map(|said| match said {
                Said::Failed { doing: Doing::Receive, what, .. } => Some(what.clone()),
                _ => None,
            });
            let trouble = failed.or(record.death.map(|death| death.to_string()));
            if let Some(trouble) = trouble {
                repetition.trouble = Some(format!("{trouble}, asked again {name}"));
                break;
            }
        }
        repetition
    }

    /// What became of the adversarial messages.
    pub(super) fn ordeal(&mut self) -> &[StressResult] {
        if self.ordeal.is_none() {
            let ordeal = self.undergo();
            self.ordeal = Some(ordeal);
        }
        self.ordeal.as_deref().unwrap_or_default()
    }

    fn undergo(&mut self) -> Vec<StressResult> {
        let acquaintance = self.acquaintance();
        let (options, messages) = (acquaintance.options.clone(), adversaries::of(acquaintance));
        let heard = self.ask_once(&options, &messages, true);
        let ordeals = messages.into_iter().zip(heard).map(|(message, heard)| StressResult {
            length_bytes: message.body.length_bytes(),
            name: message.name,
            took: heard.map(|heard| heard.took),
        });
        ordeals.collect()
    }

    /// What a long series of random and mutated messages did. It ends at the first trouble.
    pub(super) fn storm(&mut self) -> &Record {
        let record = match self.storm.take() {
            Some(known) => known,
            None => self.brew(),
        };
        self.storm.insert(record)
    }

    fn brew(&mut self) -> Record {
        let (requests, seed) = (self.settings.requests, self.settings.seed);
        let acquaintance = self.acquaintance();
        // What is known to trouble it would end the storm as soon as it is met.
        let corpus = acquaintance.storm_messages();
        let options = acquaintance.options.clone();
        let task = Task::Storm(Storm { options, corpus, seed, requests });
        self.trial.watch(task, |index| {
            if index % 1000 == 0 {
                (self.progress)(&format!("request {index} of {requests}"));
            }
        })
    }
}

/// What became of an options table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Accepted,
    /// With this sentence.
    Refused(String),
    /// It panicked, crashed or hung.
    Troubled,
}

pub(super) fn doing_words(doing: Doing) -> &'static str {
    match doing {
        Doing::Load => "being loaded",
        Doing::Schema => "giving its schema",
        Doing::New => "making an instance",
        Doing::Receive => "receiving a message",
        Doing::Drop => "dropping an instance",
    }
}

/// The outcomes of a record, in the order in which they came.
pub(super) fn received(record: &Record) -> impl Iterator<Item = (usize, &Value, Duration)> {
    record.said.iter().filter_map(|said| match said {
        Said::Received { index, outcome, micros } => {
            Some((*index, outcome, Duration::from_micros(*micros)))
        }
        _ => None,
    })
}

fn of_fixture(fixture: &Fixture, table: usize) -> Message {
    use crate::sandbox::message::{Body, Bytes};

    let headers = fixture.header_lines().into_iter();
    Message {
        name: fixture.name.clone(),
        options: table,
        headers: headers.map(|(name, value)| (name, Bytes(value.into()))).collect(),
        query: fixture.query.clone().unwrap_or_default(),
        body: Body::Whole(Bytes(fixture.body())),
    }
}
