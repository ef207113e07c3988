//! Check of the TOML in the documentation: each block is a configuration that a host accepts.

use std::{fs, os::unix::fs::PermissionsExt};

use minisign::KeyPair;
use tocsin_tests::{Site, libraries};
use toml::Table;

use crate::markdown::{Block, Marker, Page};

#[test]
fn every_block_of_toml_is_a_good_configuration() {
    let site = site();
    let mut count = 0;
    for block in Page::all().iter().flat_map(Page::blocks).filter(|block| block.language == "toml")
    {
        match &block.marker {
            None => check(&site, &block),
            Some(Marker::CheckedAs(name)) if name == "Cargo.toml" => check_manifest(&block),
            other => panic!("{}:{}: {other:?}", block.page, block.line),
        }
        count += 1;
    }
    assert!(count > 10, "there are {count}");
}

/// Makes a folder with every file that the TOML blocks name.
fn site() -> Site {
    let site = Site::new()
        .plugin(&libraries::library("slack-outgoing-webhook"))
        .plugin(&libraries::library("alertmanager"))
        .plugin(&libraries::library("slack-channel"))
        .plugin(&libraries::library("webhook-out"))
        .env("ALICE_TOKEN", "a-token-of-some-length")
        .env("DATABASE_PASSWORD", "a-password")
        .env("OTLP_AUTHORIZATION", "Bearer s3cret")
        .env("SLACK_TOKEN", "s3cret")
        .env("SLACK_BOT_TOKEN", "xoxb-s3cret");
    let names = ["alerts.example.com".into()];
    let certified = rcgen::generate_simple_self_signed(names).expect("a certificate");
    site.write("tls.crt", certified.cert.pem());
    for (name, secret) in [
        ("tls.key", &*certified.signing_key.serialize_pem()),
        ("alertmanager.token", "s3cret\n"),
        ("on-call.token", "another-token-of-some-length\n"),
        ("prometheus.token", "a-third-token-of-some-length\n"),
        ("slack.token", "s3cret\n"),
        ("slack-bot.token", "xoxb-s3cret\n"),
        ("slack-webhook.url", "https://hooks.slack.com/services/T1/B1/s3cret\n"),
        ("demo.token", "s3cret\n"),
    ] {
        site.write(name, secret);
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(site.path(name), private).expect("it is ours");
    }
    let key = KeyPair::generate_unencrypted_keypair().expect("a key");
    site.write("minisign.pub", key.pk.to_box().expect("a public key").to_string());
    let locked = site.run(&["plugins", "lock"]);
    assert_eq!(locked.code, Some(0), "{locked:?}");
    site
}

fn check(site: &Site, block: &Block) {
    let text = block.text.replace("/usr/lib/tocsin/plugins", "plugins");
    // With this address, no running host is asked.
    let text = text.replace("/var/lib/tocsin/", "").replace("127.0.0.1", "127.0.0.99");
    site.write("tocsin.toml", text);
    // No name of a server in a block is resolved.
    let checked = site.run(&["check", "--offline"]);
    let place = format!("{}:{}", block.page, block.line);
    assert_eq!(checked.code, Some(0), "{place} is no good configuration: {}", checked.stderr);
}

/// Checks that a manifest of a plugin depends on a version of plugin-api that exists.
fn check_manifest(block: &Block) {
    let place = format!("{}:{}", block.page, block.line);
    let manifest: Table = block.text.parse().unwrap_or_else(|error| panic!("{place}: {error}"));
    let wanted = manifest["dependencies"]["tocsin-plugin-api"].as_str().expect("a version");
    let wanted: cargo_metadata::semver::VersionReq = wanted.parse().expect("a requirement");
    let ours = fs::read_to_string(libraries::workspace().join("plugin-api/Cargo.toml"));
    let ours: Table = ours.expect("a manifest").parse().expect("TOML");
    let version = ours["package"]["version"].as_str().expect("a version");
    assert!(wanted.matches(&version.parse().expect("semver")), "{place}: not {version}");
}
