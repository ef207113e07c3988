//! Calls of plugins: one narrow interface for requests, whatever runs the plugins.
//!
//! A [`PluginRuntime`] gives instances that translate requests, and may misbehave in any way. A
//! [`Caller`] wraps one plugin for one integration or destination: it calls the plugin on the threads of a
//! [`CallPool`], gives up calls after a deadline, replaces instances that failed, and stops calling a
//! plugin that fails repeatedly. None of that depends on the runtime.
//!
//! Each capability of plugins has a pool of its own: [`CallPool`] for `receive` and [`NotifierPool`] for
//! `notify`, so that a notifier that hangs takes no thread from webhooks. A caller is for one of them.

mod breaker;
mod caller;
mod health;
mod in_process;
mod instance_slot;
mod notifier;
mod outcome;
mod pool;
pub(crate) mod runtime;

use std::{fmt, time::Duration};

use ::http::request::Parts;
use bytes::Bytes;
use ulid::Ulid;

pub(crate) use self::{
    breaker::BreakerState,
    caller::{Caller, NotifierCaller},
    health::{BreakerReport, CallerHealth},
    in_process::InProcessRuntime,
    instance_slot::StartError,
    notifier::{NotifierInput, NotifierOutput, NotifierResult},
    outcome::ReadOutcome,
    runtime::{PluginRuntime, RunnablePlugin},
};

/// The threads on which plugins receive requests.
pub(crate) type CallPool = pool::Pool<IncomingRequest, CallResult>;

/// The threads on which plugins translate notifications.
pub(crate) type NotifierPool = pool::Pool<NotifierInput, NotifierResult>;

/// Limits on the time of the calls of a [`Caller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallLimits {
    /// The time after which a call is given up.
    pub deadline: Duration,
    /// The time from which a call is logged and counted as slow; none if no call is.
    pub slow: Option<Duration>,
}

/// Loading a plugin, and making an instance of it, such as compiling its patterns, may take longer than
/// a call.
const SHORTEST_START_TIMEOUT: Duration = Duration::from_secs(5);

impl CallLimits {
    /// Returns the timeout for [loading](PluginRuntime::load) a plugin, and for making its first
    /// instance.
    pub(crate) fn start_timeout(&self) -> Duration {
        self.deadline.max(SHORTEST_START_TIMEOUT)
    }
}

/// A request as it arrived, with its whole body. A [`PluginInstance`](runtime::PluginInstance) receives
/// requests in this form.
#[derive(Debug)]
pub(crate) struct IncomingRequest {
    /// The id in the answer, in the record and in log lines.
    pub id: Ulid,
    /// Method, URI and headers.
    pub head: Parts,
    /// The body.
    pub body: Bytes,
}

/// Failure of a call to give an outcome. The cause is the plugin or the host, never the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallFailure {
    /// The plugin panicked.
    Panicked(String),
    /// The call did not return within the deadline, or had to wait longer than that for a thread.
    Deadline(Duration),
    /// The call was not made because the system gave no thread for it.
    NoThread(String),
    /// The plugin failed repeatedly, and is not called for this long.
    BackingOff(Duration),
    /// There is no instance, or its answer is invalid.
    Unusable(String),
}

impl CallFailure {
    /// Returns how long a sender should wait before the next try.
    pub(crate) fn retry_after(&self) -> Duration {
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
                "the system refused a thread for the call of the plugin: {error}; hint: raise the \
                 limit on threads (`ulimit -u`, or `TasksMax=` of systemd)"
            ),
            Self::BackingOff(left) => {
                write!(f, "the plugin failed repeatedly and is not called for {left:.0?}")
            }
            Self::Unusable(reason) => f.write_str(reason),
        }
    }
}

/// The outcome of a call that returned in time, see [`Caller::call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallOutcome {
    /// The plugin's outcome for the request.
    pub outcome: ReadOutcome,
    /// The time that the call took.
    pub took: Duration,
}

/// The result of a call: a [`CallOutcome`] or a [`CallFailure`].
pub(crate) type CallResult = Result<CallOutcome, CallFailure>;

/// The continuation of [`Caller::call`]. It must not block, and is dropped without being called if the
/// host stops.
///
/// A continuation rather than a future: no task has to be woken before the outcome is stored.
pub(crate) type OnResult = Box<dyn FnOnce(CallResult) + Send>;

/// The continuation of [`NotifierCaller::notify`], under the same rules as [`OnResult`].
pub(crate) type OnNotifierResult = Box<dyn FnOnce(NotifierResult) + Send>;

#[cfg(test)]
mod tests;
