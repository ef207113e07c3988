//! Check `loads`: a host can map it and find its functions, and it gives its schema.
//!
//! The schema is judged by another check.

use super::{Verdict, examination::Examination};
use crate::sandbox::{Said, Task};

pub(super) fn check(examination: &mut Examination<'_>) -> Verdict {
    let record = examination.trial.run(Task::Schema);
    for said in &record.said {
        match said {
            Said::Loaded => examination.is_loaded = true,
            Said::NotLoaded(why) => return Verdict::failed(why),
            _ => {}
        }
    }
    match record.death {
        Some(death) if !examination.is_loaded => Verdict::failed(format!("{death}, being loaded")),
        _ => Verdict::passed(format!("in this host, {}", env!("CARGO_PKG_VERSION"))),
    }
}
