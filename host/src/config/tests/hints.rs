//! Hints of errors, which the key chooses: text in, hint out.

use super::refused;

#[track_caller]
fn hint(text: &str) -> String {
    let error = refused(text);
    error.rsplit_once("\nhint: ").expect("it has a hint").1.to_owned()
}

#[test]
fn the_hint_shows_a_value_that_fits_the_key() {
    for (text, hint_start) in [
        ("server.listen = 'localhost'", "write an IP address and a port"),
        ("server.listen = 17", "write an IP address and a port"),
        ("server.trusted_proxies = ['proxy']", "write an address or a network"),
        ("server.body_timeout = 10", "write a number with its unit, such as `10s`"),
        ("plugins.slow_call = 'soon'", "write a number with its unit, such as `10s`"),
        ("retention.records = '1 month'", "write a number with its unit, such as `30d`"),
        ("admin.tokens = [17]", "write [{ name = \"alice\""),
        ("admin.tokens = [{ name = 'a b', token = 'a-long-enough-token' }]", "write [{ name"),
        ("plugins.checksums.demo = 'x'", "write `\"demo 1.0.0\" = \"SHA-256\"`"),
        ("plugins.required = 1", "write `true`, or names"),
        ("integrations.a = { plugin = 'x', version = 'latest' }", "write a semver requirement"),
        ("integrations.a = { plugin = 'x', title = '{{ title' }", "write a Jinja template"),
        ("integrations.a = { plugin = 'x', maintenance = 'later' }", "write `true`, or `[{ from"),
        ("integrations.a = { plugin = 'x', rate_limit = 'fast' }", "write a rate, such as"),
        ("integrations.a = 17", "write a table here"),
        ("requests.keep = 'some'", "the known names are `failed`, `all`, `none`"),
        ("watch.enabled = 1", "write true or false here"),
        ("[watch", "write `]` here"),
        ("watch", "write `=` here"),
    ] {
        let hint = hint(text);
        assert!(hint.starts_with(hint_start), "{text}: {hint}");
    }
}
