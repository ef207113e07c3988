//! Promises about hosts: each is listed with its last report.

use crate::store::{
    Store,
    duties::Duty,
    fixture::{StoreFixture, at, deliveries::take},
    hosts::{HostReport, KnownHost, ReportedPlugin},
};

fn report(name: &str) -> HostReport {
    let plugin =
        ReportedPlugin { name: "slack".into(), version: "1.2.0".into(), sha256: "ab".into() };
    HostReport {
        name: name.into(),
        version: "1.0.0".into(),
        started_at: at(7),
        uptime_seconds: 60,
        address: "192.0.2.1:8081".into(),
        plugins: vec![plugin.clone()],
        serves: [("integrations.ops".into(), Some(plugin)), ("destinations.x".into(), None)].into(),
        settings: [("routes".into(), "c0ffee".into())].into(),
    }
}

fn say(store: &dyn Store, report: HostReport) {
    store.report(report).wait().expect("it commits");
}

fn hosts(store: &dyn Store) -> Vec<KnownHost> {
    store.hosts().wait().expect("it reads")
}

fn names(store: &dyn Store) -> Vec<(String, bool)> {
    hosts(store).into_iter().map(|host| (host.report.name, host.has_stopped)).collect()
}

pub(in crate::store) fn a_host_is_listed_with_its_last_report(place: &dyn StoreFixture) {
    let store = &*place.open();
    assert_eq!(hosts(store), []);
    say(store, report("alpha"));
    let later = HostReport { uptime_seconds: 65, ..report("alpha") };
    say(store, later.clone());
    let listed = hosts(store);
    assert_eq!(listed.len(), 1);
    let KnownHost { id, report, has_stopped, duties, .. } = &listed[0];
    assert_eq!((*id, report), (store.this_host(), &later));
    assert_eq!((*has_stopped, &duties[..]), (false, &[][..]));
}

pub(in crate::store) fn a_host_is_listed_with_its_duties(place: &dyn StoreFixture) {
    let store = &*place.open();
    say(store, report("alpha"));
    let duties = [
        Duty::Housekeeping,
        Duty::Routing,
        Duty::Delivering("a".into()),
        Duty::Delivering("b c".into()),
    ];
    for duty in duties.iter().rev() {
        take(store, duty.clone());
    }
    assert_eq!(hosts(store)[0].duties, duties);
    store.release(Duty::Routing).wait().expect("it commits");
    assert_eq!(hosts(store)[0].duties.len(), 3);
}

pub(in crate::store) fn hosts_know_each_other_and_who_has_stopped(place: &dyn StoreFixture) {
    let first = place.open();
    let Some(second) = place.open_another() else { return };
    assert_ne!(first.this_host(), second.this_host());
    say(&*first, report("alpha"));
    say(&*second, report("beta"));
    take(&*second, Duty::Routing);
    for store in [&first, &second] {
        assert_eq!(names(&**store), [("alpha".to_owned(), false), ("beta".to_owned(), false)]);
        let duties: Vec<_> = hosts(&**store).into_iter().map(|host| host.duties).collect();
        assert_eq!(duties, [vec![], vec![Duty::Routing]]);
    }
    second.close();
    assert_eq!(names(&*first), [("alpha".to_owned(), false), ("beta".to_owned(), true)]);
    assert!(hosts(&*first).iter().all(|host| host.duties.is_empty()));
}
