//! Time limits of connections, watched by one task for each listener.
//!
//! Setting or lifting a limit stores a number. No timer is registered, since nearly every limit is lifted
//! within microseconds. The task looks at all connections when the earliest limit is over, and wakes the
//! connections to which it applies.

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

/// Longest delay with which a limit is noticed.
const PRECISION: Duration = Duration::from_millis(20);

/// Value of a limit that is not set.
const UNLIMITED: u64 = u64::MAX;
/// Value of a limit that is over.
const OVER: u64 = 0;

/// The connections of a listener, with their limits.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The moment from which limits count, in microseconds.
    origin: Instant,
    connections: Mutex<Connections>,
    /// Time of the next look at all connections. [`UNLIMITED`] also during a look, so that a limit that is
    /// set meanwhile is not missed.
    next_look: AtomicU64,
    /// Tells that a limit ends before the next look.
    is_earlier: Notify,
    is_stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Connections {
    by_number: HashMap<u64, Arc<Watched>>,
    last_number: u64,
}

/// The limits of a connection, and the waker of its task.
#[derive(Debug, Default)]
struct Watched {
    limits: [Limit; 3],
    waker: Mutex<Option<Waker>>,
}

/// Time at which a limit is over, [`UNLIMITED`] or [`OVER`].
#[derive(Debug)]
struct Limit(AtomicU64);

impl Default for Limit {
    fn default() -> Self {
        Self(AtomicU64::new(UNLIMITED))
    }
}

/// The activity of a client that a limit applies to. A connection has at most one limit of each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Activity {
    /// Sending the headers of a request, or idling before them.
    Headers,
    /// Sending the body of a request.
    Body,
    /// Reading an answer.
    Reading,
}

impl Sweep {
    /// Creates a sweep without connections. Limits end only while [`run`](Self::run) runs.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            connections: Mutex::default(),
            next_look: AtomicU64::new(UNLIMITED),
            is_earlier: Notify::new(),
            is_stopping: AtomicBool::new(false),
        })
    }

    /// Ends limits that are over, for as long as it is polled.
    pub(super) async fn run(&self) {
        loop {
            let next_look = self.look();
            let earlier = self.is_earlier.notified();
            match next_look {
                None => earlier.await,
                Some(at) if timeout_at(at, earlier).await.is_err() => continue,
                Some(_) => {}
            }
            sleep(PRECISION).await;
        }
    }

    /// Ends limits that are over, and returns the time of the next look, if there is a limit.
    fn look(&self) -> Option<Instant> {
        self.next_look.store(UNLIMITED, Ordering::SeqCst);
        let now = Instant::now();
        let (is_over, mut earliest) = (self.micros(now), UNLIMITED);
        for connection in self.connections().by_number.values() {
            for Limit(limit) in &connection.limits {
                let at = limit.load(Ordering::SeqCst);
                if at > is_over {
                    earliest = earliest.min(at);
                } else if at != OVER
                    && limit.compare_exchange(at, OVER, Ordering::SeqCst, Ordering::SeqCst).is_ok()
                {
                    connection.wake();
                }
            }
        }
        if earliest == UNLIMITED {
            return None;
        }
        let soonest = self.micros(now + PRECISION);
        let next_look = earliest.max(soonest);
        self.next_look.store(next_look, Ordering::SeqCst);
        // An end that no clock can show never comes.
        self.origin.checked_add(Duration::from_micros(next_look))
    }

    /// Adds a connection.
    pub(super) fn watch(self: &Arc<Self>) -> Arc<Deadlines> {
        let watched = Arc::<Watched>::default();
        let mut connections = self.connections();
        connections.last_number += 1;
        let number = connections.last_number;
        connections.by_number.insert(number, Arc::clone(&watched));
        Arc::new(Deadlines { sweep: Arc::clone(self), watched, number })
    }

    /// Tells all connections, present and future, that the listener stops.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.connections().by_number.values().for_each(|connection| connection.wake());
    }

    /// Returns a moment as the value of a limit.
    fn micros(&self, at: Instant) -> u64 {
        let micros = at.saturating_duration_since(self.origin).as_micros();
        u64::try_from(micros).unwrap_or(UNLIMITED).clamp(OVER + 1, UNLIMITED - 1)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn wake(&self) {
        if let Some(waker) = self.waker().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handle of a connection to its limits in a [`Sweep`], which it leaves when the handle is dropped.
#[derive(Debug)]
pub(super) struct Deadlines {
    sweep: Arc<Sweep>,
    watched: Arc<Watched>,
    number: u64,
}

impl Deadlines {
    /// Polls a future, again also after a limit is over and when the listener stops. The task of the
    /// connection uses it once for all that it does.
    pub(super) async fn wake<F: Future>(&self, future: F) -> F::Output {
        let (mut future, mut known) = (pin!(future), None::<Waker>);
        let poll = |cx: &mut Context<'_>| {
            if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                known = Some(cx.waker().clone());
                self.watched.waker().clone_from(&known);
            }
            future.as_mut().poll(cx)
        };
        std::future::poll_fn(poll).await
    }

    /// Sets a limit that is over after a timeout.
    pub(super) fn set(&self, activity: Activity, timeout: Duration) {
        let now = self.sweep.micros(Instant::now());
        let timeout = u64::try_from(timeout.as_micros()).unwrap_or(UNLIMITED);
        self.set_micros(activity, now.saturating_add(timeout).min(UNLIMITED - 1));
    }

    /// Lifts a limit, even if it is over.
    pub(super) fn lift(&self, activity: Activity) {
        self.limit(activity).store(UNLIMITED, Ordering::Release);
    }

    /// Returns whether a limit is over.
    pub(super) fn is_over(&self, activity: Activity) -> bool {
        self.limit(activity).load(Ordering::Acquire) == OVER
    }

    /// Returns whether the listener stops.
    pub(super) fn is_stopping(&self) -> bool {
        self.sweep.is_stopping.load(Ordering::SeqCst)
    }

    fn set_until(&self, activity: Activity, end: Instant) {
        self.set_micros(activity, self.sweep.micros(end));
    }

    fn set_micros(&self, activity: Activity, at: u64) {
        self.limit(activity).store(at, Ordering::SeqCst);
        if at < self.sweep.next_look.load(Ordering::SeqCst) {
            self.sweep.is_earlier.notify_one();
        }
    }

    fn limit(&self, activity: Activity) -> &AtomicU64 {
        &self.watched.limits[activity as usize].0
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.sweep.connections().by_number.remove(&self.number);
    }
}

/// Timer with which hyper limits the time for headers.
#[derive(Debug)]
pub(super) struct HeaderTimer(pub(super) Arc<Deadlines>);

impl Timer for HeaderTimer {
    fn sleep(&self, timeout: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + timeout)
    }

    fn sleep_until(&self, end: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.0.set_until(Activity::Headers, end.into());
        Box::pin(HeaderSleep(Arc::clone(&self.0)))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }

    /// Moves the end. Replacing `sleep` instead would lift the limit that was just set.
    fn reset(&self, _sleep: &mut Pin<Box<dyn Sleep>>, end: std::time::Instant) {
        self.0.set_until(Activity::Headers, end.into());
    }
}

/// Future that is ready when the time for headers is over. Dropping it lifts the limit.
#[derive(Debug)]
struct HeaderSleep(Arc<Deadlines>);

impl Sleep for HeaderSleep {}

impl Future for HeaderSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.is_over(Activity::Headers) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for HeaderSleep {
    fn drop(&mut self) {
        self.0.lift(Activity::Headers);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns a sweep that runs until the test ends.
    fn running() -> Arc<Sweep> {
        let sweep = Sweep::new();
        let running = Arc::clone(&sweep);
        tokio::spawn(async move { running.run().await });
        sweep
    }

    /// Waits until a limit is over, and returns how long that took.
    async fn end(deadlines: &Deadlines, activity: Activity) -> Duration {
        let started = Instant::now();
        let is_over = poll_fn(|_| match deadlines.is_over(activity) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        deadlines.wake(is_over).await;
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_over_after_its_time() {
        let sweep = running();
        let deadlines = sweep.watch();
        for timeout in [10 * SECOND, 200 * SECOND / 1000, SECOND / 1000] {
            deadlines.set(Activity::Body, timeout);
            let took = end(&deadlines, Activity::Body).await;
            assert!(took >= timeout, "{timeout:?}: {took:?}");
            assert!(took <= timeout + 2 * PRECISION, "{timeout:?}: {took:?}");
            deadlines.lift(Activity::Body);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_limit_of_another_connection_is_not_late() {
        let sweep = running();
        let (long, short) = (sweep.watch(), sweep.watch());
        long.set(Activity::Headers, 100 * SECOND);
        tokio::time::sleep(SECOND).await;
        short.set(Activity::Headers, SECOND);
        let took = end(&short, Activity::Headers).await;
        assert!(took <= SECOND + 2 * PRECISION, "{took:?}");
        assert!(!long.is_over(Activity::Headers));
        let took = end(&long, Activity::Headers).await;
        assert!(took <= 98 * SECOND + PRECISION, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_beyond_all_time_disturbs_no_other() {
        let sweep = running();
        let deadlines = sweep.watch();
        deadlines.set(Activity::Body, Duration::MAX);
        tokio::time::sleep(SECOND).await;
        deadlines.set(Activity::Reading, SECOND);
        end(&deadlines, Activity::Reading).await;
        assert!(!deadlines.is_over(Activity::Body));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_was_lifted_is_never_over() {
        let sweep = running();
        let deadlines = sweep.watch();
        deadlines.set(Activity::Reading, SECOND);
        deadlines.set(Activity::Body, 2 * SECOND);
        deadlines.lift(Activity::Reading);
        end(&deadlines, Activity::Body).await;
        assert!(!deadlines.is_over(Activity::Reading) && !deadlines.is_over(Activity::Headers));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_headers_ends_with_hypers_sleep_and_begins_again() {
        let sweep = running();
        let deadlines = sweep.watch();
        let timer = HeaderTimer(Arc::clone(&deadlines));
        drop(timer.sleep(SECOND));
        tokio::time::sleep(2 * SECOND).await;
        assert!(!deadlines.is_over(Activity::Headers));
        let mut sleep = timer.sleep(SECOND);
        timer.reset(&mut sleep, timer.now() + 5 * SECOND);
        let started = Instant::now();
        deadlines.wake(sleep).await;
        assert!(started.elapsed() >= 5 * SECOND, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_wakes_the_connections_that_wait() {
        let sweep = running();
        let deadlines = sweep.watch();
        let waits = tokio::spawn(async move {
            let stops = poll_fn(|_| match deadlines.is_stopping() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            deadlines.wake(stops).await;
        });
        tokio::task::yield_now().await;
        sweep.stop();
        waits.await.expect("it was woken");
        assert!(sweep.watch().is_stopping(), "a connection that comes later knows of the stop");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ended_is_forgotten() {
        let sweep = running();
        let (one, other) = (sweep.watch(), sweep.watch());
        drop(one);
        assert_eq!(sweep.connections().by_number.len(), 1);
        let ended = tokio::spawn(async move { other.wake(pending::<()>()).await });
        ended.abort();
        assert!(ended.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(sweep.connections().by_number.len(), 0);
    }
}
