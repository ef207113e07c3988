//! `[tracing]`: values that are refused, warnings, and secrets that no message repeats.

use super::*;

#[test]
fn a_receiver_and_its_secrets_are_read_and_the_rest_has_defaults() {
    let text = "[tracing]\nendpoint = 'https://otlp.example.com/v1/traces'\nsample_ratio = 1\n\
                headers = { authorization = 'Bearer s3cret', 'x-scope' = { env = 'SCOPE' } }\n";
    let env = |name: &str| (name == "SCOPE").then(|| "ops".to_owned());
    let config = LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), env);
    let tracing = config.expect("it is good").config.tracing;
    assert_eq!((tracing.sample_ratio, &*tracing.service_name), (1.0, "tocsin"));
    assert_eq!(tracing.timeout, std::time::Duration::from_secs(10));
    assert_eq!(tracing.headers["x-scope"].expose(), "ops");
    assert!(!format!("{tracing:?}").contains("s3cret"), "{tracing:?}");
}

#[test]
fn a_url_that_is_none_is_refused_and_not_repeated() {
    for (url, message) in [
        ("", "is not a URL"),
        ("otlp.example.com", "does not begin with `https://` or `http://`"),
        ("grpc://otlp.example.com:4317", "does not begin with `https://` or `http://`"),
        ("http://user:hunter2@otlp.example.com/v1/traces", "holds a user name or a password"),
        ("http://otlp.example.com:0/v1/traces", "port is not a number"),
        ("http:// otlp.example.com/hunter2", "is not a URL"),
    ] {
        let refused = refused(&format!("[tracing]\nendpoint = '{url}'\n"));
        assert!(refused.contains("`tracing.endpoint`"), "{refused}");
        assert!(refused.contains(message), "{url}: {refused}");
        assert!(refused.contains("hint: ") && !refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn values_that_cannot_be_used_are_refused_with_a_hint() {
    for (line, key, message) in [
        ("sample_ratio = 1.5", "tracing.sample_ratio", "must be from 0 to 1"),
        ("sample_ratio = -1", "tracing.sample_ratio", "must be from 0 to 1"),
        ("sample_ratio = nan", "tracing.sample_ratio", "must be from 0 to 1"),
        ("timeout = '0s'", "tracing.timeout", "must be more than 0"),
        ("service_name = ''", "tracing.service_name", "must have 1 to 255 bytes"),
        ("headers = { 'a b' = 'x' }", "tracing.headers.a b", "is not the name of a header"),
        ("headers = { Host = 'x' }", "tracing.headers.Host", "that the host itself sets"),
        ("headers = { content-type = 'x' }", "tracing.headers.content-type", "itself sets"),
        ("headers = { a = \"hunter2\\n\" }", "tracing.headers.a", "that no header can have"),
        ("ca_file = 'no-such-file'", "tracing.ca_file", "cannot read"),
    ] {
        let refused = refused(&format!("[tracing]\n{line}\n"));
        let place = "tocsin.toml:2:";
        assert!(refused.starts_with(place), "{refused}");
        assert!(refused.contains(&format!("`{key}`")), "{refused}");
        assert!(refused.contains(message) && refused.contains("hint: "), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn warns_of_the_port_of_another_protocol_and_of_a_url_without_a_path() {
    for (url, warning) in [
        ("http://127.0.0.1:4317/v1/traces", Some("OTLP over gRPC")),
        ("http://127.0.0.1:4318", Some("has no path")),
        ("http://127.0.0.1:4318/", Some("has no path")),
        ("http://127.0.0.1:4318/v1/traces", None),
    ] {
        let text = format!("[tracing]\nendpoint = '{url}'\n");
        let loaded = LoadedConfig::parse(Path::new("tocsin.toml"), text, |_| None);
        let warnings = loaded.expect("it is good").warnings;
        let said: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), usize::from(warning.is_some()), "{said:?}");
        assert!(warning.is_none_or(|warning| said[0].contains(warning)), "{said:?}");
    }
}
