//! Jobs for the writing thread, and their results.
//!
//! [`super::writer`] gathers jobs into transactions and carries them out, and [`super::syncer`] answers them
//! once their transaction is on disk.

use super::{delivery_job::DeliveryJob, write_transaction::WriteTransaction};
use crate::{
    alert::AlertRef,
    request::{Effect, Submission, timeline::Timeline},
    store::{
        CommitCallback, ManualChange, ManualChangeOutcome, Responder, StoreError,
        housekeeping::{HousekeepingProgress, HousekeepingStep},
        long_submission::LongSubmission,
        sql::SqlResult,
    },
};

/// Job for the writing thread, with the place where its answer goes.
pub(super) enum WriteJob {
    Commit(Submission, CommitCallback),
    /// The next part of a submission that needs several transactions.
    Part(LongSubmission),
    Rehearse(Submission, Responder<Vec<Effect>>),
    ManualChange(AlertRef, ManualChange, Responder<ManualChangeOutcome>),
    Housekeep(HousekeepingStep, Responder<HousekeepingProgress>),
    Delivery(Box<dyn DeliveryJob>),
    Probe(Responder<()>),
    /// A slice of [keys](super::unindexed_keys), for which nobody waits.
    IndexKeys,
    Stop,
}

/// Result of a [`WriteJob`], held back until its transaction is on disk.
pub(super) enum JobResult {
    Commit(Vec<Effect>),
    ManualChange(ManualChangeOutcome),
    Housekeep(HousekeepingProgress),
    /// The job itself keeps its result.
    Delivery,
    Probe,
    IndexKeys,
}

impl WriteJob {
    /// Carries the job out in an open transaction.
    pub(super) fn apply(&self, open: &mut WriteTransaction<'_>) -> SqlResult<JobResult> {
        match self {
            Self::Commit(submission, _) => open.submit(submission).map(JobResult::Commit),
            Self::Part(long) => open.submit_part(long).map(JobResult::Commit),
            Self::ManualChange(alert, change, _) => {
                open.shared().change(*alert, change).map(JobResult::ManualChange)
            }
            Self::Housekeep(step, _) => open.shared().housekeep(step).map(JobResult::Housekeep),
            Self::Delivery(job) => job.apply(&mut open.shared()).map(|()| JobResult::Delivery),
            Self::Probe(_) => open.probe().map(|()| JobResult::Probe),
            Self::IndexKeys => {
                open.state.keys.write_slice(open.kept).map(|()| JobResult::IndexKeys)
            }
            // The writer takes these jobs out before it opens a transaction.
            Self::Rehearse(..) | Self::Stop => Ok(JobResult::Probe),
        }
    }

    /// Returns true if this job, once it is on disk, proves that requests can be committed. Other jobs may
    /// have written nothing, which succeeds on a full disk, too.
    pub(super) fn is_a_proof(&self) -> bool {
        matches!(self, Self::Commit(..) | Self::Probe(_))
    }

    /// Returns false if this job surely changes no alert.
    pub(super) fn may_change_alerts(&self) -> bool {
        match self {
            Self::Commit(..) | Self::Part(_) | Self::ManualChange(..) | Self::Housekeep(..) => true,
            Self::Rehearse(..)
            | Self::Delivery(_)
            | Self::Probe(_)
            | Self::IndexKeys
            | Self::Stop => false,
        }
    }

    /// Returns true if the job can wait a little for others.
    pub(super) fn is_patient(&self) -> bool {
        matches!(self, Self::Delivery(job) if job.is_patient())
    }

    /// Returns true if the job leaves the number of its transaction in the database.
    pub(super) fn keeps_transaction(&self) -> bool {
        !matches!(self, Self::Delivery(_) | Self::IndexKeys)
    }

    pub(super) fn arrival(&self) -> u128 {
        match self {
            Self::Commit(submission, _) => submission.request_id.into(),
            Self::Part(long) => long.submission().request_id.into(),
            _ => u128::MAX,
        }
    }

    /// Returns the place for the moments of the commit, if the job belongs to a request with a trace.
    pub(super) fn timeline(&self) -> Option<&Timeline> {
        match self {
            Self::Commit(submission, _) => submission.timeline.as_deref(),
            Self::Part(long) => long.submission().timeline.as_deref(),
            _ => None,
        }
    }

    pub(super) fn event_count(&self) -> usize {
        match self {
            Self::Commit(submission, _) => submission.event_count(),
            _ => 0,
        }
    }

    pub(super) fn answer(self, done: JobResult) {
        match (self, done) {
            (Self::Commit(_, then), JobResult::Commit(effects)) => then(Ok(effects)),
            (Self::ManualChange(.., responder), JobResult::ManualChange(changed)) => {
                responder.answer(Ok(changed));
            }
            (Self::Housekeep(_, responder), JobResult::Housekeep(progress)) => {
                responder.answer(Ok(progress));
            }
            (Self::Delivery(job), JobResult::Delivery) => job.answer(),
            (Self::Probe(responder), JobResult::Probe) => responder.answer(Ok(())),
            _ => {}
        }
    }

    pub(super) fn refuse(self, error: &StoreError) {
        match self {
            Self::Commit(_, then) => then(Err(error.clone())),
            Self::Part(long) => long.refuse(error),
            Self::Rehearse(_, responder) => responder.answer(Err(error.clone())),
            Self::ManualChange(.., responder) => responder.answer(Err(error.clone())),
            Self::Housekeep(_, responder) => responder.answer(Err(error.clone())),
            Self::Delivery(job) => job.refuse(error),
            Self::Probe(responder) => responder.answer(Err(error.clone())),
            Self::IndexKeys | Self::Stop => {}
        }
    }
}
