//! An invalid configuration is refused with file, line, key and a hint, before the host serves
//! anything.

use insta::assert_snapshot;
use tocsin_tests::{Finished, Site, libraries::library};

fn site() -> Site {
    Site::new().plugin(&library("well-behaved"))
}

/// Returns the error of `serve` for an invalid configuration. `check` prints the same error.
#[track_caller]
fn refused(config: &str) -> String {
    refused_at(&site(), config)
}

#[track_caller]
pub(crate) fn refused_at(site: &Site, config: &str) -> String {
    site.write("tocsin.toml", config);
    let (check, serve) = (site.run(&["check"]), site.run(&["serve"]));
    assert_eq!((check.code, serve.code), (Some(2), Some(2)), "{check:?} {serve:?}");
    let said = serve.stderr.trim_end();
    assert!(said.starts_with("error: "), "{said}");
    assert!(said.contains("\nhint: "), "what is to be done? {said}");
    assert!(check.stderr.contains(said), "{said}\nis missing in\n{check:?}");
    assert!(!site.path("tocsin.db").exists(), "nothing was begun");
    said.to_owned()
}

#[test]
fn refuses_an_unknown_key_and_lists_the_known_ones() {
    assert_snapshot!(refused("[server]\nlisten = '127.0.0.1:0'\nbody_limit = 17\n"), @"
    error: tocsin.toml:3:1: `server.body_limit`: unknown key `body_limit`
      |
    3 | body_limit = ***
      | ^^^^^^^^^^
    hint: did you mean `body_limit_bytes`? the known names are `listen`, `public_url`, `body_limit_bytes`, `header_limit_bytes`, `header_timeout`, `body_timeout`, `write_timeout`, `max_connections`, `max_connections_per_address`, `body_memory_bytes`, `max_wrong_tokens_per_minute`, `hide_integrations`, `shutdown_timeout`, `trusted_proxies`, `tls`
    ");
    assert_snapshot!(refused("[integrations.good]\nplugin = 'well-behaved'\nenabeld = true\n"), @"
    error: tocsin.toml:3:1: `integrations.good.enabeld`: unknown key `enabeld`
      |
    3 | enabeld = true
      | ^^^^^^^
    hint: did you mean `enabled`? the known names are `plugin`, `version`, `enabled`, `urgency`, `title`, `description`, `maintenance`, `rate_limit`, `sender_rate_limit`, `resolve_after`, `options`
    ");
    assert_snapshot!(refused("[slack]\n"), @"
    error: tocsin.toml:1:2: `slack`: unknown key `slack`
      |
    1 | [slack]
      |  ^^^^^
    hint: the known names are `server`, `admin`, `store`, `state_dir`, `plugins`, `requests`, `retention`, `watch`, `log`, `integrations`, `destinations`, `routes`, `delivery`, `tracing`
    ");
}

#[test]
fn refuses_a_value_of_the_wrong_type() {
    assert_snapshot!(refused("[server]\nbody_limit_bytes = 'much'\n"), @"
    error: tocsin.toml:2:20: `server.body_limit_bytes`: invalid type: a string
      |
    2 | body_limit_bytes = 'much'
      |                    ^^^^^^
    hint: write a whole number here
    ");
    assert_snapshot!(refused("[server]\nlisten = 'localhost'\n"), @"
    error: tocsin.toml:2:10: `server.listen`: invalid socket address syntax
      |
    2 | listen = 'localhost'
      |          ^^^^^^^^^^^
    hint: write an IP address and a port, such as `127.0.0.1:8080`
    ");
    assert_snapshot!(refused("[plugins]\ncall_deadline = 'soon'\n"), @"
    error: tocsin.toml:2:17: `plugins.call_deadline`: is not a duration
      |
    2 | call_deadline = 'soon'
      |                 ^^^^^^
    hint: write a number with its unit, such as `10s` or `500ms`
    ");
    assert_snapshot!(refused("[integrations.good]\nplugin = 'well-behaved'\nurgency = 'urgent'\n"), @"
    error: tocsin.toml:3:11: `integrations.good.urgency`: unknown value `urgent`
      |
    3 | urgency = 'urgent'
      |           ^^^^^^^^
    hint: the known names are `low`, `medium`, `high`, `critical`
    ");
}

#[test]
fn refuses_invalid_toml() {
    assert_snapshot!(refused("[server]\nlisten = 127.0.0.1:8080\n"), @"
    error: tocsin.toml:2:15: invalid float
      |
    2 | listen = 127.0.0.1:8080
      |               ^^^^^^^^^
    hint: write a string in quotes here
    ");
}

#[test]
fn refuses_a_missing_environment_variable() {
    assert_snapshot!(refused(
        "[integrations.good]\nplugin = 'well-behaved'\noptions.token = { env = 'NO_SUCH_TOKEN' }\n"
    ), @r#"
    error: tocsin.toml:3:17: `integrations.good.options.token`: the environment variable `NO_SUCH_TOKEN` is not set
      |
    3 | options.token = { env = 'NO_SUCH_TOKEN' }
      |                 ^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: set NO_SUCH_TOKEN for the host, or write { file = "PATH" }
    "#);
}

#[test]
fn refuses_a_missing_secret_file() {
    assert_snapshot!(refused(
        "[integrations.good]\nplugin = 'well-behaved'\noptions.token = { file = 'no-such-token' }\n"
    ), @"
    error: tocsin.toml:3:17: `integrations.good.options.token`: cannot read `no-such-token`: No such file or directory (os error 2)
      |
    3 | options.token = { file = 'no-such-token' }
      |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: a path is relative to this file
    ");
}

#[test]
fn refuses_an_unknown_required_plugin_and_lists_the_known_ones() {
    let config = "plugins.required = true\n[integrations.good]\nplugin = 'well-behavd'\n";
    assert_snapshot!(refused(config), @"
    error: tocsin.toml:3:10: `integrations.good.plugin`: no plugin is named `well-behavd`
      |
    3 | plugin = 'well-behavd'
      |          ^^^^^^^^^^^^^
    hint: did you mean `well-behaved`?
    ");
    let config =
        "plugins.required = ['well-behaved']\n[integrations.good]\nplugin = 'well-behaved'\n";
    assert_snapshot!(refused_at(&Site::new(), config), @"
    error: tocsin.toml:3:10: `integrations.good.plugin`: no plugin is named `well-behaved`
      |
    3 | plugin = 'well-behaved'
      |          ^^^^^^^^^^^^^^
    hint: the plugins folder is empty: drop the plugin's `.so` in
    ");
}

#[test]
fn refuses_an_unavailable_version_and_lists_the_available_ones() {
    assert_snapshot!(refused("[integrations.good]\nplugin = 'well-behaved'\nversion = 'newest'\n"), @"
    error: tocsin.toml:3:11: `integrations.good.version`: unexpected character 'n' while parsing major version number
      |
    3 | version = 'newest'
      |           ^^^^^^^^
    hint: write a semver requirement, such as `^1` or `>=1.2, <2`
    ");
    let config =
        "plugins.required = true\n[integrations.good]\nplugin = 'well-behaved'\nversion = '^7.1'\n";
    assert_snapshot!(refused(config), @"
    error: tocsin.toml:4:11: `integrations.good.version`: no version of plugin `well-behaved` matches `^7.1`
      |
    4 | version = '^7.1'
      |           ^^^^^^
    hint: the plugins folder has 1.0.0
    ");
}

#[test]
fn refuses_options_that_the_plugin_rejects() {
    assert_snapshot!(refused(
        "[integrations.good]\nplugin = 'well-behaved'\n[integrations.good.options]\nprefix = 17\n"
    ), @"
    error: tocsin.toml:4:10: `integrations.good.options.prefix`: invalid type: an integer, expected a string
      |
    4 | prefix = ***
      |          ^^^
    hint: see the options of plugin `well-behaved`
    ");
    assert_snapshot!(refused(
        "[integrations.good]\nplugin = 'well-behaved'\n[integrations.good.options]\nprefiks = 'x'\n"
    ), @"
    error: tocsin.toml:4:11: `integrations.good.options.prefiks`: unknown field `prefiks`, expected `prefix` or `token`
      |
    4 | prefiks = ***
      |           ^^^
    hint: did you mean `prefix`? see the options of plugin `well-behaved`
    ");
}

#[test]
fn does_not_print_a_secret_of_the_wrong_type() {
    let said = refused(
        "[integrations.good]\nplugin = 'well-behaved'\n[integrations.good.options]\ntoken = 170417\n",
    );
    let message = said.lines().next().expect("a line");
    assert!(!message.contains("170417"), "{message}");
}

#[test]
fn does_not_print_secrets_near_a_mistake() {
    let site = site().env("TOKEN", "s3cret-of-the-sender");
    let good = "[integrations.good]\nplugin = 'well-behaved'\n";
    for config in [
        "[admin]\ntokens = ['s3cret-s3cret-s3cret', 17]\n".to_owned(),
        "[admin]\ntokens = 's3cret-s3cret-s3cret'\n".to_owned(),
        "[admin]\ntoken = 's3cret-s3cret-s3cret'\n".to_owned(),
        "[admin]\ntokens = ['s3cret-s3cret-s3cret]\n".to_owned(),
        "[admin]\ntokens = [s3cret-s3cret-s3cret]\n".to_owned(),
        "[admin]\ntokens = ['s3cret-s3cret-s3cret'] # s3cret\nlisten = 17\n".to_owned(),
        "[admin]\ntokens = ['s3cret'] # 6 bytes\n".to_owned(),
        format!("{good}options = {{ token = 's3cret', prefiks = 'x' }}\n"),
        format!("{good}options = {{ prefix = 17, token = 's3cret' }}\n"),
        format!("{good}options.token = 's3cret\n"),
        format!("{good}options.token = \"\"\"\ns3cret\n"),
        format!("{good}options.tokken = \"\"\"\ns3cret\n\"\"\"\n"),
        format!("{good}token = 's3cret'\n"),
        format!("{good}options.token = {{ env = 's3cret' }}\n"),
        format!("{good}urgency = {{ env = 'TOKEN' }}\n"),
        format!("{good}options.token = 's3cret'\noptions.token = 's3cret'\n"),
        "[store]\nurl = 'mysql://me:s3cret@db/tocsin'\n".to_owned(),
        "[store]\nurl = 'postgres://me:s3cret@db/tocsin?sslmode=prefer'\n".to_owned(),
        "[store]\nurl = 'postgres://me:s3cret@db:port/tocsin'\n".to_owned(),
        "[store]\nurl = 'postgres://:s3cret@db/tocsin'\npassword = 's3cret'\n".to_owned(),
    ] {
        site.write("tocsin.toml", &config);
        for verb in ["check", "serve"] {
            let Finished { code, stdout, stderr } = site.run(&[verb]);
            assert_eq!(code, Some(2), "{config}\n{stderr}");
            assert!(!format!("{stdout}{stderr}").contains("s3cret"), "{config}\n{stderr}");
            assert!(stderr.contains("tocsin.toml:") && stderr.contains("\nhint: "), "{stderr}");
        }
    }
}

#[test]
fn trims_one_line_end_from_a_secret_in_a_file_or_variable() {
    let token = "s3cret-of-the-sender";
    let config = "[integrations.env]\nplugin = 'well-behaved'\noptions.token = { env = 'TOKEN' }\n\
                  [integrations.file]\nplugin = 'well-behaved'\noptions.token = { file = 'token' }\n";
    for end in ["", "\n", "\r\n"] {
        let site = site().config(config).env("TOKEN", &format!("{token}{end}"));
        site.write("token", format!("{token}{end}"));
        let host = site.serve();
        for integration in ["env", "file"] {
            let answer = host.post_with(integration, &[("x-token", token)], "disk full");
            assert_eq!(answer.status, 200, "{integration} {end:?}");
        }
        host.stop();
    }
    // Other white space belongs to the secret, and a warning names it.
    let site = site().config(config).env("TOKEN", &format!("\u{feff}{token}"));
    site.write("token", format!("{token}\n\n"));
    let check = site.run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(
        check
            .stderr
            .contains("`integrations.env.options.token`: the value starts with a byte order mark"),
        "{check:?}"
    );
    assert!(
        check
            .stderr
            .contains("`integrations.file.options.token`: the value ends with an extra line break"),
        "{check:?}"
    );
    assert!(!check.stderr.contains("s3cret"), "{check:?}");
}

#[test]
fn a_slack_integration_without_a_token_needs_an_explicit_option() {
    let site = site().plugin(&library("slack-outgoing-webhook"));
    let config = "[integrations.ops]\nplugin = 'slack-outgoing-webhook'\n";
    assert_snapshot!(refused_at(&site, config), @"
    error: tocsin.toml:1:15: `integrations.ops.options.token`: missing, so anyone could raise alerts
      |
    1 | [integrations.ops]
      |               ^^^
    hint: set it to the token that the chat shows for this webhook, or set `unauthenticated = true` to let anyone raise alerts
    ");
    site.configure(&format!("{config}options.unauthenticated = true\n"));
    let host = site.serve();
    assert_eq!(host.post("ops", "text=disk+full").status, 200);
}

#[test]
fn an_admin_listener_off_loopback_needs_tokens() {
    assert_snapshot!(refused("[admin]\nlisten = '0.0.0.0:0'\n"), @r#"
    error: tocsin.toml:2:10: `admin.listen`: `0.0.0.0:0` is not loopback and `admin.tokens` is empty, so anybody who can reach it could use the API
      |
    2 | listen = '0.0.0.0:0'
      |          ^^^^^^^^^^^
    hint: add `tokens = [{ env = "TOCSIN_ADMIN_TOKEN" }]`, or listen on 127.0.0.1
    "#);
    let site = site();
    site.write("tocsin.toml", "[admin]\nlisten = '0.0.0.0:0'\ntokens = ['s3cret-s3cret-s3cret']\n");
    assert_eq!(site.run(&["check"]).code, Some(0));
}

#[test]
fn refuses_a_store_of_an_unknown_kind() {
    assert_snapshot!(refused("[store]\nurl = 'mysql://localhost/tocsin'\n"), @"
    error: tocsin.toml:2:7: `store.url`: is not a kind of store that this host supports
      |
    2 | url = ***
      |       ^^^
    hint: write `sqlite:PATH`, such as `sqlite:tocsin.db`, or `postgres://USER@HOST/DATABASE`
    ");
}

#[test]
fn refuses_a_missing_plugins_dir() {
    assert_snapshot!(refused("[plugins]\ndir = 'plugin'\n"), @"
    error: tocsin.toml:2:7: `plugins.dir`: cannot read the plugins folder `plugin`: No such file or directory (os error 2)
      |
    2 | dir = 'plugin'
      |       ^^^^^^^^
    hint: create it, and drop the plugins' `.so` files in; the path is relative to this file
    ");
}

#[test]
fn refuses_an_invalid_checksum() {
    assert_snapshot!(refused("[plugins.checksums]\n'well-behaved 1.0.0' = 'abc'\n"), @r#"
    error: tocsin.toml:2:24: `plugins.checksums.well-behaved 1.0.0`: `abc` is no SHA-256
      |
    2 | 'well-behaved 1.0.0' = 'abc'
      |                        ^^^^^
    hint: write `"demo 1.0.0" = "SHA-256"`, with the 64 hex digits that `sha256sum` prints
    "#);
    let checksum = "0".repeat(64);
    assert_snapshot!(refused(&format!("[plugins.checksums]\nwell-behaved = '{checksum}'\n")), @r#"
    error: tocsin.toml:2:1: `plugins.checksums.well-behaved`: `well-behaved` is no plugin with its version
      |
    2 | well-behaved = '0000000000000000000000000000000000000000000000000000000000000000'
      | ^^^^^^^^^^^^
    hint: write `"demo 1.0.0" = "SHA-256"`, with the 64 hex digits that `sha256sum` prints
    "#);
}

#[test]
fn refuses_an_invalid_key_without_printing_it() {
    assert_snapshot!(refused("[plugins]\npublic_keys = ['RWQ']\n"), @r#"
    error: tocsin.toml:2:15: `plugins.public_keys`: this is no minisign public key
      |
    2 | public_keys = [***]
      |               ^^^^^
    hint: write the line of `minisign.pub`, or { file = "minisign.pub" }
    "#);
    let site = site();
    // The secret key was pasted in place of the public key.
    site.write("minisign.pub", "untrusted comment: minisign secret key\nRWQAAEIyAAAAsecret");
    let said = refused_at(&site, "[plugins]\npublic_keys = [{ file = 'minisign.pub' }]\n");
    assert_snapshot!(said, @r#"
    error: tocsin.toml:2:15: `plugins.public_keys`: this is no minisign public key
      |
    2 | public_keys = [{ file = 'minisign.pub' }]
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: write the line of `minisign.pub`, or { file = "minisign.pub" }
    "#);
}

#[test]
fn requiring_signatures_needs_a_key() {
    assert_snapshot!(refused("[plugins]\nverify = 'signature'\n"), @r#"
    error: tocsin.toml:2:10: `plugins.verify`: `public_keys` is empty, so no signature could be trusted
      |
    2 | verify = 'signature'
      |          ^^^^^^^^^^^
    hint: add `public_keys = [{ file = "minisign.pub" }]`
    "#);
    assert_snapshot!(refused("[plugins]\nverify = 'signatures'\n"), @"
    error: tocsin.toml:2:10: `plugins.verify`: unknown value `signatures`
      |
    2 | verify = 'signatures'
      |          ^^^^^^^^^^^^
    hint: did you mean `signature`? the known names are `off`, `checksum`, `signature`
    ");
}

#[test]
fn names_in_an_allow_list_are_file_names() {
    assert_snapshot!(refused("[plugins]\nallow_writable_by_others = ['.', 'plugins/x.so']\n"), @"
    error: tocsin.toml:2:28: `plugins.allow_writable_by_others`: `plugins/x.so` is not the name of a file
      |
    2 | allow_writable_by_others = ['.', 'plugins/x.so']
      |                            ^^^^^^^^^^^^^^^^^^^^^
    hint: write its name without a folder, or `.` for the folder itself
    ");
}

#[test]
fn reports_all_mistakes_at_once() {
    let said = refused(
        "plugins.required = true\n[integrations.one]\nplugin = 'nobody'\n\
         [integrations.two]\nplugin = 'well-behaved'\nversion = '^7'\n",
    );
    assert_snapshot!(said, @"
    error: tocsin.toml:3:10: `integrations.one.plugin`: no plugin is named `nobody`
      |
    3 | plugin = 'nobody'
      |          ^^^^^^^^
    hint: the plugins folder has `well-behaved`

    tocsin.toml:6:11: `integrations.two.version`: no version of plugin `well-behaved` matches `^7`
      |
    6 | version = '^7'
      |           ^^^^
    hint: the plugins folder has 1.0.0
    ");
}

#[test]
fn reports_a_missing_configuration() {
    let site = site();
    for verb in ["check", "serve"] {
        let Finished { code, stderr, .. } = site.run(&[verb, "--config", "nowhere.toml"]);
        assert_eq!(code, Some(2), "{stderr}");
        insta::allow_duplicates!(assert_snapshot!(stderr, @"
        error: cannot read the configuration `nowhere.toml`: No such file or directory (os error 2)
        hint: name it with `--config FILE`, or in the environment as TOCSIN_CONFIG
        "));
    }
}

#[test]
fn check_changes_nothing_and_reports_success() {
    let site = site().config("[integrations.good]\nplugin = 'well-behaved'\n");
    let check = site.run(&["check"]);
    assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""), "{check:?}");
    assert!(check.stdout.ends_with("`tocsin.toml` is good\n"), "{check:?}");
    assert!(!site.path("tocsin.db").exists());
}

#[test]
fn help_and_usage_errors_explain_the_command_line() {
    let site = site();
    let help = site.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert_snapshot!(help.stdout, @"
    Alerting host: receives webhooks, turns them into alerts with plugins, and stores them before it
    answers

    Usage: tocsin [OPTIONS] <COMMAND>

    Commands:
      serve         Run the host: receive webhooks, store alerts, serve the admin API
      check         Check the configuration and load the plugins as `serve` would, without changing
                    anything
      reload        Make the running host reload its configuration and its plugins, as SIGHUP does
      backup        Make a backup of the store, verified, also while the host runs
      restore       Put a backup in the place of the store; the host has to be stopped
      plugins       List the plugins and their problems; inspect, lock, certify or create a plugin
      integrations  List the integrations, their endpoints and their problems
      destinations  List the destinations, their problems and what waits for them; show or test one
      alerts        List, show, acknowledge, resolve and annotate alerts; needs a running host
      requests      List, show and replay webhook requests; needs a running host
      deliveries    List, show, retry and discard deliveries of news about alerts; needs a running host
      routes        Explain who is told of an alert, when, and why another destination is not
      silences      List, add and end silences, during which nobody is told of alerts; needs a running
                    host
      hosts         List the hosts that share a store, and what each serves; needs a running host
      audit         List the acts of people and programs, done and refused; needs a running host
      completions   Print a script with which a shell completes the commands and options of `tocsin`
      man           Write the manual pages, one for each command
      help          Print this message or the help of the given subcommand(s)

    Options:
          --utc      Print times in UTC instead of the local time zone
      -h, --help     Print help
      -V, --version  Print version

    The options --config, --url, --ca, --json and --utc may stand before or after the command.
    ");
    assert_eq!(site.run(&["--version"]).code, Some(0));
    for mistake in
        [&["sing"][..], &[], &["serve", "--loud"], &["alerts", "show"], &["alerts", "show", "x"]]
    {
        let Finished { code, stderr, .. } = site.run(mistake);
        assert_eq!(code, Some(2), "{mistake:?}: {stderr}");
    }
}
