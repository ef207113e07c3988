//! Jobs of the writing thread that carry their own work.
//!
//! A job may be done twice, since a transaction that fails is tried again job by job. The result is
//! kept until the transaction is on disk.

use std::cell::RefCell;

use crate::store::{
    Responder, StoreError,
    sql::{SqlResult, Transaction},
};

/// Work within a transaction, with the place where its answer goes.
pub(super) trait DeliveryJob: Send {
    /// Does the work, and keeps the result.
    fn apply(&self, open: &mut Transaction<'_>) -> SqlResult<()>;

    /// Answers with the result.
    fn answer(self: Box<Self>);

    /// Answers with an error.
    fn refuse(self: Box<Self>, error: &StoreError);

    /// Returns true if the job can wait a little for others, so that they share a transaction.
    fn is_patient(&self) -> bool {
        false
    }
}

/// Makes a [`DeliveryJob`] of a closure.
pub(super) fn job<T, F>(work: F, responder: Responder<T>) -> Box<dyn DeliveryJob>
where
    T: Send + 'static,
    F: Fn(&mut Transaction<'_>) -> SqlResult<T> + Send + 'static,
{
    Box::new(Job { work, result: RefCell::new(None), responder, is_patient: false })
}

/// Makes a [patient](DeliveryJob::is_patient) job of a closure.
pub(super) fn patient_job<T, F>(work: F, responder: Responder<T>) -> Box<dyn DeliveryJob>
where
    T: Send + 'static,
    F: Fn(&mut Transaction<'_>) -> SqlResult<T> + Send + 'static,
{
    Box::new(Job { work, result: RefCell::new(None), responder, is_patient: true })
}

struct Job<T, F> {
    work: F,
    result: RefCell<Option<T>>,
    responder: Responder<T>,
    is_patient: bool,
}

impl<T, F> DeliveryJob for Job<T, F>
where
    T: Send,
    F: Fn(&mut Transaction<'_>) -> SqlResult<T> + Send,
{
    fn apply(&self, open: &mut Transaction<'_>) -> SqlResult<()> {
        self.result.replace(Some((self.work)(open)?));
        Ok(())
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result.into_inner() {
            self.responder.answer(Ok(result));
        }
    }

    fn refuse(self: Box<Self>, error: &StoreError) {
        self.responder.answer(Err(error.clone()));
    }

    fn is_patient(&self) -> bool {
        self.is_patient
    }
}
