//! Tests of a [`ReadyDestination`] with a pretended plugin, without any library.

use std::{path::Path, sync::Arc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use serde_json::json;
use tocsin_plugin_api::{
    OptionsError, Request,
    abi::{CallError, NewInstanceError},
    step::NotifyCall,
};

use super::*;
use crate::{
    call::{
        CallLimits, CallPool, InProcessRuntime, NotifierPool, ReadOutcome, runtime::PluginInstance,
    },
    config::LoadedConfig,
    plugin_user::{Settings, occasion::Resources},
    plugins::{admission::AdmittedPlugin, journal::LoadJournal},
};

/// A plugin with this description. Without one, it panics as it is asked for it.
struct Pretended {
    admitted: Arc<AdmittedPlugin>,
    description: Option<Value>,
}

struct PretendedInstance(Option<Value>);

impl RunnablePlugin for Pretended {
    fn admitted(&self) -> &Arc<AdmittedPlugin> {
        &self.admitted
    }

    fn options_schema(&self) -> Result<Vec<u8>, CallError> {
        let schema = json!({"properties": {"token": {"type": "string", "format": "password"}}});
        Ok(schema.to_string().into_bytes())
    }

    fn instance(&self, options: &[u8]) -> Result<Box<dyn PluginInstance>, NewInstanceError> {
        let options: Value = serde_json::from_slice(options).expect("an object");
        if options["token"] == "wrong" {
            let error = OptionsError::at("token", "is wrong");
            return Err(NewInstanceError::Refused(error));
        }
        Ok(Box::new(PretendedInstance(self.description.clone())))
    }
}

impl PluginInstance for PretendedInstance {
    fn receive(&self, _: &Request<'_>) -> Result<ReadOutcome, CallError> {
        Err(CallError::NotUnderstood("it only notifies".into()))
    }

    fn call(&self, capability: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
        assert_eq!(capability, manifest::NOTIFY);
        let call: NotifyCall = serde_json::from_slice(input).expect("a question");
        assert_eq!(call, NotifyCall::Describe);
        match &self.0 {
            Some(description) => Ok(description.to_string().into_bytes()),
            None => Err(CallError::Panicked("on purpose".into())),
        }
    }

    fn close(self: Box<Self>) -> Result<(), CallError> {
        Ok(())
    }
}

/// Starts the plugin of the destination `ops` in a configuration.
fn start(text: &str, description: Option<Value>) -> Result<ReadyDestination, NoStartReason> {
    let config = LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), |_| None);
    let config = config.expect("a valid configuration");
    let metrics = Metrics::new();
    let runtime = InProcessRuntime::new(LoadJournal::default(), Gauge::default(), None);
    let pool = CallPool::new(Arc::clone(&metrics.calls)).expect("threads");
    let notifier_pool = NotifierPool::new(Arc::clone(&metrics.calls)).expect("threads");
    let admitted = AdmittedPlugin::pretended("libdemo.so".into(), "demo", "aa", None, None);
    let id = Arc::clone(&admitted.id);
    let plugin = Arc::new(Pretended { admitted: Arc::new(admitted), description });
    let section = config.config.destinations["ops"].clone();
    let limits = CallLimits { deadline: Duration::from_secs(60), slow: None };
    let order = StartOrder {
        resources: Resources {
            runtime: &runtime,
            pool: &pool,
            notifier_pool: &notifier_pool,
            metrics: &metrics,
        },
        config: &config,
        name: "ops",
        options: serde_json::to_vec(&section.options).expect("JSON"),
        settings: &Settings { section, limits },
        plugin,
        metrics: &Arc::new(metrics.destination("ops", &id)),
    };
    ReadyDestination::start(&order)
}

fn ready(text: &str, description: Value) -> ReadyDestination {
    start(text, Some(description)).unwrap_or_else(|reason| panic!("{reason}"))
}

fn refused(text: &str, description: Value) -> String {
    match start(text, Some(description)).map(|ready| ready.events) {
        Err(NoStartReason::Unable(error)) => error.sentence(),
        Err(reason) => panic!("{reason}"),
        Ok(events) => panic!("it is told of {events:?}"),
    }
}

const PLAIN: &str = "[destinations.ops]\nplugin = 'demo'\n";

fn description(kinds: &[&str]) -> Value {
    json!({"contacts": ["https://chat.example"], "kinds": kinds, "pause_ms": 1500})
}

#[test]
fn of_the_usual_events_those_are_sent_that_the_plugin_can_send() {
    let all = ["opened", "acknowledged", "resolved", "noted", "digest"];
    let usual = [Kind::Opened, Kind::Acknowledged, Kind::Resolved];
    assert_eq!(ready(PLAIN, description(&all)).events, usual);
    let some = ["opened", "resolved"];
    assert_eq!(ready(PLAIN, description(&some)).events, [Kind::Opened, Kind::Resolved]);
}

#[test]
fn an_event_that_the_plugin_cannot_send_is_an_error_at_its_place() {
    let text = format!("{PLAIN}events = ['opened', 'noted']\n");
    insta::assert_snapshot!(refused(&text, description(&["opened", "resolved"])), @"tocsin.toml:3:21: `destinations.ops.events[1]`: plugin `demo 1.0.0` cannot send `noted`; hint: the plugin can send `opened`, `resolved`");
}

#[test]
fn a_plugin_that_can_send_no_usual_event_needs_a_choice() {
    insta::assert_snapshot!(refused(PLAIN, description(&["occurred", "test"])), @"tocsin.toml:1:15: `destinations.ops.events`: plugin `demo 1.0.0` can send none of `opened`, `acknowledged`, `resolved`; hint: the plugin can send `occurred`");
    insta::assert_snapshot!(refused(PLAIN, description(&[])), @"tocsin.toml:1:15: `destinations.ops.events`: plugin `demo 1.0.0` can send none of `opened`, `acknowledged`, `resolved`; hint: report it to the plugin's author");
}

#[test]
fn the_operator_s_rate_replaces_the_pause_that_the_plugin_suggests() {
    let kinds = ["opened"];
    assert_eq!(ready(PLAIN, description(&kinds)).pause, Duration::from_millis(1500));
    for (rate, pause) in [("4/s", 250), ("1/m", 60_000), ("3600/h", 1000)] {
        let text = format!("{PLAIN}rate_limit = '{rate}'\n");
        let pause = Duration::from_millis(pause);
        assert_eq!(ready(&text, description(&kinds)).pause, pause, "{rate}");
    }
}

#[test]
fn a_plugin_that_sends_no_digest_gets_none() {
    assert_eq!(ready(PLAIN, description(&["opened", "digest"])).digest_above, 20);
    assert_eq!(ready(PLAIN, description(&["opened"])).digest_above, 0);
}

#[test]
fn the_secrets_that_the_schema_marks_are_redacted() {
    let text = format!("{PLAIN}options = {{ token = 's3cret', channel = 'ops' }}\n");
    let ready = ready(&text, description(&["opened"]));
    assert_eq!(ready.redactor.text("ops s3cret"), "ops [blanked]");
}

#[test]
fn the_network_rules_name_the_section_for_hints() {
    let text = format!("{PLAIN}allow_networks = ['10.0.0.0/8']\n");
    let rules = ready(&text, description(&["opened"])).rules;
    assert!(rules.judge([10, 0, 0, 1].into()).is_ok());
    let refusal = rules.judge([127, 0, 0, 1].into()).expect_err("it is loopback");
    insta::assert_snapshot!(refusal.one_line(), @r#"`127.0.0.1` is a loopback address (`127.0.0.0/8`) that `allow_networks` does not name; hint: set `allow_networks = ["10.0.0.0/8", "127.0.0.1"]` in `[destinations.ops]`"#);
}

#[test]
fn a_plugin_that_does_not_describe_itself_is_not_ready() {
    let reason = match start(PLAIN, None) {
        Err(reason @ NoStartReason::NoDescription(_)) => reason.to_string(),
        Err(reason) => panic!("{reason}"),
        Ok(_) => panic!("it is ready"),
    };
    insta::assert_snapshot!(reason, @"does not describe itself: the plugin panicked: on purpose");
}

#[test]
fn options_that_the_plugin_refuses_are_told_with_their_key() {
    let text = format!("{PLAIN}options = {{ token = 'wrong' }}\n");
    match start(&text, Some(description(&["opened"]))) {
        Err(NoStartReason::NoInstance(StartError::Refused(error))) => {
            assert_eq!((&*error.path, &*error.message), ("token", "is wrong"));
        }
        Err(reason) => panic!("{reason}"),
        Ok(_) => panic!("it is ready"),
    }
}
