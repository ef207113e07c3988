//! Jobs that change many deliveries in several transactions.
//!
//! Each part is a job of its own: once a part is on disk, the next one joins the end of the writer's queue,
//! so that other jobs do not wait for all parts.

use std::{cell::RefCell, sync::mpsc::Sender};

use super::{delivery_job::DeliveryJob, write_job::WriteJob};
use crate::store::{
    Responder, StoreError,
    sql::{DeliveryChange, DeliveryChangeProgress, SqlResult, Transaction},
};

/// The next part of a [`DeliveryChange`].
pub(super) struct DeliveryParts {
    pub(super) wanted: DeliveryChange,
    pub(super) progress: DeliveryChangeProgress,
    pub(super) result: RefCell<Option<DeliveryChangeProgress>>,
    pub(super) writer: Sender<WriteJob>,
    pub(super) responder: Responder<u64>,
}

impl DeliveryJob for DeliveryParts {
    fn apply(&self, open: &mut Transaction<'_>) -> SqlResult<()> {
        let progress = open.change_deliveries(&self.wanted, &self.progress)?;
        self.result.replace(Some(progress));
        Ok(())
    }

    fn answer(mut self: Box<Self>) {
        let Some(progress) = self.result.take() else { return };
        if let Some(count) = progress.finished() {
            return self.responder.answer(Ok(count));
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
