//! Tests of [`Caller`] with a mock runtime, without any library.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use tocsin_plugin_api::{
    OptionsError, Request, Urgency,
    abi::{CallError, NewInstanceError},
    notification::{Alert, Kind, Notification, Time},
    step::{HttpAnswer, HttpRequest, NotifyCall, Step},
};

use super::{runtime::PluginInstance, *};
use crate::{
    alert::PluginId,
    metrics::{Metrics, PluginMetrics},
    plugins::admission::AdmittedPlugin,
};

/// Long enough for everything that returns, on any machine.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// A plugin whose options and requests say what it does.
struct Pretended {
    admitted: Arc<AdmittedPlugin>,
    made: AtomicUsize,
    closed: Arc<AtomicUsize>,
    gate: Arc<Gate>,
}

/// A gate that blocks its callers until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn wait(&self) {
        let is_open = self.0.lock().expect("no panic");
        drop(self.1.wait_while(is_open, |is_open| !*is_open).expect("no panic"));
    }

    fn open(&self) {
        *self.0.lock().expect("no panic") = true;
        self.1.notify_all();
    }
}

struct PretendedInstance {
    number: usize,
    closed: Arc<AtomicUsize>,
    gate: Arc<Gate>,
}

impl RunnablePlugin for Pretended {
    fn admitted(&self) -> &Arc<AdmittedPlugin> {
        &self.admitted
    }

    fn options_schema(&self) -> Result<Vec<u8>, CallError> {
        Ok(b"{}".to_vec())
    }

    fn instance(&self, options: &[u8]) -> Result<Box<dyn PluginInstance>, NewInstanceError> {
        match options {
            b"refuse" => Err(NewInstanceError::Refused(OptionsError::at("token", "is empty"))),
            b"panic" => Err(NewInstanceError::Call(CallError::Panicked("on purpose".into()))),
            b"hang" => {
                self.gate.wait();
                Err(NewInstanceError::Call(CallError::Panicked("late".into())))
            }
            _ => {
                let number = self.made.fetch_add(1, Ordering::Relaxed);
                let (closed, gate) = (Arc::clone(&self.closed), Arc::clone(&self.gate));
                Ok(Box::new(PretendedInstance { number, closed, gate }))
            }
        }
    }
}

impl PluginInstance for PretendedInstance {
    fn receive(&self, request: &Request<'_>) -> Result<ReadOutcome, CallError> {
        match request.body() {
            b"panic" => return Err(CallError::Panicked("on purpose".into())),
            b"hang" => self.gate.wait(),
            _ => {}
        }
        Ok(ReadOutcome::Ignored { reason: self.number.to_string() })
    }

    fn call(&self, capability: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
        assert_eq!(capability, "notify");
        let call = serde_json::from_slice(input).expect("a question");
        let NotifyCall::Next { notification, answers } = call else {
            return Ok(br#"{"contacts": ["https://example.com"]}"#.to_vec());
        };
        let step = match notification.destination.as_str() {
            "panic" => return Err(CallError::Panicked("on purpose".into())),
            "hang" => {
                self.gate.wait();
                Step::delivered()
            }
            "invalid" => return Ok(b"{\"step\":".to_vec()),
            "later" => return Ok(br#"{"step": "wait", "seconds": 3}"#.to_vec()),
            "huge" => Step::send(HttpRequest::new("post", "POST", "x").body("x".repeat(2 << 20))),
            "state" => Step::delivered_with("x".repeat(17_000).into()),
            "endless" => Step::send(HttpRequest::new("post", "POST", "x")),
            _ => Step::rejected(answers.len().to_string()),
        };
        Ok(serde_json::to_vec(&step).expect("JSON"))
    }

    fn close(self: Box<Self>) -> Result<(), CallError> {
        self.closed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

struct Setting {
    plugin: Arc<Pretended>,
    pool: CallPool,
    notifier_pool: NotifierPool,
    metrics: Arc<PluginMetrics>,
}

impl Setting {
    fn new() -> Self {
        let path = "plugins/libdemo.so".into();
        let admitted = Arc::new(AdmittedPlugin::pretended(path, "demo", "aa", None, None));
        let metrics = Metrics::new();
        let id = PluginId { name: "demo".into(), version: "1.0.0".into() };
        Self {
            plugin: Arc::new(Pretended {
                admitted,
                made: AtomicUsize::new(0),
                closed: Arc::default(),
                gate: Arc::default(),
            }),
            pool: CallPool::new(Arc::clone(&metrics.calls)).expect("threads"),
            notifier_pool: NotifierPool::new(Arc::clone(&metrics.calls)).expect("threads"),
            metrics: Arc::new(metrics.destination("ops", &id)),
        }
    }

    fn start(&self, options: &str, deadline: Duration) -> (Caller, Result<(), StartError>) {
        let limits = CallLimits { deadline, slow: None };
        let plugin = Arc::clone(&self.plugin) as Arc<dyn RunnablePlugin>;
        Caller::start(&self.pool, plugin, options.into(), limits, Arc::clone(&self.metrics))
    }

    fn caller(&self, deadline: Duration) -> Caller {
        let (caller, first) = self.start("{}", deadline);
        first.expect("it starts");
        caller
    }
}

fn ask(caller: &Caller, body: &'static str) -> mpsc::Receiver<CallResult> {
    let (answer, answered) = mpsc::channel();
    let (head, ()) = ::http::Request::new(()).into_parts();
    let request = IncomingRequest { id: Ulid::nil(), head, body: body.into() };
    let then = move |result| answer.send(result).expect("the test waits");
    caller.call(Arc::new(request), Box::new(then));
    answered
}

fn call(caller: &Caller, body: &'static str) -> Result<String, CallFailure> {
    match ask(caller, body).recv_timeout(LONG).expect("every call is answered")?.outcome {
        ReadOutcome::Ignored { reason } => Ok(reason),
        other => panic!("{other:?}"),
    }
}

impl Setting {
    fn notifier(&self, deadline: Duration) -> NotifierCaller {
        let limits = CallLimits { deadline, slow: None };
        let plugin = Arc::clone(&self.plugin) as Arc<dyn RunnablePlugin>;
        let (pool, metrics) = (&self.notifier_pool, Arc::clone(&self.metrics));
        let (caller, first) = Caller::start(pool, plugin, b"{}".to_vec(), limits, metrics);
        first.expect("it starts");
        caller
    }
}

fn ask_notifier(caller: &NotifierCaller, call: &NotifyCall) -> mpsc::Receiver<NotifierResult> {
    let (answer, answered) = mpsc::channel();
    caller.notify(call, Box::new(move |result| answer.send(result).expect("the test waits")));
    answered
}

/// Asks for the step after this many answers. The destination says what the plugin does.
fn next(destination: &str, answers: usize) -> NotifyCall {
    let at = Time::from_unix_seconds(0);
    let alert = Alert::new(1, "disk full", Urgency::High, at);
    let mut notification = Notification::new(Ulid::nil().to_string(), Kind::Opened, alert, at);
    notification.destination = destination.into();
    let answers = vec![HttpAnswer::new("post", 200); answers];
    NotifyCall::next(notification, answers)
}

fn step(caller: &NotifierCaller, destination: &str, answers: usize) -> Result<Step, String> {
    let call = next(destination, answers);
    let answer = ask_notifier(caller, &call).recv_timeout(LONG).expect("every call is answered");
    match answer.map_err(|failure| failure.to_string())? {
        NotifierOutput::Step(step) => Ok(*step),
        other => panic!("{other:?}"),
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + LONG;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn one_instance_answers_all_calls() {
    let setting = Setting::new();
    let caller = setting.caller(LONG);
    // Instance 0 was only made to be dropped.
    assert_eq!([(); 3].map(|()| call(&caller, "fine")), [(); 3].map(|()| Ok("1".into())));
    assert_eq!(caller.health(), CallerHealth::default());
    assert_eq!(setting.plugin.closed.load(Ordering::Relaxed), 1);
    assert!(caller.is_started());
}

#[test]
fn an_instance_that_panicked_is_closed_and_replaced() {
    let setting = Setting::new();
    let caller = setting.caller(LONG);
    assert_eq!(call(&caller, "panic"), Err(CallFailure::Panicked("on purpose".into())));
    assert_eq!(call(&caller, "fine"), Ok("2".into()));
    let health = caller.health();
    assert_eq!(health.problem, None, "the plugin serves again");
    let failure = health.last_failure.expect("a failure").message;
    assert!(failure.starts_with("plugin `demo 1.0.0` panicked: on purpose, at "), "{failure}");
    assert_eq!(setting.metrics.panics.get(), 1);
    let closed = || setting.plugin.closed.load(Ordering::Relaxed);
    eventually("the instance is closed", || closed() == 2);
}

#[test]
fn a_plugin_that_fails_three_times_is_not_called_for_a_while() {
    let setting = Setting::new();
    let caller = setting.caller(LONG);
    for _ in 0..3 {
        assert_eq!(call(&caller, "panic"), Err(CallFailure::Panicked("on purpose".into())));
    }
    let made = setting.plugin.made.load(Ordering::Relaxed);
    let refused = call(&caller, "fine").expect_err("a back-off");
    assert!(matches!(refused, CallFailure::BackingOff(_)), "{refused:?}");
    assert_eq!(setting.plugin.made.load(Ordering::Relaxed), made, "the plugin is not called");
    let report = caller.breaker();
    assert!(matches!(report.state, BreakerState::Open(_)), "{report:?}");
    assert_eq!((report.failures, report.trips, report.retry_at.is_some()), (3, 1, true));
    let problem = caller.health().problem.expect("a problem");
    assert!(problem.message.contains("; it is not called for another "), "{problem}");
    assert_eq!(setting.metrics.breaker_trips.get(), 1);
}

#[test]
fn a_call_that_hangs_times_out_and_the_next_call_has_a_new_instance() {
    let setting = Setting::new();
    let caller = setting.caller(SHORT);
    assert_eq!(call(&caller, "hang"), Err(CallFailure::Deadline(SHORT)));
    assert_eq!(setting.metrics.deadlines.get(), 1);
    assert_eq!(setting.metrics.stuck_threads.get(), 1);
    let failure = caller.health().last_failure.expect("a failure").message;
    assert!(failure.contains("did not answer within 50ms"), "{failure}");
    eventually("another instance answers", || call(&caller, "fine") == Ok("2".into()));
    setting.plugin.gate.open();
    eventually("the thread returns", || setting.metrics.stuck_threads.get() == 0);
}

#[test]
fn refused_options_are_no_failure_of_the_plugin() {
    let setting = Setting::new();
    let (caller, first) = setting.start("refuse", LONG);
    assert!(matches!(first, Err(StartError::Refused(_))), "{first:?}");
    assert_eq!(caller.health(), CallerHealth::default());
    assert_eq!((caller.breaker().failures, caller.is_started()), (0, false));
}

#[test]
fn a_plugin_that_panics_when_it_starts_is_started_again_by_the_next_call() {
    let setting = Setting::new();
    let (caller, first) = setting.start("panic", LONG);
    assert_eq!(
        first.expect_err("a panic").to_string(),
        "panicked: on purpose while it was started"
    );
    assert!(caller.health().problem.is_some(), "there is no instance");
    assert_eq!(call(&caller, "fine"), Err(CallFailure::Panicked("on purpose".into())));
    assert_eq!((caller.breaker().failures, caller.is_started()), (2, false));
}

#[test]
fn a_plugin_that_hangs_when_it_starts_counts_as_a_stuck_thread_until_it_returns() {
    let setting = Setting::new();
    let slot = |options: &str| {
        let plugin = Arc::clone(&setting.plugin) as Arc<dyn RunnablePlugin>;
        let limits = CallLimits { deadline: SHORT, slow: None };
        let metrics = Arc::clone(&setting.metrics);
        Arc::new(instance_slot::InstanceSlot::new(plugin, options.into(), limits, metrics))
    };
    let first = slot("hang").start(SHORT, setting.pool.stuck_threads_gauge());
    assert_eq!(first.expect_err("it hangs").to_string(), "did not start within 50ms");
    assert_eq!((setting.pool.stuck_threads(), setting.metrics.stuck_threads.get()), (1, 1));
    setting.plugin.gate.open();
    eventually("the thread returns", || setting.pool.stuck_threads() == 0);
}

#[test]
fn a_notifier_answers_with_steps_and_its_description() {
    let setting = Setting::new();
    let caller = setting.notifier(LONG);
    assert_eq!(step(&caller, "fine", 0), Ok(Step::rejected("0")));
    assert_eq!(step(&caller, "fine", 5), Ok(Step::rejected("5")));
    let answer = ask_notifier(&caller, &NotifyCall::Describe).recv_timeout(LONG);
    let Ok(Ok(NotifierOutput::Description(description))) = answer else { panic!("{answer:?}") };
    assert_eq!(description.contacts, ["https://example.com"]);
    assert_eq!(caller.health(), CallerHealth::default());
}

#[test]
fn unusable_answers_of_a_notifier_are_refused_with_the_reason() {
    let refusal = |destination: &str, answers| {
        let setting = Setting::new();
        let caller = setting.notifier(LONG);
        let refusal = step(&caller, destination, answers).expect_err("it is refused");
        assert_eq!(caller.breaker().failures, 1, "it is the plugin's failure");
        refusal
    };
    insta::assert_snapshot!(refusal("invalid", 0), @"the plugin gave an answer that this host does not understand: EOF while parsing a value at line 1 column 8");
    insta::assert_snapshot!(refusal("later", 0), @"the plugin gave an answer that this host does not understand: unknown variant `wait`, expected one of `send`, `delivered`, `retry`, `rejected`, `destination_broken` at line 1 column 15");
    insta::assert_snapshot!(refusal("huge", 0), @"the plugin gave an answer that this host refuses: it has 2097229 bytes, at most 1048576 are allowed");
    insta::assert_snapshot!(refusal("state", 0), @"the plugin gave an answer that this host refuses: its state has 17002 bytes, at most 16384 are allowed");
    insta::assert_snapshot!(refusal("endless", 5), @"the plugin gave an answer that this host refuses: it is request 6 of one attempt, at most 5 are allowed");
    insta::assert_snapshot!(refusal("panic", 0), @"the plugin panicked: on purpose");
}

#[test]
fn a_notification_that_is_too_large_is_no_failure_of_the_plugin() {
    let setting = Setting::new();
    let caller = setting.notifier(LONG);
    let refusal = step(&caller, &"x".repeat(9 << 20), 0).expect_err("it is too large");
    insta::assert_snapshot!(refusal, @"the notification is too large for a plugin: 9437550 bytes, at most 8388608");
    assert_eq!(caller.health(), CallerHealth::default());
}

#[test]
fn a_notifier_that_hangs_times_out_and_takes_no_thread_from_requests() {
    let setting = Setting::new();
    let (notifier, caller) = (setting.notifier(SHORT), setting.caller(LONG));
    let hanging: Vec<_> = (0..3).map(|_| ask_notifier(&notifier, &next("hang", 0))).collect();
    call(&caller, "fine").expect("requests are served meanwhile");
    for answer in hanging {
        let answer = answer.recv_timeout(LONG).expect("every call is answered");
        assert_eq!(answer, Err(CallFailure::Deadline(SHORT)));
    }
    assert!(notifier.health().last_failure.is_some() || notifier.health().problem.is_some());
    setting.plugin.gate.open();
    eventually("the threads return", || setting.metrics.stuck_threads.get() == 0);
}
