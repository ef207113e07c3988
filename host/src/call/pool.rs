//! The threads on which plugins are called.
//!
//! Calls of one integration queue up in its [`Lane`], which a few threads may work on at a time, so
//! that no integration takes all of them. A watchdog gives up calls that do not return: their thread
//! is left behind, and a new one serves the rest. It knows nothing of plugins.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::gauge::Gauge;
use rustix::{
    process::{Pid, setpriority_process},
    thread::gettid,
};
use ulid::Ulid;

use super::{CallFailure, CallResult, Called, IncomingRequest};
use crate::{limits_reached::Limit, metrics::CallMetrics};

/// How many threads work on one lane at a time, at the most.
const MOST_THREADS_PER_LANE: usize = 8;
/// A lane gets one more thread for so many waiting jobs. A usual call takes microseconds: more
/// threads would only take turns on the processors.
const BACKLOG: usize = 64;
/// How many jobs of a lane a thread does before it looks at the others.
const TURN: usize = 32;
/// With so many threads left behind, a lane gets no more: until one comes back, its calls are given up
/// unmade. The others go on.
const MOST_STUCK_THREADS_PER_LANE: isize = 32;
/// A thread that had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(10);

/// Does the work of a lane.
pub(super) trait Work: Send + Sync {
    /// Does one job. May take for ever.
    fn call(&self, request: &IncomingRequest) -> CallResult;

    /// A job was given up after the lane's deadline, during its call or before its turn.
    fn gave_up(&self, request: Ulid, was_called: bool);

    /// A call that was given up has returned after all.
    fn came_back(&self);
}

/// The threads. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    work_waits: Condvar,
    metrics: Arc<CallMetrics>,
    /// The last refusal of the system to give a thread, since the last thread that it gave.
    no_thread: Mutex<Option<String>>,
}

#[derive(Default)]
struct State {
    /// Lanes that have jobs and may have one more thread.
    ready: VecDeque<Arc<Lane>>,
    lanes: Vec<Weak<Lane>>,
    slots: Vec<Arc<Slot>>,
    idle: usize,
    /// Threads that were asked for and have not begun yet.
    starting: usize,
    is_closed: bool,
}

struct Alive(Weak<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.state().is_closed = true;
            shared.work_waits.notify_all();
        }
    }
}

/// The calls of one integration.
pub(super) struct Lane {
    work: Box<dyn Work>,
    deadline: Duration,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<QueuedCall>,
    /// Threads that work on it, or are about to.
    threads: usize,
    /// Threads left behind in its calls. Below zero for the moment in which one comes back while it is
    /// given up.
    stuck: isize,
}

struct QueuedCall {
    request: Arc<IncomingRequest>,
    then: Called,
    queued_at: Instant,
}

/// What a thread does just now, where the watchdog can see it.
struct Slot {
    thread: Pid,
    call: Mutex<Option<Running>>,
}

struct Running {
    lane: Arc<Lane>,
    request: Ulid,
    since: Instant,
    then: Called,
}

impl Pool {
    /// A pool with one thread; more start as they are needed. One is there even when the system gives no
    /// more.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn new(metrics: Arc<CallMetrics>) -> io::Result<Self> {
        let (state, work_waits) = (Mutex::default(), Condvar::new());
        let no_thread = Mutex::default();
        let shared = Arc::new(Shared { state, work_waits, metrics, no_thread });
        let watched = Arc::downgrade(&shared);
        let alive = Arc::new(Alive(Arc::downgrade(&shared)));
        thread::Builder::new().name("plugin-watchdog".into()).spawn(move || watch(&watched))?;
        shared.try_start_thread()?;
        Ok(Self { shared, _alive: alive })
    }

    /// How many threads were left behind in plugins that did not return, be it from a call or as they
    /// were loaded.
    pub fn stuck_threads(&self) -> usize {
        usize::try_from(self.shared.metrics.stuck_threads.get()).unwrap_or(0)
    }

    /// Counts those threads, which are not only the pool's.
    pub(super) fn stuck_threads_gauge(&self) -> Gauge {
        self.shared.metrics.stuck_threads.clone()
    }

    pub(super) fn lane(&self, work: Box<dyn Work>, deadline: Duration) -> Arc<Lane> {
        let lane = Arc::new(Lane { work, deadline, queue: Mutex::default() });
        let mut state = self.shared.state();
        state.lanes.retain(|lane| lane.strong_count() > 0);
        state.lanes.push(Arc::downgrade(&lane));
        lane
    }

    pub(super) fn call(&self, lane: &Arc<Lane>, request: Arc<IncomingRequest>, then: Called) {
        let job = QueuedCall { request, then, queued_at: Instant::now() };
        let needs_thread = {
            let mut queue = lane.queue();
            queue.jobs.push_back(job);
            queue.claim_thread()
        };
        if needs_thread {
            self.shared.schedule(lane);
        }
    }
}

impl Lane {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; none if there is none, and then the thread no longer counts as the lane's.
    fn next_job(&self) -> Option<QueuedCall> {
        let mut queue = self.queue();
        let job = queue.jobs.pop_front();
        if job.is_none() {
            queue.threads -= 1;
        }
        job
    }
}

impl Queue {
    fn claim_thread(&mut self) -> bool {
        let needed = self.jobs.len() > BACKLOG * self.threads && self.may_have_thread();
        self.threads += usize::from(needed);
        needed
    }

    /// The watchdog found jobs waiting behind calls that take long.
    fn claim_thread_behind_slow_calls(&mut self) -> bool {
        let needed = !self.jobs.is_empty() && self.may_have_thread();
        self.threads += usize::from(needed);
        needed
    }

    fn may_have_thread(&self) -> bool {
        self.threads < MOST_THREADS_PER_LANE && self.stuck < MOST_STUCK_THREADS_PER_LANE
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(self: &Arc<Self>, lane: &Arc<Lane>) {
        let mut state = self.state();
        state.ready.push_back(Arc::clone(lane));
        if state.idle >= state.ready.len() {
            self.work_waits.notify_one();
        } else {
            drop(state);
            self.start_thread();
        }
    }

    /// Starts a thread. If the system gives none, jobs wait for those that there are, or are given up.
    fn start_thread(self: &Arc<Self>) {
        let started = self.try_start_thread();
        if let Err(error) = &started {
            self.metrics.limits.reached(Limit::Threads, error);
        }
        *self.no_thread.lock().unwrap_or_else(PoisonError::into_inner) =
            started.err().map(|error| error.to_string());
    }

    fn try_start_thread(self: &Arc<Self>) -> io::Result<()> {
        let shared = Arc::clone(self);
        self.state().starting += 1;
        let thread = thread::Builder::new().name("plugin-call".into());
        let started = thread.spawn(move || serve(&shared));
        if started.is_err() {
            self.state().starting -= 1;
        }
        started.map(drop)
    }

    /// Waits for a lane with jobs; none when the thread has to end.
    fn next_lane(&self) -> Option<Arc<Lane>> {
        let mut state = self.state();
        loop {
            if let Some(lane) = state.ready.pop_front() {
                return Some(lane);
            }
            if state.is_closed {
                return None;
            }
            state.idle += 1;
            let (woken, waited) =
                self.work_waits.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            // The last one stays: while the system's loader is held up by a library, no other begins.
            if waited.timed_out() && state.ready.is_empty() && state.idle > 0 {
                return None;
            }
        }
    }
}

/// The life of a thread.
fn serve(shared: &Arc<Shared>) {
    let slot = Arc::new(Slot { thread: gettid(), call: Mutex::default() });
    {
        let mut state = shared.state();
        state.starting -= 1;
        state.slots.push(Arc::clone(&slot));
    }
    shared.metrics.threads.inc();
    while let Some(lane) = shared.next_lane() {
        if !work_on(shared, &lane, &slot) {
            // The watchdog took this thread off the books when it gave the call up.
            lane.work.came_back();
            lane.queue().stuck -= 1;
            shared.metrics.stuck_threads.dec();
            return;
        }
    }
    shared.state().slots.retain(|other| !Arc::ptr_eq(other, &slot));
    shared.metrics.threads.dec();
}

/// Does jobs of a lane. False if the last one was given up meanwhile: then the thread is not
/// counted any more and has to end.
fn work_on(shared: &Arc<Shared>, lane: &Arc<Lane>, slot: &Slot) -> bool {
    for _ in 0..TURN {
        let Some(QueuedCall { request, then, .. }) = lane.next_job() else { return true };
        let (since, id) = (Instant::now(), request.id);
        *slot.call() = Some(Running { lane: Arc::clone(lane), request: id, since, then });
        let result = lane.work.call(&request);
        match slot.call().take() {
            Some(running) => (running.then)(result),
            None => return false,
        }
    }
    // The others have their turn, then this lane again.
    shared.state().ready.push_back(Arc::clone(lane));
    true
}

impl Slot {
    fn call(&self) -> MutexGuard<'_, Option<Running>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up what takes too long, and helps where jobs wait behind it.
fn watch(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let (lanes, slots) = {
            let state = shared.state();
            if state.is_closed {
                return;
            }
            let lanes: Vec<_> = state.lanes.iter().filter_map(Weak::upgrade).collect();
            (lanes, state.slots.clone())
        };
        let now = Instant::now();
        for slot in slots {
            give_up_call(&shared, &slot, now);
        }
        for lane in &lanes {
            give_up_waiting(&shared, lane, now);
            help_behind_slow_calls(&shared, lane, now);
        }
        let is_stranded = {
            let state = shared.state();
            // None begins while the system's loader is held up by a library.
            !state.ready.is_empty() && state.idle == 0 && state.starting == 0
        };
        if is_stranded {
            // The system gave no thread when the lane became ready, or all are busy.
            shared.start_thread();
        }
        let shortest =
            lanes.iter().map(|lane| lane.deadline).min().unwrap_or(Duration::from_secs(1));
        drop((lanes, shared));
        thread::sleep(pause(shortest));
    }
}

fn give_up_call(shared: &Arc<Shared>, slot: &Arc<Slot>, now: Instant) {
    let expired = |running: &mut Running| {
        now.saturating_duration_since(running.since) >= running.lane.deadline
    };
    let Some(Running { lane, request, then, .. }) = slot.call().take_if(expired) else { return };
    // Whatever it still does, it does when nobody else has anything to do.
    let _ = setpriority_process(Some(slot.thread), 19);
    shared.state().slots.retain(|other| !Arc::ptr_eq(other, slot));
    shared.metrics.threads.dec();
    shared.metrics.stuck_threads.inc();
    lane.work.gave_up(request, true);
    then(Err(CallFailure::Deadline(lane.deadline)));
    let needs_thread = {
        let mut queue = lane.queue();
        queue.threads -= 1;
        queue.stuck += 1;
        queue.claim_thread()
    };
    if needs_thread {
        shared.schedule(&lane);
    }
}

/// A lane whose first job has waited for a whole round of the watchdog gets one more thread.
fn help_behind_slow_calls(shared: &Arc<Shared>, lane: &Arc<Lane>, now: Instant) {
    let waits =
        |job: &QueuedCall| now.saturating_duration_since(job.queued_at) >= pause(lane.deadline);
    let needs_thread = {
        let mut queue = lane.queue();
        queue.jobs.front().is_some_and(waits) && queue.claim_thread_behind_slow_calls()
    };
    if needs_thread {
        shared.schedule(lane);
    }
}

/// How long the watchdog sleeps.
fn pause(deadline: Duration) -> Duration {
    (deadline / 20).clamp(Duration::from_millis(2), Duration::from_millis(20))
}

fn give_up_waiting(shared: &Shared, lane: &Lane, now: Instant) {
    let expired =
        |job: &mut QueuedCall| now.saturating_duration_since(job.queued_at) >= lane.deadline;
    loop {
        let Some(job) = lane.queue().jobs.pop_front_if(expired) else { return };
        lane.work.gave_up(job.request.id, false);
        let no_thread = shared.no_thread.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let deadline = CallFailure::Deadline(lane.deadline);
        (job.then)(Err(no_thread.map_or(deadline, CallFailure::NoThread)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::Request;
    use tocsin_plugin_api::outcome::Outcome;
    use tokio::sync::oneshot;

    use super::*;
    use crate::call::Judged;

    /// Hangs on the body `hang` until it is told to go on.
    #[derive(Default)]
    struct Doubtful {
        given_up: Arc<AtomicUsize>,
        may_go_on: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Work for Doubtful {
        fn call(&self, request: &IncomingRequest) -> CallResult {
            if request.body == "hang" {
                let (may, told) = &*self.may_go_on;
                let waited = told.wait_while(may.lock().unwrap(), |may| !*may);
                drop(waited.unwrap());
            }
            let reason = String::from_utf8_lossy(&request.body).into();
            Ok(judged(Outcome::Ignored { reason }))
        }

        fn gave_up(&self, _: Ulid, _: bool) {
            self.given_up.fetch_add(1, Ordering::Relaxed);
        }

        fn came_back(&self) {}
    }

    fn judged(outcome: Outcome) -> Judged {
        Judged { outcome, took: Duration::ZERO }
    }

    fn call(pool: &Pool, lane: &Arc<Lane>, body: &'static str) -> oneshot::Receiver<CallResult> {
        let (sender, receiver) = oneshot::channel();
        let then = move |result| sender.send(result).expect("somebody waits");
        pool.call(lane, request(body), Box::new(then));
        receiver
    }

    fn request(body: &'static str) -> Arc<IncomingRequest> {
        let (head, ()) = Request::new(()).into_parts();
        Arc::new(IncomingRequest { id: Ulid::nil(), head, body: body.into() })
    }

    #[test]
    fn stuck_calls_are_given_up_and_hold_up_nobody_else() {
        // Long enough for a call that returns, on any machine.
        const DEADLINE: Duration = Duration::from_secs(5);
        let pool = Pool::new(Arc::default()).expect("threads");
        let (stuck, other) = (Doubtful::default(), Doubtful::default());
        let (given_up, may_go_on) = (Arc::clone(&stuck.given_up), Arc::clone(&stuck.may_go_on));
        let stuck = pool.lane(Box::new(stuck), DEADLINE);
        let other = pool.lane(Box::new(other), Duration::from_secs(60));

        let hanging: Vec<_> = (0..20).map(|_| call(&pool, &stuck, "hang")).collect();
        let ignored = |reason: &str| Ok(judged(Outcome::Ignored { reason: reason.into() }));
        for _ in 0..100 {
            let answer = call(&pool, &other, "fine").blocking_recv();
            assert_eq!(answer.expect("an answer"), ignored("fine"));
        }
        for answer in hanging {
            let answer = answer.blocking_recv().expect("an answer");
            assert_eq!(answer, Err(CallFailure::Deadline(DEADLINE)));
        }
        assert_eq!(given_up.load(Ordering::Relaxed), 20);
        assert!(pool.stuck_threads() > 0);

        // The same lane serves on new threads.
        let answer = call(&pool, &stuck, "fine").blocking_recv();
        assert_eq!(answer.expect("an answer"), ignored("fine"));

        *may_go_on.0.lock().unwrap() = true;
        may_go_on.1.notify_all();
        let patience = Instant::now() + Duration::from_secs(30);
        while pool.stuck_threads() > 0 {
            assert!(Instant::now() < patience, "threads that come back are not counted any more");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn every_call_is_answered_once() {
        let pool = Pool::new(Arc::default()).expect("threads");
        let lanes: Vec<_> = (0..3)
            .map(|_| pool.lane(Box::new(Doubtful::default()), Duration::from_secs(60)))
            .collect();
        let senders: Vec<_> = (0..8)
            .map(|sender: usize| {
                let (pool, lane) = (pool.clone(), Arc::clone(&lanes[sender % 3]));
                thread::spawn(move || {
                    let calls: Vec<_> = (0..500).map(|_| call(&pool, &lane, "fine")).collect();
                    let answers = calls.into_iter().map(oneshot::Receiver::blocking_recv);
                    answers.filter(Result::is_ok).count()
                })
            })
            .collect();
        let answered: usize =
            senders.into_iter().map(|sender| sender.join().expect("no panic")).sum();
        assert_eq!(answered, 4000);
    }
}
