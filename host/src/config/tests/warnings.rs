//! Warnings: text in, exact message out.

use std::path::Path;

use super::super::*;

fn warnings(text: &str, value: &str) -> Vec<String> {
    let env = |name: &str| (name == "TOKEN").then(|| value.to_owned());
    let loaded = LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), env);
    loaded.expect("it is good").warnings.iter().map(ConfigError::sentence).collect()
}

#[test]
fn warns_of_stray_characters_around_a_secret_without_repeating_it() {
    let token = "[admin]\ntokens = [{ env = 'TOKEN' }]\n";
    assert_eq!(warnings(token, "a-long-enough-token\n"), [""; 0]);
    let bom = warnings(token, "\u{feff}a-long-enough-token");
    insta::assert_snapshot!(bom.join("\n"), @"tocsin.toml:2:11: `admin.tokens`: the value starts with a byte order mark, which is part of the secret; hint: remove it, unless senders use the secret with it");
    for (value, what) in [
        (" a-long-enough-token", "starts with a blank"),
        ("a-long-enough-token\n\n", "ends with an extra line break"),
        ("a-long-enough-token\r", "ends with an extra line break"),
        ("a-long-enough-token\t", "ends with a blank"),
        ("a-long-enough-token\u{a0}", "ends with a blank"),
        ("a-long-enough-token\u{feff}", "ends with a blank"),
    ] {
        let option = "[integrations.a]\nplugin = 'x'\noptions.deep = [{ x = { env = 'TOKEN' } }]\n";
        for config in [token, option] {
            let said = warnings(config, value);
            assert_eq!(said.len(), 1, "{value:?}: {said:?}");
            assert!(said[0].contains(what) && !said[0].contains("enough"), "{said:?}");
        }
    }
    let literal =
        warnings("[admin]\ntokens = [{ name = 'a', token = 'a-long-enough-token ' }]\n", "");
    assert!(
        literal[0].contains(":2:33: ") && literal[0].contains("ends with a blank"),
        "{literal:?}"
    );
    assert_eq!(warnings("[integrations.a]\nplugin = { env = 'TOKEN' }\n", " x"), [""; 0]);
}

#[test]
fn warns_only_of_options_that_the_plugin_declares_secret() {
    let text =
        "[integrations.a]\nplugin = 'x'\noptions = { prefix = 'all: ', tokens = ['s3cret '] }\n";
    let loaded = LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), |_| None);
    let loaded = loaded.expect("it is good");
    let said = loaded.warnings_of_options("integrations", "a", &["s3cret ".into()]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].sentence().contains("ends with a blank"), "{said:?}");
    assert_eq!(loaded.warnings_of_options("integrations", "b", &["s3cret ".into()]), []);
}

#[test]
fn warns_of_a_required_plugin_that_no_integration_uses() {
    let text = "plugins.required = ['one', 'two']\n[integrations.a]\nplugin = 'one'\n";
    let said = warnings(text, "");
    insta::assert_snapshot!(said.join("\n"), @"tocsin.toml:1:20: `plugins.required`: no integration and no destination uses plugin `two`; hint: check the spelling");
}
