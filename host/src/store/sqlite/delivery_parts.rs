//! Changes of many deliveries that a person asks for, in several transactions.
//!
//! Each part is a job of its own: once a part is on disk, the next one joins the end of the writer's queue,
//! so that other jobs do not wait for all parts.

use std::{
    cell::RefCell,
    sync::{Arc, mpsc::Sender},
};

use jiff::Timestamp;

use super::{delivery_job::DeliveryJob, write_job::WriteJob, write_transaction::WriteTransaction};
use crate::{
    alert::Actor,
    store::{Responder, StoreError, deliveries::Which},
};

/// Number of deliveries that one transaction changes. News about one alert is in one part.
const PART: usize = 500;

/// Change that a person asks for.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Retry,
    Discard,
}

/// Message that a person chose.
pub(super) struct Chosen {
    pub(super) alert: i64,
    pub(super) seq: i64,
}

/// The next part of a [`Change`] of the deliveries that a person chose.
pub(super) struct DeliveryParts {
    pub(super) change: Change,
    pub(super) which: Which,
    pub(super) by: Actor,
    pub(super) now: Timestamp,
    pub(super) progress: Progress,
    pub(super) result: RefCell<Option<Progress>>,
    pub(super) writer: Sender<WriteJob>,
    pub(super) responder: Responder<u64>,
}

/// Progress of [`DeliveryParts`].
#[derive(Default)]
pub(super) struct Progress {
    /// Messages that the first part found; none before it.
    chosen: Option<Arc<[Chosen]>>,
    /// Number of messages from the start of `chosen` that are done.
    done: usize,
    /// Number of messages that were changed.
    count: u64,
}

impl DeliveryJob for DeliveryParts {
    fn apply(&self, open: &mut WriteTransaction<'_>) -> rusqlite::Result<()> {
        let Progress { chosen, done, count } = &self.progress;
        if chosen.is_none() && matches!(self.change, Change::Retry) {
            open.end_pause_of(&self.which)?;
        }
        let chosen = match chosen {
            Some(chosen) => chosen.clone(),
            None => open.chosen(&self.which)?.into(),
        };
        let part = part(&chosen[*done..]);
        let changed = match self.change {
            Change::Retry => open.retry_deliveries(part, &self.by, self.now)?,
            Change::Discard => open.discard_deliveries(part, &self.by, self.now)?,
        };
        let (done, count) = (done + part.len(), count + changed);
        self.result.replace(Some(Progress { chosen: Some(chosen), done, count }));
        Ok(())
    }

    fn answer(mut self: Box<Self>) {
        let Some(progress) = self.result.take() else { return };
        if progress.chosen.as_ref().is_none_or(|chosen| chosen.len() == progress.done) {
            return self.responder.answer(Ok(progress.count));
        }
        self.progress = progress;
        let writer = self.writer.clone();
        // A closed store drops the job, and with it the responder.
        let _ = writer.send(WriteJob::Delivery(self));
    }

    fn refuse(self: Box<Self>, error: &StoreError) {
        self.responder.answer(Err(error.clone()));
    }
}

/// Returns the messages of the next transaction.
fn part(left: &[Chosen]) -> &[Chosen] {
    let mut end = PART.min(left.len());
    while end < left.len() && left[end].alert == left[end - 1].alert {
        end += 1;
    }
    &left[..end]
}
