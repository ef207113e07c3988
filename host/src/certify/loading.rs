//! The check `loads`: a host can map the plugin and find its functions, and the plugin gives its schema.
//!
//! Another check judges the schema.

use super::{context::CheckContext, verdict::Verdict};
use crate::sandbox::protocol::{Observation, Task};

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let record = context.sandbox.run(Task::Schema);
    for observation in &record.observations {
        match observation {
            Observation::Loaded => context.is_loaded = true,
            Observation::NotLoaded(why) => return Verdict::failed(why),
            _ => {}
        }
    }
    match record.death {
        Some(death) if !context.is_loaded => {
            Verdict::failed(format!("{death} while it was loaded"))
        }
        _ => Verdict::passed(format!("in this host, {}", env!("CARGO_PKG_VERSION"))),
    }
}
