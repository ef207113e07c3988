//! `tocsin check` compares options with the schemas of the plugins: it reports all errors at once,
//! each key once, and no value. Refusals by the plugins themselves are tested in `config.rs`.

use insta::assert_snapshot;
use tocsin_tests::{Finished, Site, libraries::library};

/// Returns the errors of `check`, which ends with exit code 2.
#[track_caller]
fn refused(site: &Site, config: &str) -> String {
    site.write("tocsin.toml", config);
    let Finished { code, stderr, .. } = site.run(&["check"]);
    assert_eq!(code, Some(2), "{stderr}");
    stderr
}

#[test]
fn reports_all_mistakes_in_options_at_once_and_each_key_once() {
    let site = Site::new().plugin(&library("slack-outgoing-webhook"));
    let said = refused(
        &site,
        "[integrations.ops]\nplugin = 'slack-outgoing-webhook'\n\
         [integrations.ops.options]\ntoken = { env = 'SLACK' }\nbots = 'some'\n\
         channels = ['ops', 7]\nreply = true\ncolour = 'red'\n",
    );
    assert!(said.contains("the environment variable `SLACK` is not set"), "{said}");
    let site = site.env("SLACK", "s3cret");
    let said = site.run(&["check"]).stderr;
    assert_snapshot!(said, @r#"
    warning: `libslack_outgoing_webhook.so` is not used by any integration; hint: enable one with `plugin = "slack-outgoing-webhook"`, or remove the file
    error: tocsin.toml:5:8: `integrations.ops.options.bots`: unknown variant, expected one of `auto`, `accept`, `ignore`
      |
    5 | bots = ***
      |        ^^^
    hint: see the options of plugin `slack-outgoing-webhook`

    tocsin.toml:6:20: `integrations.ops.options.channels[1]`: expected a string, found a number
      |
    6 | channels = [***, ***]
      |                  ^^^
    hint: see the options of plugin `slack-outgoing-webhook`

    tocsin.toml:7:9: `integrations.ops.options.reply`: expected a string, found a boolean
      |
    7 | reply = true
      |         ^^^^
    hint: see the options of plugin `slack-outgoing-webhook`

    tocsin.toml:8:10: `integrations.ops.options.colour`: unknown option `colour`
      |
    8 | colour = ***
      |          ^^^
    hint: the known names are `bots`, `channels`, `reply`, `token`, `trigger_words`, `unauthenticated`, `urgencies`, `urgency_pattern`
    error: 4 problems in `tocsin.toml`
    "#);
    assert!(!said.contains("s3cret"));
}

#[test]
fn reports_all_missing_options_and_each_key_once() {
    let site = Site::new().plugin(&library("bad-schema-stricter"));
    let config = "[integrations.ops]\nplugin = 'bad-schema-stricter'\n[integrations.ops.options]\n";
    assert_snapshot!(refused(&site, config), @r#"
    warning: `libbad_schema_stricter.so` is not used by any integration; hint: enable one with `plugin = "bad-schema-stricter"`, or remove the file
    error: tocsin.toml:3:19: `integrations.ops.options`: missing field `name`
      |
    3 | [integrations.ops.options]
      |                   ^^^^^^^
    hint: see the options of plugin `bad-schema-stricter`

    tocsin.toml:3:19: `integrations.ops.options.port`: is missing
      |
    3 | [integrations.ops.options]
      |                   ^^^^^^^
    hint: see the options of plugin `bad-schema-stricter`
    error: 2 problems in `tocsin.toml`
    "#);
}

#[test]
fn reports_schema_violations_without_the_value() {
    let site = Site::new().plugin(&library("bad-schema-stricter"));
    let said = refused(
        &site,
        "[integrations.ops]\nplugin = 'bad-schema-stricter'\n[integrations.ops.options]\n\
         name = { env = 'NAME' }\nport = 70417\nservers = [{ url = 'db1' }, { url = 'ftp://db2' }]\n",
    );
    assert!(said.contains("`NAME` is not set"), "{said}");
    let said = site.env("NAME", "a s3cret").run(&["check"]).stderr;
    assert_snapshot!(said, @"
    error: tocsin.toml:4:1: `integrations.ops.options.name`: has to have 4 characters or less
      |
    4 | name = { env = 'NAME' }
      | ^^^^
    hint: see the options of plugin `bad-schema-stricter`

    tocsin.toml:5:8: `integrations.ops.options.port`: has to be 65535 or less
      |
    5 | port = ***
      |        ^^^
    hint: see the options of plugin `bad-schema-stricter`

    tocsin.toml:6:20: `integrations.ops.options.servers[0].url`: does not match `^https?://`
      |
    6 | servers = [{ url = *** }, { url = *** }]
      |                    ^^^
    hint: see the options of plugin `bad-schema-stricter`

    tocsin.toml:6:37: `integrations.ops.options.servers[1].url`: does not match `^https?://`
      |
    6 | servers = [{ url = *** }, { url = *** }]
      |                                   ^^^
    hint: see the options of plugin `bad-schema-stricter`
    error: 4 problems in `tocsin.toml`
    ");
    assert!(!said.contains("s3cret"));
}
