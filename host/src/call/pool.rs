//! The threads on which plugins are called.
//!
//! Calls of one integration or destination queue up in a [`Lane`]. Only a few threads work on a lane at a
//! time, so that no lane takes all of them. A watchdog gives up calls that do not return: their thread is
//! stuck, and a new thread serves the rest. The pool does not depend on plugins, requests or answers.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering, fence},
    },
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::gauge::Gauge;
use rustix::{
    process::{Pid, setpriority_process},
    thread::gettid,
};

use crate::{limits::reached::Limit, metrics::CallMetrics};

/// The most threads that work on one lane at a time.
const MOST_THREADS_PER_LANE: usize = 8;
/// The number of waiting calls for which a lane gets one more thread. A usual call takes microseconds:
/// more threads would only take turns on the processors.
const BACKLOG: usize = 64;
/// The number of calls that a thread makes in a lane before it looks at the other lanes.
const TURN: usize = 32;
/// If this many threads of a lane are stuck, the lane gets no further thread: until one returns, its
/// calls are given up without being made. Other lanes are not affected.
const MOST_STUCK_THREADS_PER_LANE: isize = 32;
/// If the watchdog found no call in this many looks in a row, it sleeps until the next call. Calls that
/// return at once are rarely seen, so under load it is woken a few times a second at most.
const LOOKS_BEFORE_REST: u32 = 5;
/// A thread that had nothing to do for this long ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The work of a lane: answers requests of type `R` with answers of type `A`.
pub(crate) trait Work<R, A>: Send + Sync {
    /// Answers a request. May take any time, or never return.
    fn call(&self, request: &R) -> A;

    /// Answers for a call that was given up, for the reason in [`Expired`].
    fn give_up(&self, request: &R, expired: Expired) -> A;

    /// Notes that a call returned after it was given up.
    fn returned_late(&self);
}

/// The moment at which the deadline of a [`Lane`] passed for a call.
#[derive(Debug)]
pub(crate) enum Expired {
    /// The call was under way: its thread is stuck.
    DuringCall,
    /// The call waited for its turn.
    BeforeCall,
    /// The call waited for a thread that the system refused, for this reason.
    NoThread(String),
}

/// The continuation of a call.
type OnAnswer<A> = Box<dyn FnOnce(A) + Send>;

/// Threads that answer requests of type `R` with answers of type `A`. They end when the last handle is
/// dropped.
pub(crate) struct Pool<R, A> {
    shared: Arc<Shared<R, A>>,
    close: Arc<CloseOnDrop<R, A>>,
}

impl<R, A> Clone for Pool<R, A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), close: Arc::clone(&self.close) }
    }
}

impl<R, A> fmt::Debug for Pool<R, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

struct Shared<R, A> {
    state: Mutex<State<R, A>>,
    work_waits: Condvar,
    /// True while the watchdog sleeps until there is a call.
    watchdog_rests: AtomicBool,
    watchdog_is_needed: Condvar,
    metrics: Arc<CallMetrics>,
    /// The last error of starting a thread, if no thread was started since.
    no_thread: Mutex<Option<String>>,
}

struct State<R, A> {
    /// Lanes that have calls and may have one more thread.
    ready: VecDeque<Arc<Lane<R, A>>>,
    lanes: Vec<Weak<Lane<R, A>>>,
    workers: Vec<Arc<Worker<R, A>>>,
    idle: usize,
    /// Threads that were asked for and have not begun yet.
    starting: usize,
    is_closed: bool,
}

impl<R, A> Default for State<R, A> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            lanes: Vec::new(),
            workers: Vec::new(),
            idle: 0,
            starting: 0,
            is_closed: false,
        }
    }
}

struct CloseOnDrop<R, A>(Weak<Shared<R, A>>);

impl<R, A> Drop for CloseOnDrop<R, A> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.state().is_closed = true;
            shared.work_waits.notify_all();
            shared.watchdog_is_needed.notify_all();
        }
    }
}

/// The calls of one integration or destination, answered in the order in which they came.
pub(super) struct Lane<R, A> {
    work: Box<dyn Work<R, A>>,
    deadline: Duration,
    queue: Mutex<Queue<R, A>>,
}

struct Queue<R, A> {
    calls: VecDeque<QueuedCall<R, A>>,
    /// Threads that work on the lane, or are about to.
    threads: usize,
    /// Threads stuck in calls of the lane. Below zero for the moment in which a thread returns while
    /// its call is given up.
    stuck: isize,
}

struct QueuedCall<R, A> {
    request: Arc<R>,
    then: OnAnswer<A>,
    queued_at: Instant,
}

/// A thread of the [`Pool`], and its present call where the watchdog can see it.
struct Worker<R, A> {
    thread: Pid,
    call: Mutex<Option<RunningCall<R, A>>>,
}

struct RunningCall<R, A> {
    lane: Arc<Lane<R, A>>,
    request: Arc<R>,
    since: Instant,
    then: OnAnswer<A>,
}

impl<R: Send + Sync + 'static, A: 'static> Pool<R, A> {
    /// Creates a pool with one thread. More start as they are needed; the first stays even if the
    /// system refuses further ones.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub(crate) fn new(metrics: Arc<CallMetrics>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work_waits: Condvar::new(),
            watchdog_rests: AtomicBool::new(false),
            watchdog_is_needed: Condvar::new(),
            metrics,
            no_thread: Mutex::default(),
        });
        let watched = Arc::downgrade(&shared);
        let close = Arc::new(CloseOnDrop(Arc::downgrade(&shared)));
        thread::Builder::new().name("plugin-watchdog".into()).spawn(move || watch(&watched))?;
        shared.try_start_thread()?;
        Ok(Self { shared, close })
    }

    /// Returns the number of threads that are stuck in plugins, in a call or while a plugin is loaded.
    pub(crate) fn stuck_threads(&self) -> usize {
        usize::try_from(self.shared.metrics.stuck_threads.get()).unwrap_or(0)
    }

    /// Returns the gauge of stuck threads, which counts other threads than the pool's, too.
    pub(super) fn stuck_threads_gauge(&self) -> Gauge {
        self.shared.metrics.stuck_threads.clone()
    }

    /// Creates a [`Lane`], which lasts as long as the caller keeps it.
    pub(super) fn lane(&self, work: Box<dyn Work<R, A>>, deadline: Duration) -> Arc<Lane<R, A>> {
        let queue = Queue { calls: VecDeque::new(), threads: 0, stuck: 0 };
        let lane = Arc::new(Lane { work, deadline, queue: Mutex::new(queue) });
        let mut state = self.shared.state();
        state.lanes.retain(|lane| lane.strong_count() > 0);
        state.lanes.push(Arc::downgrade(&lane));
        lane
    }

    /// Queues a call. `then` is called with the answer of the lane's [`Work`], on a thread of the pool.
    pub(super) fn call(&self, lane: &Arc<Lane<R, A>>, request: Arc<R>, then: OnAnswer<A>) {
        let call = QueuedCall { request, then, queued_at: Instant::now() };
        let needs_thread = {
            let mut queue = lane.queue();
            queue.calls.push_back(call);
            queue.claim_thread()
        };
        if needs_thread {
            self.shared.schedule(lane);
        }
        self.shared.wake_watchdog();
    }
}

impl<R, A> Lane<R, A> {
    fn queue(&self) -> MutexGuard<'_, Queue<R, A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next call. If there is none, the thread no longer counts as the lane's.
    fn next_call(&self) -> Option<QueuedCall<R, A>> {
        let mut queue = self.queue();
        let call = queue.calls.pop_front();
        if call.is_none() {
            queue.threads -= 1;
        }
        call
    }

    /// Returns true if there is a call that waits or is under way, apart from calls that were given up.
    fn is_busy(&self) -> bool {
        let queue = self.queue();
        // A thread that has just taken a call counts, although no worker shows the call yet.
        queue.threads > 0 || !queue.calls.is_empty()
    }
}

impl<R, A> Queue<R, A> {
    fn claim_thread(&mut self) -> bool {
        let needed = self.calls.len() > BACKLOG * self.threads && self.may_have_thread();
        self.threads += usize::from(needed);
        needed
    }

    /// Claims a thread for calls that wait behind slow ones.
    fn claim_thread_behind_slow_calls(&mut self) -> bool {
        let needed = !self.calls.is_empty() && self.may_have_thread();
        self.threads += usize::from(needed);
        needed
    }

    fn may_have_thread(&self) -> bool {
        self.threads < MOST_THREADS_PER_LANE && self.stuck < MOST_STUCK_THREADS_PER_LANE
    }
}

impl<R, A> Shared<R, A> {
    fn state(&self) -> MutexGuard<'_, State<R, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the watchdog if it rests. Callers have queued their call before.
    fn wake_watchdog(&self) {
        // Either the watchdog sees the queued call, or its rest is seen here.
        fence(Ordering::SeqCst);
        if self.watchdog_rests.load(Ordering::Relaxed) {
            // With the lock, the watchdog either sleeps already or does not begin to.
            let state = self.state();
            self.watchdog_rests.store(false, Ordering::Relaxed);
            drop(state);
            self.watchdog_is_needed.notify_one();
        }
    }

    /// Lets the watchdog sleep until there is a call, or the pool is closed.
    fn rest_until_call(&self) {
        if !self.begin_rest() {
            return;
        }
        let mut state = self.state();
        while !state.is_closed && self.watchdog_rests.load(Ordering::Relaxed) {
            let woken = self.watchdog_is_needed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Asks callers to wake the watchdog. Returns false if there is a call already.
    fn begin_rest(&self) -> bool {
        let lanes: Vec<_> = {
            let state = self.state();
            self.watchdog_rests.store(true, Ordering::Relaxed);
            state.lanes.iter().filter_map(Weak::upgrade).collect()
        };
        fence(Ordering::SeqCst);
        let is_busy = lanes.iter().any(|lane| lane.is_busy());
        if is_busy {
            self.watchdog_rests.store(false, Ordering::Relaxed);
        }
        !is_busy
    }

    /// Waits for a lane with calls; none if the thread has to end.
    fn next_lane(&self) -> Option<Arc<Lane<R, A>>> {
        let mut state = self.state();
        loop {
            if let Some(lane) = state.ready.pop_front() {
                return Some(lane);
            }
            if state.is_closed {
                return None;
            }
            state.idle += 1;
            let (woken, waited) = self
                .work_waits
                .wait_timeout(state, IDLE_TIMEOUT)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            // The last thread stays: no other thread can start while a library blocks the system's
            // loader.
            if waited.timed_out() && state.ready.is_empty() && state.idle > 0 {
                return None;
            }
        }
    }
}

impl<R: Send + Sync + 'static, A: 'static> Shared<R, A> {
    fn schedule(self: &Arc<Self>, lane: &Arc<Lane<R, A>>) {
        let mut state = self.state();
        state.ready.push_back(Arc::clone(lane));
        if state.idle >= state.ready.len() {
            self.work_waits.notify_one();
        } else {
            drop(state);
            self.start_thread();
        }
    }

    /// Starts a thread. If the system refuses one, calls wait for the present threads, or are given up.
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
}

/// Makes calls until there are none for a while, or one was given up.
fn serve<R, A>(shared: &Arc<Shared<R, A>>) {
    let worker = Arc::new(Worker { thread: gettid(), call: Mutex::new(None) });
    {
        let mut state = shared.state();
        state.starting -= 1;
        state.workers.push(Arc::clone(&worker));
    }
    shared.metrics.threads.inc();
    while let Some(lane) = shared.next_lane() {
        if !work_on(shared, &lane, &worker) {
            // The watchdog no longer counts this thread since it gave the call up.
            lane.work.returned_late();
            lane.queue().stuck -= 1;
            shared.metrics.stuck_threads.dec();
            return;
        }
    }
    shared.state().workers.retain(|other| !Arc::ptr_eq(other, &worker));
    shared.metrics.threads.dec();
}

/// Makes calls of a lane. Returns false if the last one was given up meanwhile: then the thread is not
/// counted any more and has to end.
fn work_on<R, A>(
    shared: &Arc<Shared<R, A>>,
    lane: &Arc<Lane<R, A>>,
    worker: &Worker<R, A>,
) -> bool {
    for _ in 0..TURN {
        let Some(QueuedCall { request, then, .. }) = lane.next_call() else { return true };
        let (since, seen) = (Instant::now(), Arc::clone(&request));
        *worker.call() = Some(RunningCall { lane: Arc::clone(lane), request: seen, since, then });
        let answer = lane.work.call(&request);
        match worker.call().take() {
            Some(running) => (running.then)(answer),
            None => return false,
        }
    }
    // The other lanes have their turn, then this lane again.
    shared.state().ready.push_back(Arc::clone(lane));
    true
}

impl<R, A> Worker<R, A> {
    fn call(&self) -> MutexGuard<'_, Option<RunningCall<R, A>>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up calls that take too long, and adds threads to lanes whose calls wait behind slow ones.
fn watch<R: Send + Sync + 'static, A: 'static>(shared: &Weak<Shared<R, A>>) {
    let mut looks_without_calls = 0;
    while let Some(shared) = shared.upgrade() {
        let (lanes, workers) = {
            let state = shared.state();
            if state.is_closed {
                return;
            }
            let lanes: Vec<_> = state.lanes.iter().filter_map(Weak::upgrade).collect();
            (lanes, state.workers.clone())
        };
        let now = Instant::now();
        for worker in workers {
            give_up_running(&shared, &worker, now);
        }
        for lane in &lanes {
            give_up_waiting(&shared, lane, now);
            help_behind_slow_calls(&shared, lane, now);
        }
        let is_stranded = {
            let state = shared.state();
            // No thread can start while a library blocks the system's loader.
            !state.ready.is_empty() && state.idle == 0 && state.starting == 0
        };
        if is_stranded {
            // The system refused a thread when the lane became ready, or all threads are busy.
            shared.start_thread();
        }
        let is_busy = lanes.iter().any(|lane| lane.is_busy());
        looks_without_calls = if is_busy { 0 } else { looks_without_calls + 1 };
        let shortest =
            lanes.iter().map(|lane| lane.deadline).min().unwrap_or(Duration::from_secs(1));
        drop(lanes);
        if looks_without_calls < LOOKS_BEFORE_REST {
            drop(shared);
            thread::sleep(pause(shortest));
        } else {
            looks_without_calls = 0;
            shared.rest_until_call();
        }
    }
}

fn give_up_running<R: Send + Sync + 'static, A: 'static>(
    shared: &Arc<Shared<R, A>>,
    worker: &Arc<Worker<R, A>>,
    now: Instant,
) {
    let is_expired = |running: &mut RunningCall<R, A>| {
        now.saturating_duration_since(running.since) >= running.lane.deadline
    };
    let Some(running) = worker.call().take_if(is_expired) else { return };
    let RunningCall { lane, request, then, .. } = running;
    // From now on the call runs only while no other thread needs the processor.
    let _ = setpriority_process(Some(worker.thread), 19);
    shared.state().workers.retain(|other| !Arc::ptr_eq(other, worker));
    shared.metrics.threads.dec();
    shared.metrics.stuck_threads.inc();
    then(lane.work.give_up(&request, Expired::DuringCall));
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

/// Adds a thread to a lane whose first call has waited for a whole round of the watchdog.
fn help_behind_slow_calls<R: Send + Sync + 'static, A: 'static>(
    shared: &Arc<Shared<R, A>>,
    lane: &Arc<Lane<R, A>>,
    now: Instant,
) {
    let waits = |call: &QueuedCall<R, A>| {
        now.saturating_duration_since(call.queued_at) >= pause(lane.deadline)
    };
    let needs_thread = {
        let mut queue = lane.queue();
        queue.calls.front().is_some_and(waits) && queue.claim_thread_behind_slow_calls()
    };
    if needs_thread {
        shared.schedule(lane);
    }
}

fn give_up_waiting<R, A>(shared: &Shared<R, A>, lane: &Lane<R, A>, now: Instant) {
    let is_expired = |call: &mut QueuedCall<R, A>| {
        now.saturating_duration_since(call.queued_at) >= lane.deadline
    };
    loop {
        let Some(call) = lane.queue().calls.pop_front_if(is_expired) else { return };
        let no_thread = shared.no_thread.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let expired = no_thread.map_or(Expired::BeforeCall, Expired::NoThread);
        (call.then)(lane.work.give_up(&call.request, expired));
    }
}

/// Returns how long the watchdog sleeps.
fn pause(deadline: Duration) -> Duration {
    (deadline / 20).clamp(Duration::from_millis(2), Duration::from_millis(20))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    /// Hangs on the request `hang` until it is told to go on, and echoes all others.
    #[derive(Default)]
    struct Echo {
        given_up: Arc<AtomicUsize>,
        may_go_on: Arc<(Mutex<bool>, Condvar)>,
    }

    /// The echo, or none if the call was given up.
    type Answer = Option<&'static str>;

    impl Work<&'static str, Answer> for Echo {
        fn call(&self, request: &&'static str) -> Answer {
            if *request == "hang" {
                let (may, told) = &*self.may_go_on;
                let waited = told.wait_while(may.lock().unwrap(), |may| !*may);
                drop(waited.unwrap());
            }
            Some(request)
        }

        fn give_up(&self, _: &&'static str, _: Expired) -> Answer {
            self.given_up.fetch_add(1, Ordering::Relaxed);
            None
        }

        fn returned_late(&self) {}
    }

    type EchoPool = Pool<&'static str, Answer>;

    fn call(
        pool: &EchoPool,
        lane: &Arc<Lane<&'static str, Answer>>,
        request: &'static str,
    ) -> mpsc::Receiver<Answer> {
        let (sender, receiver) = mpsc::channel();
        let then = move |answer| sender.send(answer).expect("the test waits");
        pool.call(lane, Arc::new(request), Box::new(then));
        receiver
    }

    #[test]
    fn stuck_calls_time_out_and_delay_no_other_call() {
        // Long enough for a call that returns, on any machine.
        const DEADLINE: Duration = Duration::from_secs(5);
        let pool = EchoPool::new(Arc::default()).expect("threads");
        let (stuck, other) = (Echo::default(), Echo::default());
        let (given_up, may_go_on) = (Arc::clone(&stuck.given_up), Arc::clone(&stuck.may_go_on));
        let stuck = pool.lane(Box::new(stuck), DEADLINE);
        let other = pool.lane(Box::new(other), Duration::from_secs(60));

        let hanging: Vec<_> = (0..20).map(|_| call(&pool, &stuck, "hang")).collect();
        for _ in 0..100 {
            assert_eq!(call(&pool, &other, "fine").recv().expect("an answer"), Some("fine"));
        }
        for answer in hanging {
            assert_eq!(answer.recv().expect("an answer"), None);
        }
        assert_eq!(given_up.load(Ordering::Relaxed), 20);
        assert!(pool.stuck_threads() > 0);

        // The same lane serves on new threads.
        assert_eq!(call(&pool, &stuck, "fine").recv().expect("an answer"), Some("fine"));

        *may_go_on.0.lock().unwrap() = true;
        may_go_on.1.notify_all();
        eventually("threads that returned are not counted", || pool.stuck_threads() == 0);
    }

    /// Waits until a condition holds.
    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < end, "not in time: {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn rests(pool: &EchoPool) -> bool {
        pool.shared.watchdog_rests.load(Ordering::Relaxed)
    }

    #[test]
    fn a_watchdog_that_rests_is_woken_to_give_up_a_call() {
        let pool = EchoPool::new(Arc::default()).expect("threads");
        for _ in 0..3 {
            eventually("the watchdog rests", || rests(&pool));
            let hanging = Echo::default();
            let may_go_on = Arc::clone(&hanging.may_go_on);
            // The lane is younger than the rest.
            let lane = pool.lane(Box::new(hanging), Duration::from_millis(50));
            let answer = call(&pool, &lane, "hang").recv_timeout(Duration::from_secs(30));
            assert_eq!(answer, Ok(None));
            *may_go_on.0.lock().unwrap() = true;
            may_go_on.1.notify_all();
        }
    }

    #[test]
    fn the_watchdog_does_not_rest_while_a_call_is_under_way() {
        let pool = EchoPool::new(Arc::default()).expect("threads");
        let hanging = Echo::default();
        let may_go_on = Arc::clone(&hanging.may_go_on);
        let lane = pool.lane(Box::new(hanging), Duration::from_secs(60));
        let answer = call(&pool, &lane, "hang");
        assert!(!pool.shared.begin_rest());
        *may_go_on.0.lock().unwrap() = true;
        may_go_on.1.notify_all();
        assert_eq!(answer.recv(), Ok(Some("hang")));
    }

    #[test]
    fn a_watchdog_that_rests_ends_with_the_pool() {
        let pool = EchoPool::new(Arc::default()).expect("threads");
        eventually("the watchdog rests", || rests(&pool));
        let shared = Arc::downgrade(&pool.shared);
        drop(pool);
        eventually("the threads of the pool end", || shared.strong_count() == 0);
    }

    #[test]
    fn every_call_is_answered_once() {
        let pool = EchoPool::new(Arc::default()).expect("threads");
        let lanes: Vec<_> =
            (0..3).map(|_| pool.lane(Box::new(Echo::default()), Duration::from_secs(60))).collect();
        let senders: Vec<_> = (0..8)
            .map(|sender: usize| {
                let (pool, lane) = (pool.clone(), Arc::clone(&lanes[sender % 3]));
                thread::spawn(move || {
                    let calls: Vec<_> = (0..500).map(|_| call(&pool, &lane, "fine")).collect();
                    let answers = calls.into_iter().map(|answer| answer.recv());
                    answers.filter(|answer| *answer == Ok(Some("fine"))).count()
                })
            })
            .collect();
        let answered: usize =
            senders.into_iter().map(|sender| sender.join().expect("no panic")).sum();
        assert_eq!(answered, 4000);
    }
}
