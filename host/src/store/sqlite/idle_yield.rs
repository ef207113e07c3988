//! The short time for which the writing thread stays awake before it sleeps.
//!
//! Waking a thread that sleeps on a halted processor costs more than the commit of a request. Under load,
//! the next request comes within microseconds.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    thread,
    time::{Duration, Instant},
};

/// Longest time for which the thread stays awake without a job.
const LONGEST: Duration = Duration::from_micros(500);
/// Number of yields that a job earns. A yield takes well under a microsecond if no other thread wants the
/// processor, and gives the processor to the other thread if one does.
const YIELDS_EACH: u32 = 8;
/// Largest number of yields that are saved up.
const MOST_YIELDS: u32 = 2_000;

/// Yields that may be spent on waiting for jobs. Jobs earn them, so that the time that is spent on waiting is
/// a share of the time that is spent on jobs: a host that rests earns nothing.
#[derive(Debug, Default)]
pub(super) struct IdleYield {
    left: u32,
}

impl IdleYield {
    /// Earns the yields of that many jobs.
    pub(super) fn earn(&mut self, jobs: usize) {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(jobs.saturating_mul(YIELDS_EACH)).min(MOST_YIELDS);
    }

    /// Waits for the next job, `longest` at most: awake at first, as long as yields are left, and then asleep.
    ///
    /// # Errors
    ///
    /// If all senders are gone, or no job comes.
    pub(super) fn receive<T>(
        &mut self,
        waiting: &Receiver<T>,
        longest: Option<Duration>,
    ) -> Result<T, RecvTimeoutError> {
        let mut began = None;
        loop {
            match waiting.try_recv() {
                Ok(job) => return Ok(job),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let awake_for = began.get_or_insert_with(Instant::now).elapsed();
            if !self.spend(awake_for) {
                return match longest {
                    Some(longest) => waiting.recv_timeout(longest),
                    None => waiting.recv().map_err(RecvTimeoutError::from),
                };
            }
            thread::yield_now();
        }
    }

    /// Spends a yield. Returns false if none is left, or the thread was awake for long enough.
    fn spend(&mut self, awake_for: Duration) -> bool {
        if awake_for >= LONGEST || self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn yields(idle: &mut IdleYield) -> u32 {
        (0..).take_while(|_| idle.spend(Duration::ZERO)).count() as u32
    }

    #[test]
    fn a_host_that_rests_sleeps_at_once() {
        assert!(!IdleYield::default().spend(Duration::ZERO));
    }

    #[test]
    fn a_job_pays_for_few_yields_and_many_jobs_for_a_bounded_number() {
        let mut idle = IdleYield::default();
        idle.earn(1);
        assert_eq!(yields(&mut idle), YIELDS_EACH);
        idle.earn(usize::MAX);
        assert_eq!(yields(&mut idle), MOST_YIELDS);
    }

    #[test]
    fn no_wait_is_awake_for_longer_than_its_bound() {
        let mut idle = IdleYield::default();
        idle.earn(100);
        assert!(idle.spend(LONGEST - Duration::from_nanos(1)));
        assert!(!idle.spend(LONGEST));
    }

    #[test]
    fn jobs_are_received_awake_and_asleep() {
        for earned in [0, 1, 1_000_000] {
            let mut idle = IdleYield::default();
            let (sender, waiting) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(move || (0..1000).for_each(|job| sender.send(job).expect("received")));
                for job in 0..1000 {
                    idle.earn(earned);
                    let longest = (job % 2 == 0).then_some(Duration::MAX);
                    assert_eq!(idle.receive(&waiting, longest), Ok(job));
                }
            });
            assert_eq!(idle.receive(&waiting, None), Err(RecvTimeoutError::Disconnected));
        }
    }

    #[test]
    fn a_wait_ends_without_a_job() {
        let (_sender, waiting) = mpsc::channel::<()>();
        let received = IdleYield::default().receive(&waiting, Some(Duration::from_millis(1)));
        assert_eq!(received, Err(RecvTimeoutError::Timeout));
    }
}
