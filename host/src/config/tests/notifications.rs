//! Destinations, routes and deliveries: text in, values or exact messages out.

use std::{path::Path, time::Duration};

use tocsin_plugin_api::{Urgency, notification::Kind};

use super::{super::*, parse, refused};
use crate::{
    delivery::conditions::DetailCondition,
    routing::{Outcome, Subject},
};

const CHANNEL: &str = "[destinations.ops-channel]\nplugin = 'slack-channel'\n";

fn with_route(route: &str) -> String {
    format!("{CHANNEL}[[routes]]\nto = ['ops-channel']\n{route}\n")
}

#[test]
fn a_destination_needs_only_its_plugin() {
    let config = parse(CHANNEL).expect("a plugin is enough");
    let channel = &config.destinations["ops-channel"];
    assert!(channel.enabled && channel.options.is_empty() && channel.allow_networks.is_empty());
    assert_eq!(channel.events, [Kind::Opened, Kind::Acknowledged, Kind::Resolved]);
    assert_eq!((channel.parallel.get(), channel.digest_above), (8, 20));
    assert_eq!((channel.rate_limit, channel.allow_http), (None, false));
}

#[test]
fn options_of_a_destination_come_from_the_environment_and_are_not_shown() {
    let text = format!("{CHANNEL}options.token = {{ env = 'TOKEN' }}\noptions.channel = 'C1'\n");
    let config = parse(&text).expect("the variable is set");
    assert_eq!(config.destinations["ops-channel"].options["token"], "s3cret-s3cret-s3cret");
    insta::assert_snapshot!(refused(&format!("{CHANNEL}options = {{ token = 's3cret', key = {{ env = 'NOPE' }} }}\n")), @r#"
    tocsin.toml:3:37: `destinations.ops-channel.options.key`: the environment variable `NOPE` is not set
      |
    3 | options = { token = ***, key = { env = 'NOPE' } }
      |                                ^^^^^^^^^^^^^^^^
    hint: set NOPE for the host, or write { file = "PATH" }
    "#);
}

#[test]
fn all_keys_of_a_route_are_read() {
    let config = parse(&format!(
        "{CHANNEL}[integrations.prometheus]\nplugin = 'alertmanager'\n\
         [[routes]]\nto = ['ops-channel']\nintegrations = ['prometheus']\nurgency = 'high'\n\
         details = {{ Channel = 'ops', Host = {{ pattern = '^db' }} }}\n\
         hours = {{ days = 'mon-fri', from = '08:00', to = '18:00', zone = 'Europe/Berlin' }}\n\
         after = '10m'\nrepeat = '30m'\n"
    ));
    let RouteConfig { to, integrations, urgency, details, hours, after, repeat } =
        config.expect("it is good").routes.remove(0);
    assert_eq!((to, integrations), (vec!["ops-channel".into()], vec!["prometheus".into()]));
    assert_eq!(urgency, Some(Urgency::High));
    assert_eq!(details["Channel"], DetailCondition::Exactly("ops".into()));
    assert_eq!(details["Host"], DetailCondition::Matches { pattern: "^db".into() });
    assert_eq!(hours.expect("hours").zone.as_deref(), Some("Europe/Berlin"));
    let minutes = |count: u64| Some(LongDuration::from_secs(count * 60));
    assert_eq!((after, repeat), (minutes(10), minutes(30)));
}

#[test]
fn routes_are_ready_once_the_configuration_is_read() {
    let text = with_route("urgency = 'high'");
    let loaded = LoadedConfig::parse(Path::new("tocsin.toml"), text, |_| None).expect("it is good");
    let subject = Subject { integration: "a", urgency: Urgency::Critical, details: &[] };
    let mut evaluator = loaded.routes.evaluator();
    let now = "2026-11-27T12:00:00Z".parse().expect("a time");
    let outcomes = evaluator.evaluate(subject, now, Kind::Opened).map(|verdict| verdict.outcome());
    let route = Some("route 1 (to ops-channel, urgency >= high)");
    assert_eq!(outcomes.collect::<Vec<_>>(), [Outcome::Told { route, only_if_told: false }]);
}

#[test]
fn a_route_may_escalate_to_a_destination_without_the_event_opened() {
    let text =
        format!("{CHANNEL}events = ['resolved']\n[[routes]]\nto = ['ops-channel']\nafter = '5m'\n");
    parse(&text).expect("it is good");
    parse(&with_route("repeat = '1h'")).expect("reminders begin at once");
}

#[test]
fn every_wrong_name_in_a_route_is_an_error() {
    let text = with_route("integrations = ['prometeus']");
    let text = format!(
        "{text}[[routes]]\nto = ['ops', 'ops-channel']\n[integrations.prometheus]\nplugin = 'x'\n"
    );
    insta::assert_snapshot!(refused(&text), @"
    tocsin.toml:5:17: `routes[0].integrations[0]`: there is no integration `prometeus`
      |
    5 | integrations = ['prometeus']
      |                 ^^^^^^^^^^^
    hint: did you mean `prometheus`?

    tocsin.toml:7:7: `routes[1].to[0]`: there is no destination `ops`
      |
    7 | to = ['ops', 'ops-channel']
      |       ^^^^^
    hint: the known destinations are `ops-channel`
    ");
    insta::assert_snapshot!(refused("[[routes]]\nto = ['ops']\n"), @"
    tocsin.toml:2:7: `routes[0].to[0]`: there is no destination `ops`
      |
    2 | to = ['ops']
      |       ^^^^^
    hint: add a section `[destinations.ops]`
    ");
}

#[test]
fn a_route_without_a_destination_is_an_error() {
    insta::assert_snapshot!(refused(&format!("{CHANNEL}[[routes]]\nto = ['ops-channel']\n[[routes]]\nurgency = 'high'\n")), @r#"
    tocsin.toml:5:1: `routes[1]`: the key `to` is missing
      |
    5 | [[routes]]
      | ^^^^^^^^^^
    hint: name the destinations, such as `to = ["ops-channel"]`
    "#);
    insta::assert_snapshot!(refused(&format!("{CHANNEL}[[routes]]\nto = []\n")), @r#"
    tocsin.toml:4:6: `routes[0].to`: is empty, so that the route leads nowhere
      |
    4 | to = []
      |      ^^
    hint: name the destinations, such as `to = ["ops-channel"]`
    "#);
}

#[test]
fn every_wrong_part_of_the_hours_is_an_error() {
    insta::assert_snapshot!(refused(&with_route("hours = { days = 'monday', from = '8', to = '18:60', zone = 'Europe/Berln' }")), @"
    tocsin.toml:5:18: `routes[0].hours.days`: `monday` is neither a day nor a range of days
      |
    5 | hours = { days = 'monday', from = '8', to = '18:60', zone = 'Europe/Berln' }
      |                  ^^^^^^^^
    hint: write `mon-fri` or `sat,sun`, with mon, tue, wed, thu, fri, sat and sun

    tocsin.toml:5:35: `routes[0].hours.from`: `8` is not a time of the day
      |
    5 | hours = { days = 'monday', from = '8', to = '18:60', zone = 'Europe/Berln' }
      |                                   ^^^
    hint: write hours and minutes from `00:00` to `24:00`, such as `08:00`

    tocsin.toml:5:45: `routes[0].hours.to`: `18:60` is not a time of the day
      |
    5 | hours = { days = 'monday', from = '8', to = '18:60', zone = 'Europe/Berln' }
      |                                             ^^^^^^^
    hint: write hours and minutes from `00:00` to `24:00`, such as `08:00`

    tocsin.toml:5:61: `routes[0].hours.zone`: `Europe/Berln` is not a time zone of the IANA database
      |
    5 | hours = { days = 'monday', from = '8', to = '18:60', zone = 'Europe/Berln' }
      |                                                             ^^^^^^^^^^^^^^
    hint: did you mean `Europe/Berlin`?
    ");
    insta::assert_snapshot!(refused(&with_route("[routes.hours]\nfrom = '08:00'\nto = '08:00'\nzone = 'CEST'")), @"
    tocsin.toml:7:6: `routes[0].hours.to`: is also the beginning, so that no time is within the hours
      |
    7 | to = '08:00'
      |      ^^^^^^^
    hint: leave out `from` and `to` for the whole day

    tocsin.toml:8:8: `routes[0].hours.zone`: `CEST` is not a time zone of the IANA database
      |
    8 | zone = 'CEST'
      |        ^^^^^^
    hint: did you mean `CET`?
    ");
    insta::assert_snapshot!(refused(&with_route("hours = { day = 'mon' }")), @"
    tocsin.toml:5:11: `routes[0].hours.day`: unknown key `day`
      |
    5 | hours = { day = *** }
      |           ^^^
    hint: did you mean `days`? the known names are `days`, `from`, `to`, `zone`
    ");
}

#[test]
fn a_broken_pattern_is_an_error() {
    insta::assert_snapshot!(refused(&with_route("details = { Host = { pattern = '^db(' } }")), @"
    tocsin.toml:5:32: `routes[0].details.Host.pattern`: is not a regular expression: unclosed group
      |
    5 | details = { Host = { pattern = '^db(' } }
      |                                ^^^^^^
    hint: write a pattern in the syntax of the crate `regex`, or the exact value without `pattern`
    ");
    insta::assert_snapshot!(refused(&with_route("details = { Host = { patern = '^db' } }")), @r#"
    tocsin.toml:5:20: `routes[0].details.Host`: is neither a text nor a pattern
      |
    5 | details = { Host = { patern = *** } }
      |                    ^^^^^^^^^^^^^^^^
    hint: write `{ Channel = "ops" }`, or `{ Channel = { pattern = "^ops-" } }`
    "#);
}

#[test]
fn a_wrong_time_of_a_route_is_an_error() {
    insta::assert_snapshot!(refused(&with_route("after = 10")), @"
    tocsin.toml:5:9: `routes[0].after`: invalid type: an integer
      |
    5 | after = 10
      |         ^^
    hint: write a number with its unit, such as `10m` or `2h`, in quotes
    ");
    insta::assert_snapshot!(refused(&with_route("repeat = '10ms'")), @"
    tocsin.toml:5:10: `routes[0].repeat`: must be 1s or more
      |
    5 | repeat = '10ms'
      |          ^^^^^^
    hint: write a number with its unit, such as `30m`
    ");
}

#[test]
fn a_name_of_a_destination_has_the_form_of_an_integration_s() {
    insta::assert_snapshot!(refused("[destinations.'a b']\nplugin = 'x'\n"), @"
    tocsin.toml:1:15: `destinations.a b`: `a b` is not the name of a destination
      |
    1 | [destinations.'a b']
      |               ^^^^^
    hint: use 1 to 64 of a-z, A-Z, 0-9, `-` and `_`
    ");
}

#[test]
fn events_that_nobody_can_choose_are_errors() {
    insta::assert_snapshot!(refused(&format!("{CHANNEL}events = ['opened', 'escalated', 'test', 'digest', 'opened']\n")), @"
    tocsin.toml:3:21: `destinations.ops-channel.events[1]`: `escalated` is not an event that can be chosen
      |
    3 | events = ['opened', 'escalated', 'test', 'digest', 'opened']
      |                     ^^^^^^^^^^^
    hint: leave it out: a route with `after` or `repeat` escalates

    tocsin.toml:3:34: `destinations.ops-channel.events[2]`: `test` is not an event that can be chosen
      |
    3 | events = ['opened', 'escalated', 'test', 'digest', 'opened']
      |                                  ^^^^^^
    hint: leave it out: `tocsin destinations test` sends a test

    tocsin.toml:3:42: `destinations.ops-channel.events[3]`: `digest` is not an event that can be chosen
      |
    3 | events = ['opened', 'escalated', 'test', 'digest', 'opened']
      |                                          ^^^^^^^^
    hint: leave it out: `digest_above` decides when a digest is sent

    tocsin.toml:3:52: `destinations.ops-channel.events[4]`: `opened` is named twice
      |
    3 | events = ['opened', 'escalated', 'test', 'digest', 'opened']
      |                                                    ^^^^^^^^
    hint: leave it out: it is named before
    ");
    insta::assert_snapshot!(refused(&format!("{CHANNEL}events = ['closed']\n")), @"
    tocsin.toml:3:11: `destinations.ops-channel.events`: unknown value `closed`
      |
    3 | events = ['closed']
      |           ^^^^^^^^
    hint: the events are `opened`, `acknowledged`, `resolved`, `occurred` and `noted`
    ");
    insta::assert_snapshot!(refused(&format!("{CHANNEL}events = []\n")), @"
    tocsin.toml:3:10: `destinations.ops-channel.events`: is empty, so that the destination would only be told of escalations
      |
    3 | events = []
      |          ^^
    hint: leave it out for `opened`, `acknowledged` and `resolved`
    ");
}

#[test]
fn http_is_only_allowed_within_networks_that_are_named() {
    insta::assert_snapshot!(refused(&format!("{CHANNEL}allow_http = true\n")), @r#"
    tocsin.toml:3:14: `destinations.ops-channel.allow_http`: `allow_networks` is empty, and `http` is only allowed within these networks
      |
    3 | allow_http = true
      |              ^^^^
    hint: name the network of the server, such as `allow_networks = ["10.0.0.0/8"]`
    "#);
    parse(&format!("{CHANNEL}allow_http = true\nallow_networks = ['10.0.0.0/8']\n"))
        .expect("it has a network");
    insta::assert_snapshot!(refused(&format!("{CHANNEL}allow_networks = ['ten']\n")), @"
    tocsin.toml:3:18: `destinations.ops-channel.allow_networks`: `ten` is neither an address nor a network
      |
    3 | allow_networks = ['ten']
      |                  ^^^^^^^
    hint: write an address or a network, such as `10.0.0.1` or `10.0.0.0/8`
    ");
}

#[test]
fn wrong_numbers_of_a_destination_are_errors() {
    insta::assert_snapshot!(refused(&format!("{CHANNEL}parallel = 0\n")), @"
    tocsin.toml:3:12: `destinations.ops-channel.parallel`: invalid value: an integer
      |
    3 | parallel = 0
      |            ^
    hint: write a whole number from 1 to 256
    ");
    insta::assert_snapshot!(refused(&format!("{CHANNEL}parallel = 1000\n")), @"
    tocsin.toml:3:12: `destinations.ops-channel.parallel`: must be from 1 to 256
      |
    3 | parallel = 1000
      |            ^^^^
    hint: leave it out for 8
    ");
    insta::assert_snapshot!(refused(&format!("{CHANNEL}rate_limit = 'slow'\n")), @"
    tocsin.toml:3:14: `destinations.ops-channel.rate_limit`: `slow` is not a rate: write a number and s, m or h, such as `100/s`
      |
    3 | rate_limit = 'slow'
      |              ^^^^^^
    hint: write a rate, such as `1/s`; leave the key out for what the plugin suggests
    ");
}

#[test]
fn deliveries_are_tried_over_three_days_by_default() {
    let DeliveryConfig { retry, give_up_after, proxy, ca_pem, .. } =
        parse("").expect("every key has a default").delivery;
    let retry: Vec<_> = retry.iter().map(ToString::to_string).collect();
    assert_eq!(retry, ["5s", "30s", "2m", "10m", "30m", "2h", "5h", "10h"]);
    assert_eq!(give_up_after.0, Duration::from_secs(3 * 24 * 3600));
    assert_eq!((proxy, ca_pem), (None, None));
}

#[test]
fn wrong_settings_of_deliveries_are_errors() {
    insta::assert_snapshot!(refused("[delivery]\nretry = []\nbody_timeout = '0s'\n"), @r#"
    tocsin.toml:2:9: `delivery.retry`: is empty
      |
    2 | retry = []
      |         ^^
    hint: leave it out for the default, or write `["5s", "30s", "2m"]`

    tocsin.toml:3:16: `delivery.body_timeout`: must be more than 0
      |
    3 | body_timeout = '0s'
      |                ^^^^
    hint: leave it out for the default
    "#);
    insta::assert_snapshot!(refused("[delivery]\nretry = ['5s', 'soon']\n"), @"
    tocsin.toml:2:9: `delivery.retry`: `soon` is not a duration above zero, such as `30d`
      |
    2 | retry = ['5s', 'soon']
      |         ^^^^^^^^^^^^^^
    hint: write a number with its unit, such as `10m` or `2h`
    ");
}

#[test]
fn a_wrong_proxy_is_an_error_that_does_not_repeat_its_password() {
    insta::assert_snapshot!(refused("[delivery]\nproxy = 'https://me:s3cret@proxy:3128'\n"), @"
    tocsin.toml:2:9: `delivery.proxy`: cannot use the proxy: only proxies with `http://` are supported
      |
    2 | proxy = ***
      |         ^^^
    hint: write `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`
    ");
    parse("[delivery]\nproxy = 'http://me:s3cret@proxy:3128'\n").expect("a proxy");
}

#[test]
fn the_file_of_authorities_must_hold_certificates() {
    insta::assert_snapshot!(refused("[delivery]\nca_file = '/nowhere/ca.pem'\n"), @"
    tocsin.toml:2:11: `delivery.ca_file`: cannot read `/nowhere/ca.pem`: No such file or directory (os error 2)
      |
    2 | ca_file = '/nowhere/ca.pem'
      |           ^^^^^^^^^^^^^^^^^
    hint: a path is relative to this file
    ");
    let place = tempfile::tempdir().expect("a folder");
    let read = |name: &str, contents: &str| {
        std::fs::write(place.path().join(name), contents).expect("written");
        let config = format!("[delivery]\nca_file = '{name}'\n");
        LoadedConfig::parse(&place.path().join("tocsin.toml"), config, |_| None)
    };
    let error = read("ca.pem", "no certificate").expect_err("it is no PEM").to_string();
    let error = error.replace(&*place.path().to_string_lossy(), "FOLDER");
    insta::assert_snapshot!(error, @"
    FOLDER/tocsin.toml:2:11: `delivery.ca_file`: cannot use the file of authorities: it holds no certificate
      |
    2 | ca_file = 'ca.pem'
      |           ^^^^^^^^
    hint: the file must hold certificates in PEM format
    ");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    read("ca.pem", broken).expect_err("it is no certificate");
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["ca.example".into()]).expect("a name");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    let loaded = read("ca.pem", &pem).expect("it has a certificate");
    assert_eq!(loaded.config.delivery.ca_pem.as_deref(), Some(pem.as_bytes()));
    assert_eq!(referenced_files(&loaded.document), [place.path().join("ca.pem")]);
}

#[test]
fn unknown_keys_are_errors() {
    insta::assert_snapshot!(refused(&format!("{CHANNEL}event = ['opened']\n")), @"
    tocsin.toml:3:1: `destinations.ops-channel.event`: unknown key `event`
      |
    3 | event = [***]
      | ^^^^^
    hint: did you mean `events`? the known names are `plugin`, `version`, `enabled`, `events`, `rate_limit`, `parallel`, `digest_above`, `allow_networks`, `allow_http`, `options`
    ");
    insta::assert_snapshot!(refused(&with_route("destination = 'x'")), @"
    tocsin.toml:5:1: `routes[0].destination`: unknown key `destination`
      |
    5 | destination = ***
      | ^^^^^^^^^^^
    hint: the known names are `to`, `integrations`, `urgency`, `details`, `hours`, `after`, `repeat`
    ");
    insta::assert_snapshot!(refused("[delivery]\nretries = 3\n"), @"
    tocsin.toml:2:1: `delivery.retries`: unknown key `retries`
      |
    2 | retries = ***
      | ^^^^^^^
    hint: the known names are `retry`, `give_up_after`, `connect_timeout`, `tls_timeout`, `header_timeout`, `body_timeout`, `proxy`, `ca_file`, `alert_url`, `alerts_url`
    ");
}
