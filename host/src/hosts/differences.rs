//! Differences between hosts on one store, as a pure function of their reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::store::hosts::{HostReport, KnownHost, ReportedPlugin};

/// Time after its last report from which a host counts as silent. A host reports every five seconds.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Time for which hosts may differ, as they do while they are upgraded one by one.
const TOLERATED: Duration = Duration::from_secs(60);

/// State of a host, as the others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vitality {
    /// The host reports itself.
    Alive,
    /// The host has not reported itself for a while, although it did not stop.
    Silent,
    /// The host stopped as it should.
    Stopped,
}

impl Vitality {
    /// Returns the name in JSON, on the command line and in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
        }
    }

    /// Returns the state of a [`KnownHost`].
    pub(crate) fn of(host: &KnownHost) -> Self {
        if host.has_stopped {
            Self::Stopped
        } else if host.silent_for >= SILENT_AFTER {
            Self::Silent
        } else {
            Self::Alive
        }
    }
}

/// Subject of a difference: a key of the configuration, and what differs there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Plugin that serves an integration or a destination.
    Plugin(String),
    /// Values in a part of the configuration.
    Settings(String),
}

/// Compares the hosts that are alive. Returns a sentence on each difference.
pub(crate) fn differences(hosts: &[KnownHost]) -> BTreeMap<Subject, String> {
    let alive = hosts.iter().filter(|host| Vitality::of(host) == Vitality::Alive);
    let alive: Vec<_> = alive.map(|host| &host.report).collect();
    let plugins = served(&alive).into_iter().filter_map(|key| {
        let of = |host: &HostReport| host.serves.get(&key).map(|plugin| shown(plugin.as_ref()));
        let (one, other) = two_that_differ(&alive, of)?;
        let sentence = format!(
            "`{key}` is served by {} on host `{}`, and by {} on host `{}`",
            one.1, one.0.name, other.1, other.0.name
        );
        Some((Subject::Plugin(key), sentence))
    });
    let settings = settings(&alive).into_iter().filter_map(|key| {
        let of = |host: &HostReport| Some(host.settings.get(&key).cloned().unwrap_or_default());
        let (one, other) = two_that_differ(&alive, of)?;
        let sentence = match (one.1.is_empty(), other.1.is_empty()) {
            (false, true) => absent(&key, one.0, other.0),
            (true, false) => absent(&key, other.0, one.0),
            _ => format!("`{key}` differs on the hosts `{}` and `{}`", one.0.name, other.0.name),
        };
        Some((Subject::Settings(key), sentence))
    });
    plugins.chain(settings).collect()
}

fn absent(key: &str, has: &HostReport, lacks: &HostReport) -> String {
    format!(
        "host `{}` has `{key}` in its configuration, and host `{}` has not",
        has.name, lacks.name
    )
}

fn served(hosts: &[&HostReport]) -> BTreeSet<String> {
    hosts.iter().flat_map(|host| host.serves.keys().cloned()).collect()
}

fn settings(hosts: &[&HostReport]) -> BTreeSet<String> {
    hosts.iter().flat_map(|host| host.settings.keys().cloned()).collect()
}

/// A host, and what it says.
type Said<'h> = (&'h HostReport, String);

/// Returns the first host, and the first of the others that says something else. Hosts that say nothing are left
/// out.
fn two_that_differ<'h>(
    hosts: &[&'h HostReport],
    of: impl Fn(&HostReport) -> Option<String>,
) -> Option<(Said<'h>, Said<'h>)> {
    let mut said = hosts.iter().filter_map(|host| Some((*host, of(host)?)));
    let first = said.next()?;
    let other = said.find(|(_, says)| *says != first.1)?;
    Some((first, other))
}

fn shown(plugin: Option<&ReportedPlugin>) -> String {
    match plugin {
        Some(ReportedPlugin { name, version, sha256 }) => {
            let start: String = sha256.chars().take(8).collect();
            format!("plugin `{name} {version}` (file {start})")
        }
        None => "no plugin".into(),
    }
}

/// Memory of the [`differences`] between hosts, which tells those that last from those of an upgrade.
#[derive(Debug, Default)]
pub(crate) struct Lasting(BTreeMap<Subject, Seen>);

#[derive(Debug)]
struct Seen {
    since: Instant,
    /// True once the difference has lasted for too long.
    is_lasting: bool,
}

/// [`differences`] that have lasted for too long.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LastingDifferences {
    /// Sentence on each.
    pub(crate) all: Vec<String>,
    /// Sentences on those that were tolerated until now.
    pub(crate) new: Vec<String>,
}

impl Lasting {
    /// Notes the differences that there are now, and returns those that have lasted for too long.
    pub(crate) fn note(
        &mut self,
        differences: &BTreeMap<Subject, String>,
        now: Instant,
    ) -> LastingDifferences {
        self.0.retain(|subject, _| differences.contains_key(subject));
        let mut lasting = LastingDifferences::default();
        for (subject, sentence) in differences {
            let seen = self.0.entry(subject.clone());
            let seen = seen.or_insert(Seen { since: now, is_lasting: false });
            if now.saturating_duration_since(seen.since) < TOLERATED {
                continue;
            }
            lasting.all.push(sentence.clone());
            if !std::mem::replace(&mut seen.is_lasting, true) {
                lasting.new.push(sentence.clone());
            }
        }
        lasting
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use ulid::Ulid;

    use super::*;

    fn host(name: &str) -> KnownHost {
        let report = HostReport { name: name.into(), ..HostReport::default() };
        KnownHost {
            id: Ulid::nil(),
            report,
            last_seen_at: Timestamp::UNIX_EPOCH,
            silent_for: Duration::ZERO,
            has_stopped: false,
            duties: Vec::new(),
        }
    }

    fn plugin(version: &str) -> Option<ReportedPlugin> {
        let (name, sha256) = ("slack".into(), "0123456789abcdef".into());
        Some(ReportedPlugin { name, version: version.into(), sha256 })
    }

    fn serves(name: &str, plugin: Option<ReportedPlugin>) -> KnownHost {
        let mut host = host(name);
        host.report.serves = [("integrations.ops".to_owned(), plugin)].into();
        host
    }

    fn has(name: &str, settings: &[(&str, &str)]) -> KnownHost {
        let mut host = host(name);
        let settings = settings.iter().map(|(key, digest)| ((*key).into(), (*digest).into()));
        host.report.settings = settings.collect();
        host
    }

    fn sentences(hosts: &[KnownHost]) -> Vec<String> {
        differences(hosts).into_values().collect()
    }

    #[test]
    fn a_host_is_silent_after_three_reports_that_did_not_come() {
        let seen = |seconds| KnownHost { silent_for: Duration::from_secs(seconds), ..host("a") };
        assert_eq!(
            [14, 15, 90_000].map(|seconds| Vitality::of(&seen(seconds))),
            [Vitality::Alive, Vitality::Silent, Vitality::Silent]
        );
        let stopped = KnownHost { has_stopped: true, ..seen(90_000) };
        assert_eq!(Vitality::of(&stopped), Vitality::Stopped);
    }

    #[test]
    fn equal_hosts_do_not_differ() {
        assert_eq!(sentences(&[]), [""; 0]);
        assert_eq!(sentences(&[serves("a", plugin("1.0.0"))]), [""; 0]);
        let both = ["a", "b"].map(|name| serves(name, plugin("1.0.0")));
        assert_eq!(sentences(&both), [""; 0]);
        assert_eq!(sentences(&["a", "b"].map(|name| has(name, &[("routes", "1")]))), [""; 0]);
        // A disabled integration is in no report, and an older host may not report everything.
        assert_eq!(sentences(&[serves("a", plugin("1.0.0")), host("b")]), [""; 0]);
    }

    #[test]
    fn hosts_that_serve_with_other_plugins_differ() {
        let one = serves("a", plugin("1.0.0"));
        let same = serves("b", plugin("1.0.0"));
        let hosts = [one.clone(), same, serves("c", plugin("1.1.0"))];
        let newer = "`integrations.ops` is served by plugin `slack 1.0.0` (file 01234567) on host `a`, and \
                     by plugin `slack 1.1.0` (file 01234567) on host `c`";
        assert_eq!(sentences(&hosts), [newer]);
        let none = "`integrations.ops` is served by plugin `slack 1.0.0` (file 01234567) on host `a`, and \
                    by no plugin on host `d`";
        assert_eq!(sentences(&[one.clone(), serves("d", None)]), [none]);
        let other_file = plugin("1.0.0")
            .map(|plugin| ReportedPlugin { sha256: "fedcba9876543210".into(), ..plugin });
        assert_eq!(sentences(&[one, serves("e", other_file)]).len(), 1);
    }

    #[test]
    fn hosts_with_other_configurations_differ() {
        let one = has("a", &[("destinations.x", "1"), ("routes", "2")]);
        assert_eq!(
            sentences(&[one.clone(), has("b", &[("destinations.x", "1"), ("routes", "3")])]),
            ["`routes` differs on the hosts `a` and `b`"]
        );
        let absent = "host `a` has `destinations.x` in its configuration, and host `c` has not";
        let lacks = has("c", &[("routes", "2")]);
        assert_eq!(sentences(&[one.clone(), lacks.clone()]), [absent]);
        assert_eq!(sentences(&[lacks, one]), [absent]);
    }

    #[test]
    fn only_hosts_that_are_alive_are_compared() {
        let [one, other] =
            [("a", "1"), ("b", "2")].map(|(name, digest)| has(name, &[("routes", digest)]));
        assert_eq!(sentences(&[one.clone(), other.clone()]).len(), 1);
        let stopped = KnownHost { has_stopped: true, ..other.clone() };
        assert_eq!(sentences(&[one.clone(), stopped]), [""; 0]);
        let silent = KnownHost { silent_for: SILENT_AFTER, ..other };
        assert_eq!(sentences(&[one, silent]), [""; 0]);
    }

    #[test]
    fn a_difference_is_reported_once_it_has_lasted_for_a_minute() {
        let differ = differences(&[has("a", &[("routes", "1")]), has("b", &[("routes", "2")])]);
        let sentence = differ.values().next().expect("one").clone();
        let (none, start) = (BTreeMap::new(), Instant::now());
        let mut lasting = Lasting::default();
        let mut note = |seconds, differences: &BTreeMap<_, _>| {
            let LastingDifferences { all, new } =
                lasting.note(differences, start + Duration::from_secs(seconds));
            (all.len(), new)
        };
        assert_eq!(note(0, &differ), (0, vec![]));
        assert_eq!(note(59, &differ), (0, vec![]));
        assert_eq!(note(60, &none), (0, vec![]), "an upgrade is over");
        assert_eq!(note(61, &differ), (0, vec![]));
        assert_eq!(note(121, &differ), (1, vec![sentence]));
        assert_eq!(note(126, &differ), (1, vec![]), "it is new once");
        assert_eq!(note(131, &none), (0, vec![]));
    }
}
