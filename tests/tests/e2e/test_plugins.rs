//! The libraries that the other tests load have the defect that they are named after, and no other.
//! Other modules test the host's reaction.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use object::{Object, ObjectSection};
use tempfile::TempDir;
use tocsin_plugin_api::{
    Action, Event, Request, Urgency,
    abi::{BoundaryError, CallError, HEADER_SYMBOL, Instance, Module, NewInstanceError},
    error::Malformed,
    manifest::{Manifest, SECTION},
    outcome::Outcome,
    testing::{Library, NotifierFixture, NotifierSubject, Subject},
};
use tocsin_tests::{libraries, wait};

#[test]
fn manifests_name_their_packages() {
    for package in [
        "bad-dies-in-schema",
        "bad-habits",
        "bad-layout-unchecked",
        "bad-never-returns",
        "bad-panic-abort",
        "bad-panics-in-drop",
        "bad-panics-in-new",
        "bad-panics-in-receive",
        "bad-schema",
        "bad-schema-never-comes",
        "bad-schema-stricter",
        "bad-words",
        "notifier-bad-habits",
        "notifier-well-behaved",
        "well-behaved",
    ] {
        let manifest = manifest(&libraries::library(package)).expect("a manifest");
        assert_eq!(manifest.name, package);
        assert_eq!(manifest.panic, "unwind", "{package}");
        assert_eq!(manifest.plugin_api, tocsin_plugin_api::VERSION);
    }
}

#[test]
fn builds_each_library_once() {
    let first = libraries::library("well-behaved");
    let built = fs::metadata(&first).and_then(|file| file.modified()).expect("it is there");
    let second = libraries::library("well-behaved");
    assert_eq!(first, second);
    assert_eq!(fs::metadata(&second).and_then(|file| file.modified()).expect("still"), built);
}

#[test]
fn the_panic_abort_build_differs_and_says_so() {
    let (aborts, unwinds) = (libraries::panic_abort(), libraries::library("bad-panic-abort"));
    assert_eq!(manifest(&aborts).expect("a manifest").panic, "abort");
    assert_eq!(manifest(&unwinds).expect("a manifest").panic, "unwind");
    // The library links, and only its panics are wrong.
    assert_eq!(title(&made(&aborts, "{}"), "disk full"), "disk full");
}

#[test]
fn a_panic_in_the_panic_abort_build_ends_the_process() {
    let output = pretended_host(&["--body", "panic"], &[&libraries::panic_abort()]);
    assert_eq!(output.status.code(), None, "ended by a signal");
}

#[test]
fn bad_no_manifest_works_without_a_manifest() {
    let library = libraries::library("bad-no-manifest");
    assert_eq!(manifest(&library), None);
    assert_eq!(title(&made(&library, "{}"), "disk full"), "disk full");
}

#[test]
fn bad_layout_unchecked_is_refused_for_its_layout() {
    let refused = open(&libraries::library("bad-layout-unchecked")).err().expect("refused");
    assert!(refused.message.starts_with("has its layout check switched off"), "{refused}");
    assert!(refused.message.contains("\nhint: "), "{refused}");
}

#[test]
fn a_panic_in_receive_returns_message_and_place() {
    let instance = made(&libraries::library("bad-panics-in-receive"), "{}");
    let message = panicked(instance.receive(&Request::post(b"do panic")).map(drop));
    assert!(message.starts_with("asked to panic ("), "{message}");
    assert!(message.contains("bad-panics-in-receive/src/lib.rs:"), "{message}");

    assert_eq!(title(&instance, "disk full"), "disk full");
    instance.close().expect("dropping it does not panic");
}

#[test]
fn a_panic_whose_payload_panics_is_returned_too() {
    let instance = made(&libraries::library("bad-panics-in-receive"), "{}");
    let message = panicked(instance.receive(&Request::post(b"panic payload")).map(drop));
    assert!(message.starts_with("a panic without a message ("), "{message}");
    let place = line_of("bad/bad-panics-in-receive/src/lib.rs", "panic_any(");
    assert!(message.contains(&format!("src/lib.rs:{place}:")), "not of {place}: {message}");
}

#[test]
fn a_panic_in_new_is_returned_and_optional() {
    let library = libraries::library("bad-panics-in-new");
    let module = open(&library).expect("it opens");
    match module.instance(b"{}") {
        Err(NewInstanceError::Call(CallError::Panicked(message))) => {
            assert!(message.starts_with("asked to panic ("), "{message}");
            assert!(message.contains("bad-panics-in-new/src/lib.rs:"), "{message}");
        }
        other => panic!("expected a panic, got {other:?}"),
    }
    assert_eq!(title(&made(&library, r#"{"panic":false}"#), "disk full"), "disk full");
}

#[test]
fn a_panic_in_drop_is_returned_when_the_instance_is_closed() {
    let library = libraries::library("bad-panics-in-drop");
    let instance = made(&library, "{}");
    assert_eq!(title(&instance, "disk full"), "disk full");
    let message = panicked(instance.close());
    assert!(message.starts_with("not without a fight ("), "{message}");
    assert!(message.contains("bad-panics-in-drop/src/lib.rs:"), "{message}");

    drop(made(&library, "{}"));
}

#[test]
fn bad_never_returns_hangs_on_request() {
    let library = libraries::library("bad-never-returns");
    assert_eq!(title(&made(&library, "{}"), "disk full"), "disk full");

    let (done, waiting) = mpsc::channel();
    // The thread stays behind, as it does in a host.
    let hang = move || {
        let instance = made(&library, "{}");
        let _ = done.send(None);
        let outcome = instance.receive(&Request::post(b"hang"));
        let _ = done.send(Some(outcome.map(drop)));
    };
    thread::Builder::new().name("hangs".into()).spawn(hang).expect("a thread");
    assert_eq!(waiting.recv(), Ok(None), "the instance is made");
    wait::until("the thread sleeps", || thread_sleeps("hangs").then_some(()));
    assert_eq!(waiting.try_recv(), Err(mpsc::TryRecvError::Empty), "the call came back");
}

/// Tells whether a thread of this process waits for something, as the kernel says.
fn thread_sleeps(name: &str) -> bool {
    let threads = fs::read_dir("/proc/self/task").expect("the threads of this process");
    threads.flatten().any(|thread| {
        let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        read("comm").trim_end() == name && read("status").contains("State:\tS")
    })
}

/// Returns the processor time that a process has taken, in hundredths of a second.
fn cpu_ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    fields.split_whitespace().nth(11).expect("a field").parse().expect("a number")
}

#[test]
fn bad_never_returns_spins_on_request() {
    let mut host = Command::new(libraries::pretended_host())
        .args(["--body", "spin"])
        .arg(libraries::library("bad-never-returns"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the host starts");
    let mut lines = BufReader::new(host.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "not described");

    // A call that returns takes far less.
    wait::until("the process computes", || (cpu_ticks(host.id()) >= 20).then_some(()));
    assert_eq!(host.try_wait().expect("it can be asked"), None, "the call came back");
    host.kill().and_then(|()| host.wait()).expect("it ends");
    assert!(lines.next().is_none(), "the plugin printed something");
}

#[test]
fn well_behaved_obeys_the_request() {
    let library = libraries::library("well-behaved");
    let instance = made(&library, r#"{"prefix":"ops: ","token":"s3cret"}"#);
    let request = Request::post(b"disk full").with_header("x-token", b"s3cret");
    assert_eq!(event(&instance, &request), Event::create("ops: disk full"));

    let full = request
        .clone()
        .with_header("x-dedup-key", b"disk")
        .with_header("x-event-id", b"1")
        .with_header("x-action", b"resolve")
        .with_header("x-urgency", b"critical");
    let mut expected =
        Event::create("ops: disk full").dedup_key("disk").event_id("1").urgency(Urgency::Critical);
    expected.action = Action::Resolve;
    assert_eq!(event(&instance, &full), expected);

    let outcome = |request: Request<'_>| instance.receive(&request).expect("it answers").name();
    assert_eq!(outcome(Request::post(b"disk full")), "unauthorized");
    assert_eq!(outcome(request.clone().with_header("x-urgency", b"huge")), "malformed");
    assert_eq!(outcome(request.with_header("x-action", b"snooze")), "malformed");
}

#[test]
fn the_test_kit_opens_the_libraries() {
    let kit = Library::open(&libraries::library("well-behaved"));
    assert_eq!(kit.options_schema()["properties"]["prefix"]["type"], "string");
    let options = serde_json::json!({"prefix": "ops: "});
    let outcome = kit.receive(&options, &Request::post(b"disk full")).expect("it answers");
    assert_eq!(outcome, Outcome::from(Ok(Event::create("ops: disk full").into())));
}

#[test]
fn other_versions_and_names_change_only_the_manifest() {
    let folder = TempDir::new().expect("a folder");
    let original = libraries::library("well-behaved");
    let later = libraries::with_version(&original, "1.2.0", folder.path());
    let other = libraries::with_name(&later, "well-behived", folder.path());

    let identity = |library: &Path| {
        let manifest = manifest(library).expect("a manifest");
        (manifest.name, manifest.version)
    };
    assert_eq!(identity(&original), ("well-behaved".into(), "1.0.0".into()));
    assert_eq!(identity(&later), ("well-behaved".into(), "1.2.0".into()));
    assert_eq!(identity(&other), ("well-behived".into(), "1.2.0".into()));
    assert_ne!(later, other);

    for (library, prefix) in [(original, "0"), (later, "2"), (other, "o")] {
        let instance = made(&library, &format!(r#"{{"prefix":"{prefix} "}}"#));
        assert_eq!(title(&instance, "disk full"), format!("{prefix} disk full"));
    }
}

#[test]
#[should_panic(expected = "`1.10.0` does not fit where `1.0.0` stands")]
fn a_version_of_another_length_does_not_fit() {
    let folder = TempDir::new().expect("a folder");
    libraries::with_version(&libraries::library("well-behaved"), "1.10.0", folder.path());
}

#[test]
fn each_broken_file_has_its_own_defect() {
    let folder = TempDir::new().expect("a folder");
    let original = libraries::library("well-behaved");
    let read = |path: &Path| fs::read(path).expect("it is there");
    let whole = read(&original);

    let text = read(&libraries::not_elf(folder.path()));
    assert!(object::File::parse(&*text).is_err());

    let half = read(&libraries::truncated(&original, folder.path()));
    assert_eq!(half, whole[..whole.len() / 2]);

    let foreign = libraries::other_machine(&original, folder.path());
    let bytes = read(&foreign);
    let architecture = object::File::parse(&*bytes).expect("still an ELF file").architecture();
    assert_eq!(architecture, object::Architecture::Aarch64);
    assert_eq!(manifest(&foreign), manifest(&original));
    assert_eq!(bytes.iter().zip(&whole).filter(|(new, old)| new != old).count(), 1);
}

#[test]
fn a_plugin_of_1_0_0_answers_the_host_of_today() {
    let library = libraries::frozen();
    let manifest = manifest(&library).expect("a manifest");
    assert_eq!(
        (manifest.name.as_str(), manifest.plugin_api.as_str()),
        ("frozen-heartbeat", "1.0.0")
    );

    let module = open(&library).expect("it opens");
    let schema = module.options_schema().expect("a schema");
    let schema: serde_json::Value = serde_json::from_slice(&schema).expect("JSON");
    assert_eq!(schema["properties"]["token"]["format"], "password");

    let refused = module.instance(br#"{"body_limit_bytes":0}"#).expect_err("refused");
    assert_eq!(refused.to_string(), "refused its options: `body_limit_bytes`: must be at least 1");

    let instance = made(&library, r#"{"token":"s3cret","body_limit_bytes":200}"#);
    let send = |body: &str| {
        let request = Request::post(body.as_bytes())
            .with_header("content-type", b"application/json")
            .with_header("x-token", b"s3cret");
        instance.receive(&request)
    };
    let answer = |body: &str| send(body).expect("it answers");

    let down =
        answer(r#"{"service":"disk","up":false,"sequence":7,"link":"https://disk.example"}"#);
    let Outcome::Events { events, reply } = down else { panic!("expected events: {down:?}") };
    let expected = Event::create("disk is down")
        .description("disk says that it is down.")
        .urgency(Urgency::Critical)
        .dedup_key("disk")
        .event_id("disk/7")
        .link("https://disk.example")
        .detail("service", "disk");
    assert_eq!(events, [expected]);
    assert_eq!(reply.expect("its own reply").body, r#"{"heard":true}"#);

    let one = |outcome: Outcome| match outcome {
        Outcome::Events { mut events, .. } => events.remove(0),
        other => panic!("expected events: {other:?}"),
    };
    assert_eq!(one(answer(r#"{"service":"disk","up":true}"#)), Event::resolve("disk"));
    assert_eq!(
        one(answer(r#"{"service":"disk","up":false,"seen_by":"ann"}"#)),
        Event::acknowledge("disk").detail("seen by", "ann"),
    );

    assert_eq!(
        answer(r#"{"service":"","up":true}"#),
        Outcome::Ignored { reason: "a beat of nobody".into() },
    );
    assert_eq!(
        answer(r#"{"service":"failing","up":true}"#),
        Outcome::Failed { reason: "asked to fail".into() },
    );
    let malformed = |kind, reason: &str| Outcome::Malformed { kind, reason: reason.into() };
    let bad = malformed(Malformed::BadRequest, "expected a beat: service, up");
    assert_eq!(answer("[]"), bad);
    assert_eq!(answer(&"x".repeat(201)), malformed(Malformed::TooLarge, "a beat is small"));

    let untyped = Request::post(b"{}").with_header("x-token", b"s3cret");
    assert_eq!(
        instance.receive(&untyped).expect("it answers"),
        malformed(Malformed::UnsupportedMediaType, "expected application/json"),
    );
    assert_eq!(
        instance.receive(&Request::post(b"{}")).expect("it answers"),
        Outcome::Unauthorized { reason: "wrong or missing x-token".into() },
    );

    let message = panicked(send(r#"{"service":"panicking","up":true}"#).map(drop));
    assert!(message.starts_with("asked to panic (heartbeat/src/lib.rs:"), "{message}");
    instance.close().expect("it is dropped");
}

#[test]
fn a_plugin_of_a_later_minor_version_answers_the_host_of_today() {
    let library = libraries::pretended("1.2.0");
    assert_eq!(manifest(&library).expect("a manifest").plugin_api, "1.2.0");

    let instance = made(&library, "{}");
    let today = event(&instance, &Request::post(b"disk full"));
    assert_eq!(today, Event::create("disk full").urgency(Urgency::High));
    // The event has the urgency `catastrophic` and a colour, which this version does not know.
    let later = event(&instance, &Request::post(b"later"));
    assert_eq!(later, Event::create("later"));
    instance.close().expect("it is dropped");
}

#[test]
fn a_plugin_of_a_later_minor_version_says_what_today_s_cannot() {
    let bytes = fs::read(libraries::pretended("1.2.0")).expect("it is there");
    let says = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert!(says(b"catastrophic") && says(b"colour"));
}

#[test]
fn a_plugin_of_the_next_major_version_is_refused() {
    let library = libraries::pretended("2.0.0");
    assert_eq!(manifest(&library).expect("a manifest").plugin_api, "2.0.0");
    let refused = open(&library).err().expect("refused");
    assert!(refused.message.contains("2.0.0"), "{refused}");
    assert!(refused.message.contains(tocsin_plugin_api::VERSION), "{refused}");
}

#[test]
fn a_host_of_a_later_minor_version_opens_old_and_new_plugins_in_any_order() {
    let (old, new) = (libraries::frozen(), libraries::pretended("1.2.0"));
    let today = libraries::library("well-behaved");
    let beat = r#"{"service":"disk","up":false}"#;
    for order in [[&old, &new, &today], [&new, &today, &old], [&today, &old, &new]] {
        let output = pretended_host(&["--body", beat], &order.map(|path| &**path));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = order.map(|path| match path {
            path if path == &new => "described\nevents\n",
            _ => "not described\nevents\n",
        });
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected.concat());
    }
}

#[test]
fn a_host_of_a_later_minor_version_refuses_the_next_major_one() {
    let output = pretended_host(&[], &[&libraries::pretended("2.0.0")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("2.0.0") && said.contains("1.2.0"), "{said}");
}

#[test]
fn a_host_of_1_0_0_loads_plugins_of_its_time_of_today_and_of_a_later_minor_version() {
    let plugins =
        [libraries::frozen(), libraries::library("well-behaved"), libraries::pretended("1.2.0")];
    for plugin in plugins {
        let output =
            frozen_host(&["--body", r#"{"service":"disk","up":false}"#], &[plugin.as_path()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "events\n");
    }
}

#[test]
fn a_host_of_1_0_0_refuses_a_capability_that_it_does_not_know() {
    let output = frozen_host(&[], &[&libraries::pretended_echo()]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("which asks for `echo`; this host has no such thing"), "{error}");
}

#[test]
fn a_host_of_1_0_refuses_a_notifier_and_names_the_capability() {
    let notifier = libraries::library("notifier-well-behaved");
    assert_eq!(manifest(&notifier).expect("a manifest").capabilities, ["notify"]);
    let output = frozen_host(&[], &[&notifier]);
    assert!(!output.status.success(), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("which asks for `notify`; this host has no such thing"), "{error}");
}

#[test]
fn a_notifier_posts_the_news_and_judges_by_the_status_of_the_answer() {
    let library = Library::open(&libraries::library("notifier-well-behaved"));
    let fixtures: Vec<_> = [
        (200, r#"{"step": "delivered", "state": {"messages": 3}}"#),
        (429, r#"{"step": "retry", "reason": "the server answered 429", "in_doubt": false}"#),
        (503, r#"{"step": "retry"}"#),
        (400, r#"{"step": "rejected"}"#),
        (401, r#"{"step": "destination_broken"}"#),
        (410, r#"{"step": "destination_broken"}"#),
    ]
    .into_iter()
    .map(|(status, verdict)| {
        let json = format!(
            r#"{{
                "options": {{"url": "https://chat.example.com/hook", "secret": "s3cret"}},
                "notification": {{"kind": "resolved", "state": {{"messages": 2}}}},
                "exchanges": [{{
                    "expect": {{
                        "name": "post", "method": "POST", "url": "https://chat.example.com/hook",
                        "headers": {{"authorization": "Bearer s3cret"}},
                        "json": {{
                            "id": "01KDVWX2G0000000000000DVRY", "kind": "resolved", "skipped": [],
                            "attempt": 1, "in_doubt": false, "message": 3, "number": 7,
                            "title": "disk full on db1", "status": "open", "urgency": "high",
                            "note": null
                        }}
                    }},
                    "answer": {{"status": {status}}}
                }}],
                "verdict": {verdict}
            }}"#
        );
        NotifierFixture::parse(&status.to_string(), &json).expect("a fixture")
    })
    .collect();
    library.check_notifier(&fixtures);
    let digest = r#"{
        "options": {"url": "http://127.0.0.1:8080/"},
        "notification": {"subject": {"digest": {}}},
        "exchanges": [{"expect": {"headers": {"authorization": null}}, "answer": {"status": 204}}],
        "verdict": {"step": "delivered", "state": {"messages": 1}}
    }"#;
    library.check_notifier(&[NotifierFixture::parse("digest", digest).expect("a fixture")]);
    let options = serde_json::json!({"url": "http://127.0.0.1:8080/a?b"});
    let description = library.notifier(&options).expect("an instance").describe();
    assert_eq!(description.expect("a description").contacts, ["http://127.0.0.1:8080"]);
}

#[test]
fn a_host_that_knows_a_capability_calls_it() {
    let echo = libraries::pretended_echo();
    assert_eq!(manifest(&echo).expect("a manifest").capabilities, ["echo"]);
    let output = pretended_host(&[], &[&echo]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "described\nechoed\n");
}

/// Returns the manifest of a library, read from its file.
fn manifest(library: &Path) -> Option<Manifest> {
    let bytes = fs::read(library).expect("it is there");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let section = file.section_by_name(SECTION)?;
    Some(serde_json::from_slice(section.data().expect("in the file")).expect("a manifest"))
}

#[expect(unsafe_code, reason = "a library has to be mapped to be called")]
fn open(path: &Path) -> Result<Module, BoundaryError> {
    // SAFETY: the library was built from this workspace's own sources.
    let library = unsafe { libloading::Library::new(path) };
    let library = library.unwrap_or_else(|error| panic!("cannot map the library: {error}"));
    // The module stays in use for good.
    let library = Box::leak(Box::new(library));
    // SAFETY: a symbol read as a pointer is its address, which is all that is used.
    let header = unsafe { library.get::<*const ()>(HEADER_SYMBOL.as_bytes()) }.expect("the header");
    // SAFETY: the address is that of the header symbol, in a library that was leaked above.
    unsafe { Module::open(*header) }
}

fn made(library: &Path, options: &str) -> Instance {
    let module = open(library).unwrap_or_else(|error| panic!("{error}\n{}", error.detail));
    module.instance(options.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn event(instance: &Instance, request: &Request<'_>) -> Event {
    match instance.receive(request) {
        Ok(Outcome::Events { mut events, .. }) if events.len() == 1 => events.remove(0),
        other => panic!("expected one event, got {other:?}"),
    }
}

fn title(instance: &Instance, body: &str) -> String {
    event(instance, &Request::post(body.as_bytes())).title
}

fn panicked(result: Result<(), CallError>) -> String {
    match result {
        Err(CallError::Panicked(message)) => message,
        other => panic!("expected a panic, got {other:?}"),
    }
}

fn line_of(path: &str, text: &str) -> usize {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let source = source.expect("the source is there");
    source.lines().position(|line| line.contains(text)).expect("the line is there") + 1
}

fn pretended_host(args: &[&str], libraries: &[&Path]) -> Output {
    let mut host = Command::new(libraries::pretended_host());
    host.args(args).args(libraries).output().expect("the host runs")
}

fn frozen_host(args: &[&str], libraries: &[&Path]) -> Output {
    let mut host = Command::new(libraries::frozen_host());
    host.args(args).args(libraries).output().expect("the host runs")
}
