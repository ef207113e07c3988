//! Housekeeping of the running host: alerts are resolved automatically, and rows that are too old or
//! too many are deleted.
//!
//! Housekeeping works in small steps with long pauses, so that no request waits for it. The
//! [store](crate::store) does each step.

pub(crate) mod alert_count;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    config::{LongDuration, Retention},
    host::{Host, OverSize},
    hosts::post::{OnDuty, Post},
    http::server::Stop,
    store::{
        Store, StoreError,
        duties::{Duty, Term},
        housekeeping::{Forgettable, HousekeepingProgress, HousekeepingStep, HousekeepingTask},
    },
};

/// Time between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Number of rounds between two deletions.
const PAUSES_BETWEEN_FORGETTING: u32 = 5;
/// The largest number of rows in one step.
const STEP: usize = 100;
/// Pause after a step, as a multiple of the time that the step took.
const REST: u32 = 9;

/// Runs housekeeping until the signal to stop.
pub(crate) async fn run(host: Arc<Host>, mut stop: Stop) {
    let post = Post::apply(Arc::<dyn Store>::clone(&host.store), Duty::Housekeeping);
    let on_duty = post.on_duty().clone();
    let now = (Timestamp::now(), Instant::now());
    let (adopted, clock) = ((None, HashMap::new()), Clock::starting(now.0, now.1));
    let mut housekeeper =
        Housekeeper { host, on_duty, rounds: 0, adopted, clock, is_too_much: false };
    housekeeper.expect_deletions();
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            () = tokio::time::sleep(PAUSE) => {}
        }
        tokio::select! {
            biased;
            () = stop.wait() => break,
            done = housekeeper.round() => if let Err(error) = done {
                tracing::debug!(%error, "housekeeping failed and is tried again");
            }
        }
    }
    post.leave().await;
}

struct Housekeeper {
    host: Arc<Host>,
    on_duty: OnDuty,
    rounds: u32,
    /// `resolve_after` by integration, as the store has it since this host took the duty in a term.
    adopted: (Option<Term>, HashMap<Arc<str>, Option<Duration>>),
    clock: Clock,
    /// True once the log says that nothing is left to delete.
    is_too_much: bool,
}

impl Housekeeper {
    async fn round(&mut self) -> Result<(), StoreError> {
        let (retention, integrations) = {
            let in_force = self.host.in_force();
            let integrations: Vec<_> = in_force.integrations.by_name.values().cloned().collect();
            (in_force.config.config.retention.clone(), integrations)
        };
        self.host.wrong_tokens.forget_idle();
        integrations.iter().for_each(|integration| integration.role.rates.forget_idle());
        let is_clock_sound = self.clock.is_sound(Timestamp::now(), Instant::now());
        if !self.on_duty.is_certain() {
            return self.stand_by().await;
        }
        if self.adopted.0 != self.on_duty.term() {
            // Another host may have adopted other settings.
            self.adopted = (self.on_duty.term(), HashMap::new());
        }
        for integration in &integrations {
            let after = integration.settings.section.resolve_after.map(|LongDuration(after)| after);
            if self.adopted.1.get(&integration.name) != Some(&after) {
                let name = Arc::clone(&integration.name);
                self.whole(HousekeepingTask::ResolveAfter {
                    integration: Arc::clone(&name),
                    after,
                })
                .await?;
                self.adopted.1.insert(name, after);
            }
        }
        if !is_clock_sound {
            return Ok(());
        }
        let resolved = self.whole(HousekeepingTask::ResolveDue { now: Timestamp::now() }).await?;
        if resolved > 0 {
            tracing::info!(
                event = "alerts_auto_resolved",
                alerts = resolved,
                "alerts were resolved automatically",
            );
        }
        if !self.has_paused_long_enough() {
            return Ok(());
        }
        self.forget_old(&retention).await?;
        self.forget_too_much(&retention).await
    }

    /// Keeps the metric of the store's size up to date while another host keeps house.
    async fn stand_by(&mut self) -> Result<(), StoreError> {
        self.host.over_size.store(None);
        self.is_too_much = false;
        if self.has_paused_long_enough() {
            self.used_bytes().await?;
        }
        Ok(())
    }

    /// Counts the rounds, and returns true in those in which the size of the store matters.
    fn has_paused_long_enough(&mut self) -> bool {
        self.rounds = self.rounds.wrapping_add(1);
        self.rounds.is_multiple_of(PAUSES_BETWEEN_FORGETTING)
    }

    async fn forget_old(&self, retention: &Retention) -> Result<(), StoreError> {
        let raw = Some(retention.raw_requests);
        for (what, age) in [
            (Forgettable::RawRequests, raw),
            (Forgettable::Quarantine, raw),
            (Forgettable::Records, Some(retention.records)),
            (Forgettable::ResolvedAlerts, retention.resolved_alerts),
            (Forgettable::Deliveries, Some(retention.deliveries)),
            (Forgettable::Audit, Some(retention.audit)),
        ] {
            let Some(age) = age else { continue };
            let before = Timestamp::now() - age.0;
            let forgotten =
                self.whole(HousekeepingTask::Forget { what, before: Some(before) }).await?;
            self.say(what, forgotten, &format!("older than {age}"));
        }
        Ok(())
    }

    /// Returns the bytes in use in the store, and updates the metric.
    async fn used_bytes(&self) -> Result<u64, StoreError> {
        let used = self.host.store.used_bytes().await?;
        self.host.metrics.store.used_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        Ok(used)
    }

    /// Deletes the oldest rows until the rest fits the limit.
    async fn forget_too_much(&mut self, retention: &Retention) -> Result<(), StoreError> {
        let Some(most) = retention.max_store_bytes else {
            self.host.over_size.store(None);
            return self.used_bytes().await.map(drop);
        };
        for what in [
            Forgettable::RawRequests,
            Forgettable::Quarantine,
            Forgettable::Records,
            Forgettable::Deliveries,
            Forgettable::ResolvedAlerts,
            Forgettable::Audit,
        ] {
            let mut forgotten = 0;
            loop {
                let used = self.used_bytes().await?;
                if used <= most {
                    self.say(what, forgotten, "the store is too large");
                    self.is_too_much = false;
                    self.host.over_size.store(None);
                    return Ok(());
                }
                let HousekeepingProgress { count, more } =
                    self.step(HousekeepingTask::Forget { what, before: None }).await?;
                forgotten += count;
                if !more {
                    break;
                }
            }
            self.say(what, forgotten, "the store is too large");
        }
        let used = self.used_bytes().await?;
        self.host.over_size.store(Some(Arc::new(OverSize { used, most })));
        if !std::mem::replace(&mut self.is_too_much, true) {
            tracing::warn!(
                event = "store_over_size",
                most,
                "the store is larger than `retention.max_store_bytes`, and nothing is left that \
                 may be deleted"
            );
        }
        Ok(())
    }

    fn say(&self, what: Forgettable, count: usize, why: &str) {
        if count > 0 {
            let name = what.as_str();
            self.host.metrics.store.forgot(name, count);
            tracing::info!(
                event = "retention_deleted",
                what = name,
                count,
                why,
                "deleted stored data"
            );
        }
    }

    /// Shows the counters of deleted data before the first deletion.
    fn expect_deletions(&self) {
        for what in Forgettable::ALL {
            self.host.metrics.store.forgot(what.as_str(), 0);
        }
    }

    /// Runs a task step by step until it is complete.
    async fn whole(&self, task: HousekeepingTask) -> Result<usize, StoreError> {
        let mut done = 0;
        loop {
            let HousekeepingProgress { count, more } = self.step(task.clone()).await?;
            done += count;
            if !more {
                return Ok(done);
            }
        }
    }

    async fn step(&self, task: HousekeepingTask) -> Result<HousekeepingProgress, StoreError> {
        if !self.on_duty.is_certain() {
            return Err(StoreError::NotOnDuty);
        }
        let started = Instant::now();
        let progress = self.host.store.housekeep(HousekeepingStep { task, limit: STEP }).await?;
        if progress.more {
            tokio::time::sleep(started.elapsed() * REST).await;
        }
        Ok(progress)
    }
}

/// Check of the system clock. A clock that jumps ahead would make all data look old at once, and
/// deleted rows would not come back when the clock is corrected.
struct Clock {
    /// Time of the last check, by the system clock and by the monotonic clock.
    seen: (Timestamp, Instant),
    doubted_until: Option<Instant>,
}

/// The largest jump of a clock that is trusted.
const LARGEST_JUMP: Duration = Duration::from_secs(10 * 60);
/// Time after a jump in which the clock is not trusted.
const DOUBT: Duration = Duration::from_secs(60 * 60);

impl Clock {
    /// Starts the check at the start of the host, so that a jump in the first second is noticed, too.
    fn starting(now: Timestamp, runtime: Instant) -> Self {
        Self { seen: (now, runtime), doubted_until: None }
    }

    fn is_sound(&mut self, now: Timestamp, runtime: Instant) -> bool {
        let (then, at) = std::mem::replace(&mut self.seen, (now, runtime));
        let expected = then + runtime.saturating_duration_since(at);
        let jump = now.duration_since(expected).unsigned_abs();
        if jump > LARGEST_JUMP {
            self.doubted_until = Some(runtime + DOUBT);
            tracing::warn!(
                event = "clock_jumped",
                ?jump,
                ?DOUBT,
                "the clock jumped: nothing is deleted and no alert is resolved automatically for \
                 a while"
            );
        }
        self.doubted_until.is_none_or(|until| runtime >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_a_jump_in_the_first_second() {
        let (start, now) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut clock = Clock::starting(now, start);
        let (second, month) = (Duration::from_secs(1), Duration::from_secs(30 * 24 * 3600));
        assert!(!clock.is_sound(now + month, start + second));
        let mut clock = Clock::starting(now, start);
        assert!(clock.is_sound(now + second, start + second));
    }

    #[test]
    fn deletes_nothing_for_an_hour_after_the_clock_jumped() {
        let (start, now) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let mut clock = Clock::starting(now + minutes(100), start);
        let mut sound =
            |runs: u64, says: u64| clock.is_sound(now + minutes(says), start + minutes(runs));
        assert!(sound(0, 100));
        assert!(sound(5, 105));
        assert!(sound(6, 111), "small steps are usual");
        assert!(!sound(7, 500_000), "far ahead");
        assert!(!sound(8, 113), "and back again");
        assert!(!sound(67, 172));
        assert!(sound(68, 173));
    }
}
