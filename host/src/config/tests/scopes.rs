//! Scopes of tokens: text in, scopes or exact messages out.

use std::path::Path;

use super::{super::*, parse, refused};

fn scopes(text: &str) -> Vec<Option<Scope>> {
    let config = parse(&format!("[admin]\ntokens = [{text}]\n")).expect("it is good");
    config.admin.tokens.iter().map(|token| token.scope).collect()
}

#[test]
fn a_token_without_scopes_has_all() {
    let tokens = "'a-long-enough-token', { name = 'b', token = 'a-long-enough-token' }";
    assert_eq!(scopes(tokens), [Some(Scope::Admin); 2]);
}

#[test]
fn the_widest_scope_of_a_token_counts() {
    for (list, widest) in [
        ("'read'", Scope::Read),
        ("'read', 'act'", Scope::Act),
        ("'act', 'read', 'act'", Scope::Act),
        ("'admin'", Scope::Admin),
    ] {
        let token = format!(
            "'a-long-enough-token', {{ name = 'b', token = 'a-long-enough-token', scopes = [{list}] }}"
        );
        assert_eq!(scopes(&token), [Some(Scope::Admin), Some(widest)]);
    }
}

#[test]
fn an_unknown_scope_is_an_error_that_names_the_known_ones() {
    insta::assert_snapshot!(refused("[admin]\ntokens = [{ name = 'al', token = 'a-long-enough-token', scopes = ['read', 'atc'] }]\n"), @"
    tocsin.toml:2:75: `admin.tokens[0].scopes`: unknown value `atc`
      |
    2 | tokens = [{ name = ***, token = ***, scopes = ['read', 'atc'] }]
      |                                                        ^^^^^
    hint: did you mean `act`? the known names are `read`, `act`, `admin`
    ");
    insta::assert_snapshot!(refused("[[admin.tokens]]\nname = 'al'\ntoken = 'a-long-enough-token'\nscopes = ['write']\n"), @"
    tocsin.toml:4:11: `admin.tokens[0].scopes`: unknown value `write`
      |
    4 | scopes = ['write']
      |           ^^^^^^^
    hint: the known names are `read`, `act`, `admin`
    ");
}

#[test]
fn a_token_needs_a_scope() {
    insta::assert_snapshot!(refused("[admin]\ntokens = [{ name = 'al', token = 'a-long-enough-token', scopes = [] }]\n"), @"
    tocsin.toml:2:66: `admin.tokens[0].scopes`: is empty, so that the token opens nothing
      |
    2 | tokens = [{ name = ***, token = ***, scopes = [] }]
      |                                               ^^
    hint: write a list of `read`, `act` or `admin`, or leave it out for all
    ");
}

#[test]
fn scopes_are_a_list() {
    insta::assert_snapshot!(refused("[admin]\ntokens = [{ name = 'al', token = 'a-long-enough-token', scopes = 'read' }]\n"), @r#"
    tocsin.toml:2:66: `admin.tokens[0].scopes`: invalid type: a string
      |
    2 | tokens = [{ name = ***, token = ***, scopes = 'read' }]
      |                                               ^^^^^^
    hint: write a list of `read`, `act` or `admin`, such as `scopes = ["read"]`
    "#);
    insta::assert_snapshot!(refused("[[admin.tokens]]\nname = 'al'\ntoken = 'a-long-enough-token'\nscopes = [17]\n"), @r#"
    tocsin.toml:4:11: `admin.tokens[0].scopes`: wanted string or table
      |
    4 | scopes = [17]
      |           ^^
    hint: write a list of `read`, `act` or `admin`, such as `scopes = ["read"]`
    "#);
}

#[test]
fn warns_if_no_token_has_the_scope_admin() {
    let warnings = |text: &str| -> Vec<String> {
        let loaded = LoadedConfig::parse(Path::new("tocsin.toml"), text.into(), |_| None);
        loaded.expect("it is good").warnings.iter().map(ConfigError::sentence).collect()
    };
    let read =
        "[admin]\ntokens = [{ name = 'a', token = 'a-long-enough-token', scopes = ['read'] }";
    insta::assert_snapshot!(warnings(&format!("{read}]\n")).join("\n"), @r#"tocsin.toml:2:10: `admin.tokens`: no token has the scope `admin`, so nobody can reload, make a backup or read the audit through the API; hint: add `"admin"` to the `scopes` of a token, unless signals and changed files are enough"#);
    assert_eq!(warnings(&format!("{read}, 'another-long-token']\n")), [""; 0]);
    assert_eq!(warnings(""), [""; 0]);
}
