//! Tests of a configuration: text in, values or exact messages out.

use std::{path::Path, time::Duration};

use tocsin_plugin_api::Urgency;

use super::*;

mod errors;
mod hints;
mod notifications;
mod scopes;
mod secrecy;
mod tls;
mod tracing;
mod warnings;

fn parse(text: &str) -> Result<Config, String> {
    let env = |name: &str| (name == "TOKEN").then(|| "s3cret-s3cret-s3cret".to_owned());
    LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), env)
        .map(|loaded| loaded.config)
        .map_err(|errors| errors.to_string())
}

fn refused(text: &str) -> String {
    parse(text).expect_err("the configuration is wrong")
}

#[test]
fn an_empty_configuration_listens_only_on_loopback() {
    let config = parse("").expect("every key has a default");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.server.body_limit_bytes, 1_048_576);
    assert_eq!(config.plugins.call_deadline, Duration::from_secs(1));
    assert!(config.integrations.is_empty());
}

#[test]
fn the_load_journal_lies_in_the_state_dir_or_beside_the_sqlite_file() {
    let journal = |text: &str| {
        let path = Path::new("/etc/tocsin/tocsin.toml");
        let loaded = LoadedConfig::parse(path, text.into(), |_| None).expect("it is right");
        loaded.load_journal(&loaded.store_config().expect("a store"))
    };
    assert_eq!(journal(""), Path::new("/etc/tocsin/tocsin.db.loading"));
    let elsewhere = "[store]\nurl = \"sqlite:/var/lib/tocsin/a.db\"";
    assert_eq!(journal(elsewhere), Path::new("/var/lib/tocsin/a.db.loading"));
    let state_dir = format!("state_dir = \"state\"\n{elsewhere}");
    assert_eq!(journal(&state_dir), Path::new("/etc/tocsin/state/a.db.loading"));
}

#[test]
fn a_file_as_state_dir_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display();
    for state_dir in [format!("{path}"), format!("{path}/below")] {
        let error = refused(&format!("state_dir = \"{state_dir}\""));
        assert!(error.contains("tocsin.toml:1:"), "{error}");
        assert!(error.contains(&format!("`{path}` is a file, not a folder")), "{error}");
        assert!(error.contains("hint: name a folder"), "{error}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let new = folder.path().join("new");
    parse(&format!("state_dir = \"{}\"", new.display())).expect("the host creates it");
    assert!(!new.exists(), "a check changes nothing");
}

#[test]
fn an_integration_needs_only_its_plugin() {
    let config = parse("[integrations.ops]\nplugin = 'slack'").expect("a plugin is enough");
    let ops = &config.integrations["ops"];
    assert!(ops.enabled && ops.options.is_empty());
    assert_eq!((ops.urgency, ops.version.to_string()), (Urgency::Medium, "*".into()));
    assert_eq!(config.server.endpoint("ops"), "http://127.0.0.1:8080/in/ops");
}

#[test]
fn endpoints_start_with_the_public_url() {
    let config = parse("[server]\npublic_url = 'https://a.example/x/'").expect("a URL");
    assert_eq!(config.server.endpoint("ops"), "https://a.example/x/in/ops");
}

#[test]
fn any_string_can_come_from_the_environment() {
    let config = parse(
        "[admin]\ntokens = [{ env = 'TOKEN' }]\n\
         [integrations.ops]\nplugin = 'slack'\noptions = { token = { env = 'TOKEN' }, deep = [{ x = { env = 'TOKEN' } }] }",
    )
    .expect("the variable is set");
    assert!(config.admin.tokens[0].token.matches(b"s3cret-s3cret-s3cret"));
    let options = serde_json::to_string(&config.integrations["ops"].options).unwrap();
    assert_eq!(
        options,
        r#"{"deep":[{"x":"s3cret-s3cret-s3cret"}],"token":"s3cret-s3cret-s3cret"}"#
    );
    assert!(!format!("{:?}", config.admin).contains("s3cret"));
}

#[test]
fn a_value_from_a_file_or_variable_loses_one_line_break() {
    let place = tempfile::tempdir().expect("a folder");
    for (text, value) in [
        ("s3cret", "s3cret"),
        ("s3cret\n", "s3cret"),
        ("s3cret\r\n", "s3cret"),
        ("s3cret\n\n", "s3cret\n"),
        ("s3cret\r", "s3cret\r"),
        (" s3cret \n", " s3cret "),
    ] {
        std::fs::write(place.path().join("token"), text).expect("written");
        let config = "[integrations.ops]\nplugin = 'x'\n\
                      options = { a = { env = 'TOKEN' }, b = { file = 'token' } }\n";
        let path = place.path().join("tocsin.toml");
        let env = |name: &str| (name == "TOKEN").then(|| text.to_owned());
        let loaded = LoadedConfig::parse(&path, config.into(), env).expect("it is good");
        let options = &loaded.config.integrations["ops"].options;
        assert_eq!((&options["a"], &options["b"]), (&value.into(), &value.into()), "{text:?}");
    }
}
