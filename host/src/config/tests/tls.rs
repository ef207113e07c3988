//! Certificates and keys: files in, exact messages out.

use std::{fs, path::Path};

use jiff::Timestamp;

use super::super::*;
use crate::http::tls::tests::pair;

/// Reads a configuration beside a certificate `tls.crt` with its key `tls.key`, a key `other.key` of another
/// certificate, and an expired certificate `old.crt` with `old.key`.
fn load(text: &str) -> Result<LoadedConfig, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, pem: String| fs::write(folder.path().join(name), pem).expect("written");
    let (certificate, key) = pair("alerts.example.com", 2060);
    write("tls.crt", certificate);
    write("tls.key", key);
    write("other.key", pair("alerts.example.com", 2060).1);
    let (certificate, key) = pair("alerts.example.com", 2001);
    write("old.crt", certificate);
    write("old.key", key);
    let path = folder.path().join("tocsin.toml");
    LoadedConfig::parse(&path, text.into(), |_| None).map_err(|errors| {
        let folder = format!("{}/", folder.path().display());
        errors.to_string().replace(&folder, "")
    })
}

fn refused(text: &str) -> String {
    load(text).expect_err("the configuration is wrong")
}

#[test]
fn a_listener_with_a_certificate_speaks_tls() {
    let loaded = load("server.tls = { certificate = 'tls.crt', key = 'tls.key' }\n");
    let config = loaded.expect("it is good").config;
    assert_eq!(config.server.endpoint("ops"), "https://127.0.0.1:8080/in/ops");
    assert!(config.server.tls.is_some_and(|tls| tls.pair.is_some()));
    assert!(config.admin.tls.is_none());
}

#[test]
fn refuses_a_certificate_without_its_key() {
    insta::assert_snapshot!(refused("[server]\ntls = { certificate = 'tls.crt' }\n"), @r#"
    tocsin.toml:2:1: `server.tls`: names a certificate without its key
      |
    2 | tls = { certificate = 'tls.crt' }
      | ^^^
    hint: write both, such as `tls = { certificate = "tls.crt", key = "tls.key" }`
    "#);
    insta::assert_snapshot!(refused("[admin.tls]\nkey = 'tls.key'\n"), @r#"
    tocsin.toml:1:8: `admin.tls`: names a key without its certificate
      |
    1 | [admin.tls]
      |        ^^^
    hint: write both, such as `tls = { certificate = "tls.crt", key = "tls.key" }`
    "#);
    insta::assert_snapshot!(refused("[admin]\ntls = true\n"), @r#"
    tocsin.toml:2:7: `admin.tls`: invalid type: boolean `true`
      |
    2 | tls = true
      |       ^^^^
    hint: write `tls = { certificate = "tls.crt", key = "tls.key" }`
    "#);
}

#[test]
fn refuses_a_key_of_another_certificate() {
    insta::assert_snapshot!(refused("[server.tls]\ncertificate = 'tls.crt'\nkey = 'other.key'\n"), @"
    tocsin.toml:3:7: `server.tls.key`: `other.key` holds the key of another certificate
      |
    3 | key = 'other.key'
      |       ^^^^^^^^^^^
    hint: write the certificate and the key that were made together
    ");
}

#[test]
fn refuses_files_that_are_no_certificate_and_no_key() {
    insta::assert_snapshot!(refused("[admin.tls]\ncertificate = 'tls.key'\nkey = 'tls.key'\n"), @"
    tocsin.toml:2:15: `admin.tls.certificate`: `tls.key` holds no certificate
      |
    2 | certificate = 'tls.key'
      |               ^^^^^^^^^
    hint: the file must hold the certificate of this host in PEM format, and after it those of its authorities
    ");
    insta::assert_snapshot!(refused("[admin.tls]\ncertificate = 'tls.crt'\nkey = 'gone.key'\n"), @"
    tocsin.toml:3:7: `admin.tls.key`: cannot read `gone.key`: No such file or directory (os error 2)
      |
    3 | key = 'gone.key'
      |       ^^^^^^^^^^
    hint: a path is relative to this file
    ");
}

#[test]
fn refuses_the_content_of_a_key_without_repeating_it() {
    insta::assert_snapshot!(refused("[admin.tls]\ncertificate = 'tls.crt'\nkey = { file = 'tls.key' }\n"), @r#"
    tocsin.toml:3:1: `admin.tls.key`: is the content of a file
      |
    3 | key = { file = 'tls.key' }
      | ^^^
    hint: write the path itself, such as `"tls.key"`, not { file = "tls.key" }
    "#);
}

#[test]
fn warns_of_a_certificate_for_another_name_than_that_of_the_url() {
    let warnings = |url: &str| {
        let text = format!(
            "server.public_url = '{url}'\n\
             server.tls = {{ certificate = 'tls.crt', key = 'tls.key' }}\n"
        );
        let warnings = load(&text).expect("it is good").warnings;
        warnings.iter().map(|it| it.message().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(warnings("https://alerts.example.com/x"), [""; 0]);
    insta::assert_snapshot!(warnings("https://other.example.com:8443").join("\n"), @"the certificate of `server.tls` is not for `other.example.com`, so that senders will refuse it");
    assert_eq!(warnings("https://[2001:db8::1]:8443").len(), 1);
}

#[test]
fn says_when_a_certificate_expires_and_if_it_has_expired() {
    let text = "server.tls = { certificate = 'tls.crt', key = 'tls.key' }\n\
                admin.tls = { certificate = 'old.crt', key = 'old.key' }\n";
    let loaded = load(text).expect("an expired certificate is no error of the configuration");
    let at = |now: &str| {
        let now: Timestamp = now.parse().expect("a time");
        let states = loaded.certificates(now);
        let said = states.iter().map(|state| {
            let problem = state.problem.as_ref().map_or("no problem", ConfigError::message);
            format!("{} {} {problem}", state.listener.section(), state.is_invalid)
        });
        said.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(at("2026-11-28T00:00:00Z"), @"
    server false no problem
    admin true the certificate in `old.crt` expired at 2001-12-31T00:00:00Z
    ");
    insta::assert_snapshot!(at("2060-12-17T00:00:01Z"), @"
    server false the certificate in `tls.crt` expires at 2060-12-31T00:00:00Z
    admin true the certificate in `old.crt` expired at 2001-12-31T00:00:00Z
    ");
    insta::assert_snapshot!(at("1999-12-31T23:59:59Z"), @"
    server true the certificate in `tls.crt` is not valid before 2000-01-01T00:00:00Z
    admin true the certificate in `old.crt` is not valid before 2000-01-01T00:00:00Z
    ");
    assert!(Path::new("old.crt") == loaded.certificates(Timestamp::UNIX_EPOCH)[1].path);
}

#[test]
fn the_files_of_a_certificate_are_watched() {
    let text =
        "server.tls = { certificate = 'a.crt', key = '/b.key' }\n[admin.tls]\nkey = 'c.key'\n";
    let document = Document::new(Path::new("/etc/tocsin.toml"), text.into());
    let files = referenced_files(&document);
    assert_eq!(files, ["/etc/a.crt", "/b.key", "/etc/c.key"].map(Path::new));
}
