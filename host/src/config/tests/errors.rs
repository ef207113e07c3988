//! Errors: text in, exact message out.

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{super::LoadedConfig, parse, refused};

#[test]
fn an_unknown_key_is_an_error() {
    insta::assert_snapshot!(refused("[server]\nlisten = '127.0.0.1:1'\nlisen = 1\n"), @"
    tocsin.toml:3:1: `server.lisen`: unknown key `lisen`
      |
    3 | lisen = ***
      | ^^^^^
    hint: did you mean `listen`? the known names are `listen`, `public_url`, `body_limit_bytes`, `header_limit_bytes`, `header_timeout`, `body_timeout`, `write_timeout`, `max_connections`, `max_connections_per_address`, `body_memory_bytes`, `max_wrong_tokens_per_minute`, `hide_integrations`, `shutdown_timeout`, `trusted_proxies`, `tls`
    ");
}

#[test]
fn a_wrong_type_is_an_error() {
    insta::assert_snapshot!(refused("[integrations.ops]\nplugin = 'slack'\nenabled = 'yes'\n"), @"
    tocsin.toml:3:11: `integrations.ops.enabled`: invalid type: a string
      |
    3 | enabled = 'yes'
      |           ^^^^^
    hint: write true or false here
    ");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_repeated() {
    let error = refused("[admin]\ntokens = { env = 'TOKEN' }\n");
    assert!(error.contains("invalid type: a string") && !error.contains("s3cret"), "{error}");
}

#[test]
fn a_missing_environment_variable_is_an_error() {
    insta::assert_snapshot!(refused("[integrations.ops]\nplugin = 'slack'\noptions.token = { env = 'NOPE' }\n"), @r#"
    tocsin.toml:3:17: `integrations.ops.options.token`: the environment variable `NOPE` is not set
      |
    3 | options.token = { env = 'NOPE' }
      |                 ^^^^^^^^^^^^^^^^
    hint: set NOPE for the host, or write { file = "PATH" }
    "#);
}

#[test]
fn a_missing_file_is_an_error() {
    insta::assert_snapshot!(refused("[admin]\ntokens = ['a', { file = '/nowhere/token' }]\n"), @"
    tocsin.toml:2:16: `admin.tokens`: cannot read `/nowhere/token`: No such file or directory (os error 2)
      |
    2 | tokens = [***, { file = '/nowhere/token' }]
      |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: a path is relative to this file
    ");
}

#[test]
fn a_pipe_is_refused_without_waiting_for_it() {
    let place = tempfile::tempdir().expect("a folder");
    let pipe = place.path().join("token");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).expect("made");
    let text = format!("[admin]\ntokens = [{{ file = '{}' }}]\n", pipe.display());
    let error = refused(&text).replace(&*pipe.to_string_lossy(), "PIPE");
    insta::assert_snapshot!(error.lines().next().unwrap_or_default(), @"tocsin.toml:2:11: `admin.tokens`: cannot read `PIPE`: it is a pipe, not a file");
    let error = LoadedConfig::read(&pipe).expect_err("it is no file").to_string();
    let error = error.replace(&*pipe.to_string_lossy(), "PIPE");
    insta::assert_snapshot!(error, @"
    cannot read the configuration `PIPE`: it is a pipe, not a file
    hint: name it with `--config FILE`, or in the environment as TOCSIN_CONFIG
    ");
}

#[test]
fn an_invalid_version_requirement_is_an_error() {
    insta::assert_snapshot!(refused("[integrations.ops]\nplugin = 'slack'\nversion = 'latest'\n"), @"
    tocsin.toml:3:11: `integrations.ops.version`: unexpected character 'l' while parsing major version number
      |
    3 | version = 'latest'
      |           ^^^^^^^^
    hint: write a semver requirement, such as `^1` or `>=1.2, <2`
    ");
}

#[test]
fn an_admin_listener_beyond_loopback_needs_a_token() {
    insta::assert_snapshot!(refused("[admin]\nlisten = '0.0.0.0:8081'\n"), @r#"
    tocsin.toml:2:10: `admin.listen`: `0.0.0.0:8081` is not loopback and `admin.tokens` is empty, so anybody who can reach it could use the API
      |
    2 | listen = '0.0.0.0:8081'
      |          ^^^^^^^^^^^^^^
    hint: add `tokens = [{ env = "TOCSIN_ADMIN_TOKEN" }]`, or listen on 127.0.0.1
    "#);
    parse("[admin]\nlisten = '0.0.0.0:8081'\ntokens = ['a-long-enough-token']\n")
        .expect("it has one");
}

#[test]
fn a_short_token_is_an_error() {
    insta::assert_snapshot!(refused("[admin]\ntokens = ['16 bytes or more', { name = 'al', token = '15 bytes or les' }]\n"), @"
    tocsin.toml:2:31: `admin.tokens[1]`: has less than 16 bytes, so that it may be guessed
      |
    2 | tokens = [***, { name = ***, token = *** }]
      |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: make one with `head -c 18 /dev/urandom | base64`
    ");
    let error = refused("[admin]\ntokens = ['']\n");
    assert!(error.contains("a secret must not be empty"), "{error}");
}

#[test]
fn the_polling_interval_has_bounds() {
    insta::assert_snapshot!(refused("[watch]\nlook_every = '10ms'\n"), @"
    tocsin.toml:2:14: `watch.look_every`: must be from 100ms to 1h
      |
    2 | look_every = '10ms'
      |              ^^^^^^
    hint: leave it out for 2s
    ");
    parse("[watch]\nlook_every = '1h'\n").expect("an hour");
}

#[test]
fn broken_toml_is_an_error_with_line_and_column() {
    insta::assert_snapshot!(refused("[server\n"), @"
    tocsin.toml:1:8: unclosed table
      |
    1 | [server
      |        ^
    hint: write `]` here
    ");
}

#[test]
fn reports_all_errors_at_once() {
    insta::assert_snapshot!(refused("[store]\nurl = 'mysql://x'\n[integrations.'a b']\nplugin = 'x'\n[log]\nlevel = 'loud'\n"), @"
    tocsin.toml:2:7: `store.url`: is not a kind of store that this host supports
      |
    2 | url = ***
      |       ^^^
    hint: write `sqlite:PATH`, such as `sqlite:tocsin.db`, or `postgres://USER@HOST/DATABASE`

    tocsin.toml:3:15: `integrations.a b`: `a b` cannot be part of a URL
      |
    3 | [integrations.'a b']
      |               ^^^^^
    hint: use 1 to 64 of a-z, A-Z, 0-9, `-` and `_`

    tocsin.toml:6:9: `log.level`: `loud` is not a log level
      |
    6 | level = 'loud'
      |         ^^^^^^
    hint: write error, warn, info, debug or trace
    ");
}

/// Returns the keys of all errors.
fn keys(text: &str) -> Vec<String> {
    let env = |_: &str| None;
    let errors = LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), env);
    errors.expect_err("it is wrong").0.iter().map(|error| error.key().to_owned()).collect()
}

#[test]
fn errors_of_all_kinds_are_reported_together() {
    let text = "[server]\nlisen = 1\nbody_timeout = 10\n\
                [admin]\ntokens = ['a-long-enough-token', 17, { env = 'NOPE' }]\n\
                [plugins]\ncall_deadline = '1ms'\n\
                [integrations.a]\nurgency = 'urgent'\n\
                [integrations.b]\nplugin = 'x'\nversion = 1\n\
                [log]\nlevel = 'loud'\n";
    assert_eq!(
        keys(text),
        [
            "server.lisen",
            "server.body_timeout",
            "admin.tokens",
            "admin.tokens",
            "plugins.call_deadline",
            "integrations.a.urgency",
            "integrations.b.version",
            "log.level",
        ]
    );
}

#[test]
fn an_error_is_not_followed_by_its_consequences() {
    for (text, key) in [
        // No missing token beside a wrong one, and no missing plugin beside a wrong one.
        ("[admin]\nlisten = '0.0.0.0:1'\ntokens = [17]\n", "admin.tokens"),
        ("[integrations.a]\nplugin = 17\n", "integrations.a.plugin"),
        // A route may name an integration that has errors.
        ("[integrations]\na = 17\n[[routes]]\nto = []\nintegrations = ['a']\n", "integrations.a"),
        ("[server]\nlisten = 'x'\n[admin]\nlisten = '127.0.0.1:8080'\n", "server.listen"),
    ] {
        assert_eq!(keys(text), [key], "{text}");
    }
}

#[test]
fn a_section_without_its_plugin_is_an_error_at_its_header() {
    insta::assert_snapshot!(refused("[integrations.a]\n[integrations.b]\nurgency = 'low'\n"), @r#"
    tocsin.toml:1:1: `integrations.a`: the key `plugin` is missing
      |
    1 | [integrations.a]
      | ^^^^^^^^^^^^^^^^
    hint: add `plugin = "NAME"`; `tocsin plugins` lists the names

    tocsin.toml:2:1: `integrations.b`: the key `plugin` is missing
      |
    2 | [integrations.b]
      | ^^^^^^^^^^^^^^^^
    hint: add `plugin = "NAME"`; `tocsin plugins` lists the names
    "#);
}

#[test]
fn a_number_in_place_of_a_version_requirement_needs_quotes() {
    insta::assert_snapshot!(refused("[integrations.a]\nplugin = 'x'\nversion = 1\n"), @"
    tocsin.toml:3:11: `integrations.a.version`: invalid type: an integer
      |
    3 | version = 1
      |           ^
    hint: write a semver requirement, such as `^1` or `>=1.2, <2`, in quotes
    ");
}

#[test]
fn a_file_that_is_not_text_is_an_error() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("token");
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    let text = format!("[admin]\ntokens = [{{ file = '{}' }}]\n", path.display());
    let error = refused(&text).replace(&*path.to_string_lossy(), "FILE");
    let lines: Vec<_> = error.lines().collect();
    assert!(lines[0].ends_with("cannot read `FILE`: it is not text in UTF-8"), "{error}");
    assert_eq!(lines[4], "hint: save it again as UTF-8, or name another file");
}
