//! A call of a plugin, and what can come of it: one narrow interface.
//!
//! [`in_process`] is the first way of calling. The call runs on a thread of a pool, so that one that
//! does not return costs a thread and not a request's place in the runtime.

mod breaker;
pub mod in_process;
mod pool;

use std::{fmt, sync::Arc, time::Duration};

use axum::http::request::Parts;
use bytes::Bytes;
use jiff::Timestamp;
use tocsin_plugin_api::outcome::Outcome;
use ulid::Ulid;

pub use breaker::{Breaker, BreakerState};
pub use pool::Pool;

use crate::problem::Problem;

/// Calls one instance of a plugin for one integration.
pub trait Caller: Send + Sync {
    /// Translates a request, and calls `then` with what came of it, whatever the plugin does: a call
    /// may wait for its turn as long as the deadline, and take as long again.
    ///
    /// A continuation rather than a future: whoever asks need not be woken before the outcome is
    /// stored. It must not block.
    fn call(&self, request: Arc<IncomingRequest>, then: Called);

    /// Whether there has ever been an instance.
    fn is_started(&self) -> bool;

    /// How the plugin has fared.
    fn health(&self) -> CallerHealth;

    /// Whether the plugin is called, and what speaks against it.
    fn breaker(&self) -> BreakerReport;
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Then it is given up.
    pub deadline: Duration,
    /// Then it is slow, which is said and nothing more; none: no call is.
    pub slow: Option<Duration>,
}

/// Mapping a library, and preparing an instance of it, such as compiling its patterns, may take longer
/// than a call.
const LEAST_TIME_TO_START: Duration = Duration::from_secs(5);

impl CallLimits {
    /// How long a plugin may take to be loaded, and each of its instances to be made.
    pub fn time_to_start(&self) -> Duration {
        self.deadline.max(LEAST_TIME_TO_START)
    }
}

/// A request as it arrived, with its whole body.
#[derive(Debug)]
pub struct IncomingRequest {
    /// What its answer, its record and its log lines call it.
    pub id: Ulid,
    /// Method, URI and headers.
    pub head: Parts,
    /// The body.
    pub body: Bytes,
}

/// Why a call gave no outcome. All of them are the plugin's or the host's fault, none the sender's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The plugin panicked.
    Panicked(String),
    /// The call did not return within the deadline, or did not get its turn.
    Deadline(Duration),
    /// The call did not get its turn because the system gave no thread for it.
    NoThread(String),
    /// The plugin failed again and again, and is left alone for so long.
    BackingOff(Duration),
    /// There is no instance, or its answer makes no sense.
    Unusable(String),
}

impl CallFailure {
    /// When another try makes sense.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::BackingOff(left) => *left,
            _ => Duration::from_secs(1),
        }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "the plugin panicked: {message}"),
            Self::Deadline(deadline) => write!(f, "the plugin did not answer within {deadline:?}"),
            Self::NoThread(error) => write!(
                f,
                "the system gave no thread for the call of the plugin: {error}; hint: raise the limit \
                 on threads (`ulimit -u`, or `TasksMax=` of systemd)"
            ),
            Self::BackingOff(left) => {
                write!(f, "the plugin failed again and again and is left alone for {left:.0?}")
            }
            Self::Unusable(reason) => f.write_str(reason),
        }
    }
}

/// What a plugin made of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What came out.
    pub outcome: Outcome,
    /// How long the plugin had it.
    pub took: Duration,
}

/// What came of a call.
pub type CallResult = Result<Judged, CallFailure>;

/// What happens after a call. Dropped unused if the host is stopping.
pub type Called = Box<dyn FnOnce(CallResult) + Send>;

/// How a plugin has fared in one integration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerHealth {
    /// Why the plugin cannot be called now; none while it serves.
    pub problem: Option<Problem>,
    /// The last failure of a plugin that serves again.
    pub last_failure: Option<Problem>,
}

/// Whether a plugin is called in one integration, and what speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerReport {
    /// Whether it is called.
    pub state: BreakerState,
    /// When it is called again; none while it is.
    pub retry_at: Option<Timestamp>,
    /// How often it failed within the last minute.
    pub failures: usize,
    /// How often it was left alone since the integration was last set up.
    pub trips: u64,
}
