//! Limits of the host's process, and its protection from other processes.

use std::{fs, os::unix::fs::MetadataExt};

use tocsin_tests::{
    Site,
    http::{Connection, Request},
    libraries::library,
};

const SOMEBODY: u32 = 64_322;
const GOOD: &str = "[integrations.good]\nplugin = 'well-behaved'\n";

#[test]
fn other_processes_cannot_inspect_the_host_and_it_gains_no_privileges() {
    let site = Site::new().plugin(&library("well-behaved"));
    let Some(site) = site.owned_by(SOMEBODY) else { return };
    let host = site.config(GOOD).serve();
    assert_eq!(host.kernel_says("NoNewPrivs"), 1);
    let pid = host.pid().as_raw_nonzero();
    for what in ["environ", "mem", "maps"] {
        let metadata = fs::metadata(format!("/proc/{pid}/{what}")).expect("it runs");
        assert_eq!(metadata.uid(), 0, "{what} belongs to root, not to its user");
    }
    assert_eq!(host.post("good", "disk full").status, 200);
    host.site().drop_in(&library("slack-outgoing-webhook"), "libslack.so");
    assert_eq!(host.reload().status, 200, "plugins are loaded and tried as before");
    host.stop();
}

#[test]
fn raises_the_open_file_limit_and_reserves_files_for_more_than_connections() {
    let site = Site::new().plugin(&library("well-behaved"));
    let config = format!("[server]\nmax_connections_per_address = 5000\n{GOOD}");
    let host = site.config(&config).limit("--nofile=64:4096").serve();
    assert_eq!(host.reasons(), [""; 0], "there is enough for all connections");
    drop(host);

    let site = Site::new().plugin(&library("well-behaved"));
    let host = site.config(&config).limit("--nofile=64:700").serve();
    let reasons = host.reasons();
    assert!(
        reasons
            .iter()
            .any(|it| it.starts_with("175 connections are served at once instead of 1024")),
        "{reasons:?}"
    );
    assert_eq!(host.times_logged("connections_reduced"), 1);
    let idle: Vec<_> = (0..600).filter_map(|_| Connection::open(host.webhooks()).ok()).collect();
    // Open files are left for the store, the API and reloads.
    assert_eq!(host.ask_admin(&Request::new("GET", "/api/v1/alerts")).status, 200);
    host.site().drop_in(&library("slack-outgoing-webhook"), "libslack.so");
    assert_eq!(host.reload().status, 200);
    drop(idle);
    assert_eq!(host.post("good", "disk full").status, 200);
}
