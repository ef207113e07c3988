//! The protocol between a host and its sandbox: a [`SandboxJob`] as JSON on the child's standard
//! input, and [`Observation`]s as lines of JSON on its standard output.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{message::Message, violation::Violation};

/// A library and the task for the child that loads it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SandboxJob {
    pub(super) library: PathBuf,
    pub(super) sha256: Option<String>,
    pub(super) task: Task,
}

/// A task for a child, once it has loaded the plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Loads the plugin and asks for the schema of its options, as a host does.
    Load,
    /// Reports the JSON Schema of the options.
    Schema,
    /// Makes an instance from each options table and drops it at once.
    Make(Vec<Value>),
    /// Has instances receive messages.
    Receive(MessageRun),
    /// Has instances receive random and mutated messages.
    Fuzz(FuzzRun),
}

/// Messages to receive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MessageRun {
    /// The options tables, one for each instance.
    pub options: Vec<Value>,
    /// The messages. Each names its instance by the position of its options table.
    pub messages: Vec<Message>,
    /// The number of times that each message is received in a row.
    pub repeats: usize,
    /// The number of threads that receive at once; 0 is the main thread alone.
    pub threads: usize,
    /// The confinement of the child; `None` for none.
    pub confinement: Option<Confinement>,
    /// True if outcomes are left out of the record: those of huge messages are huge.
    pub is_brief: bool,
}

/// The limits of a confined plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Confinement {
    /// No system calls but those that computing needs.
    SystemCalls,
    /// The same, and no environment.
    Environment,
}

/// Random and mutated messages, which the child makes itself: the same seed gives the same messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FuzzRun {
    /// The options tables, one for each instance.
    pub options: Vec<Value>,
    /// The messages to mutate.
    pub samples: Vec<Message>,
    /// The seed of the random numbers.
    pub seed: u64,
    /// The number of messages.
    pub requests: usize,
}

/// An operation of a plugin that takes time and can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// Loading the library, in [`Task::Load`].
    Load,
    /// Giving the schema of the options.
    Schema,
    /// Making an instance.
    New,
    /// Receiving a message.
    Receive,
    /// Dropping an instance.
    Drop,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "being loaded",
            Self::Schema => "giving its schema",
            Self::New => "making an instance",
            Self::Receive => "receiving a message",
            Self::Drop => "dropping an instance",
        })
    }
}

/// A line of a child's output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Observation {
    /// The library is loaded.
    Loaded,
    /// The library cannot be loaded, for this reason.
    NotLoaded(String),
    /// An [`Operation`] began, on the options table or message at this position.
    Began(Operation, usize),
    /// The schema of the options.
    Schema(Value),
    /// The plugin gives no schema, for this reason, though it did not panic.
    NoSchema(String),
    /// An instance was made from the options table at this position.
    Made(usize),
    /// The plugin refused its options.
    Refused {
        /// The position in [`Task::Make`] or [`MessageRun::options`].
        index: usize,
        /// The sentence, as an operator sees it.
        sentence: String,
    },
    /// An instance received a message.
    Received {
        /// The position in [`MessageRun::messages`].
        index: usize,
        /// The outcome, as it crosses the boundary; null if the run [is brief](MessageRun::is_brief).
        outcome: Value,
        /// The duration of the call.
        micros: u64,
    },
    /// The plugin panicked, or gave an invalid answer.
    Failed {
        /// The operation that failed.
        operation: Operation,
        /// The position of the options table or message.
        index: usize,
        /// The failure, such as `panicked: ...`.
        what: String,
    },
    /// The resident anonymous memory after this number of messages.
    Memory {
        /// The number of messages received so far.
        requests: usize,
        /// The memory in bytes.
        anonymous_bytes: u64,
    },
    /// The plugin broke its [`Confinement`], and the child was ended.
    Violation(Violation),
    /// The machine cannot confine the plugin, for this reason.
    NotConfined(String),
    /// The task is complete.
    Done,
}
