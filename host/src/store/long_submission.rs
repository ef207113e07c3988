//! Submission with more events than one transaction takes.
//!
//! The writers of the stores decide on the transactions.

use crate::request::{Effect, Submission};
use crate::store::{CommitCallback, EVENTS_TOGETHER, StoreError};

/// [`Submission`] of which some events may be committed and others are not.
pub(in crate::store) struct LongSubmission {
    submission: Submission,
    then: CommitCallback,
    /// The effects of the events that are committed, in their order.
    effects: Vec<Effect>,
}

impl LongSubmission {
    /// Returns whether a submission needs several transactions.
    pub(in crate::store) fn is_one(submission: &Submission) -> bool {
        submission.event_count() > EVENTS_TOGETHER
    }

    pub(in crate::store) fn new(submission: Submission, then: CommitCallback) -> Self {
        let effects = Vec::with_capacity(submission.event_count());
        Self { submission, then, effects }
    }

    pub(in crate::store) fn submission(&self) -> &Submission {
        &self.submission
    }

    /// Returns the effects of the events that are committed.
    pub(in crate::store) fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Adds the effects of the next part. With the last part, gives back the submission and the effects of
    /// all events.
    pub(in crate::store) fn advance(mut self, part: Vec<Effect>) -> Progress {
        self.effects.extend(part);
        if self.effects.len() < self.submission.event_count() {
            return Progress::Unfinished(self);
        }
        let Self { submission, then, effects } = self;
        Progress::Finished(submission, then, effects)
    }

    /// Gives up. Committed parts stay.
    pub(in crate::store) fn refuse(self, error: &StoreError) {
        (self.then)(Err(error.clone()));
    }
}

/// Progress of a [`LongSubmission`].
pub(in crate::store) enum Progress {
    Unfinished(LongSubmission),
    Finished(Submission, CommitCallback, Vec<Effect>),
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use rusqlite::Connection;
    use tocsin_plugin_api::Event;

    use super::*;
    use crate::alert::Actor;
    use crate::request::{Kept, RawRequest, RequestOutcome, RequestQuery, Share, ShareBounds};
    use crate::store::{AlertQuery, Store, fixture::submission, sqlite::SqliteStore};

    const COUNT: usize = 2 * EVENTS_TOGETHER + 10;

    fn open(path: &Path) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(path, "a test", Arc::default()).expect("it opens"))
    }

    /// Has the database refuse an alert that is in the last part of [`events`].
    fn break_last_part(path: &Path) -> Connection {
        let other = Connection::open(path).expect("a database");
        let trigger = format!(
            "CREATE TRIGGER no BEFORE INSERT ON alerts WHEN NEW.title = '{}' \
             BEGIN SELECT raise(ABORT, 'no'); END",
            COUNT - 1
        );
        other.execute_batch(&trigger).expect("a trigger");
        other
    }

    fn events(has_keys: bool) -> Vec<Event> {
        let event = |place: usize| {
            let event = Event::create(format!("{place}"));
            if has_keys { event.dedup_key(format!("{place}")) } else { event }
        };
        (0..COUNT).map(event).collect()
    }

    fn alerts(store: &dyn Store) -> usize {
        let query = AlertQuery { limit: 2 * COUNT, ..AlertQuery::default() };
        store.alerts(query).wait().expect("it reads").alerts.len()
    }

    #[test]
    fn a_failure_between_parts_is_an_error_and_the_next_try_completes_the_request() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let store = open(&path);
        let other = break_last_part(&path);
        let sent = submission("ops", events(true));
        let pending = store.submit(sent.clone());
        let small = store.submit(submission("ops", vec![Event::create("small")])).wait();
        small.expect("others are not failed by it");
        pending.wait().expect_err("the last part fails");
        assert_eq!(alerts(&*store), 2 * EVENTS_TOGETHER + 1, "what was committed stays");
        let record = store.request(sent.request_id).wait().expect("it reads").expect("a record");
        assert_eq!(record.outcome, RequestOutcome::Failed);
        let reason = record.reason.expect("a reason");
        let said = format!("the store has committed some of its {COUNT} events, but not all");
        assert!(reason.starts_with(&said), "{reason}");
        assert!(record.alert.is_some());

        other.execute_batch("DROP TRIGGER no").expect("it is there");
        let effects = store.submit(submission("ops", events(true))).wait().expect("it commits");
        let is_known = |effect: &Effect| matches!(effect, Effect::Occurred(_));
        assert_eq!(effects.iter().take_while(|effect| is_known(effect)).count(), COUNT - 10);
        assert!(effects[COUNT - 10..].iter().all(|it| matches!(it, Effect::Opened(_))));
        assert_eq!(alerts(&*store), COUNT + 1);
        let page = store.requests(RequestQuery { limit: 9, ..RequestQuery::default() });
        assert_eq!(page.wait().expect("it reads").requests.len(), 3);
    }

    #[test]
    fn a_replay_that_fails_between_parts_still_waits_and_the_next_try_completes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tocsin.db");
        let store = open(&path);
        let bounds = ShareBounds { count: 10, bytes: 1000 };
        let kept = Kept { raw: RawRequest::default(), share: Some((Share::Quarantine, bounds)) };
        let content = crate::request::Content::Nothing {
            outcome: RequestOutcome::Failed,
            reason: "panicked".into(),
        };
        let sent = Submission { content, kept: Some(kept), ..submission("ops", Vec::new()) };
        let request_id = sent.request_id;
        store.submit(sent).wait().expect("it is kept");
        let replay = || Submission {
            request_id,
            replayed_by: Some(Actor::Api(None)),
            ..submission("ops", events(false))
        };
        let other = break_last_part(&path);
        store.submit(replay()).wait().expect_err("the last part fails");
        assert_eq!(store.quarantine().wait().unwrap()[0].count, 1, "it goes on waiting");
        let record = store.request(request_id).wait().expect("it reads").expect("a record");
        assert_eq!((record.reason.as_deref(), record.replay), (Some("panicked"), None));

        other.execute_batch("DROP TRIGGER no").expect("it is there");
        let effects = store.submit(replay()).wait().expect("it commits");
        let is_seen = |effect: &&Effect| matches!(effect, Effect::Duplicate(Some(_)));
        assert_eq!(effects.iter().filter(is_seen).count(), COUNT - 10);
        assert_eq!((alerts(&*store), store.quarantine().wait().unwrap()[0].count), (COUNT, 0));
    }
}
