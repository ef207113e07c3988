//! At most one host uses a database at a time.

use tocsin_tests::{Site, libraries::library};

#[test]
fn a_second_host_on_a_database_is_refused_until_the_first_has_stopped() {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    let config = "[integrations.good]\nplugin = 'well-behaved'";
    let first = site.config(config).serve();
    assert_eq!(first.post("good", "disk full").status, 200);

    let second = first.site().run(&["serve"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    let holder = format!("is in use by the tocsin process {} on ", first.pid());
    assert!(second.stderr.contains(&holder), "{second:?}");
    assert!(second.stderr.contains("\nhint: stop that host, or give this one"), "{second:?}");
    // The first host is not affected.
    assert_eq!(first.post("good", "disk full").status, 200);

    let second = first.restart();
    assert_eq!(second.alerts().len(), 2);
    // A killed host leaves no lock behind.
    assert_eq!(second.kill().serve().alerts().len(), 2);
}

#[test]
fn check_reads_a_database_that_is_in_use() {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    let host = site.config("[integrations.good]\nplugin = 'well-behaved'").serve();
    let check = host.site().run(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
}
