//! While the disk is full, the host stores nothing. No message that was answered 200 is lost.

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tocsin_tests::{Site, TestHost, http::Request, libraries::library, wait};

use crate::load::{Load, assert_kept};

/// Largest size of a file of the host in bytes, which stands for a full disk.
fn limit_files(host: &TestHost, bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit { current: bytes.or(maximum), maximum };
    prlimit(Some(host.pid()), Resource::Fsize, limit).expect("the host is ours");
}

#[test]
fn a_full_disk_refuses_webhooks_until_there_is_room() {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    let host = site.config("[integrations.good]\nplugin = 'well-behaved'").serve();
    let mut accepted = Vec::new();
    let mut post = |host: &TestHost, message: String| {
        // Large bodies make a file grow soon.
        let answer = host.post("good", &format!("{message} {}", "x".repeat(2000)));
        if answer.status == 200 {
            accepted.push(message);
        }
        answer
    };
    for count in 0..20 {
        assert_eq!(post(&host, format!("before, {count}")).status, 200);
    }

    limit_files(&host, Some(128 * 1024));
    let mut count = 0;
    let refused = wait::until("the disk is full", || {
        count += 1;
        let answer = post(&host, format!("meanwhile, {count}"));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "store_unavailable"));
    assert_eq!(refused.retry_after(), 1);
    let (status, ready) = host.ready();
    assert_eq!((status, &ready["status"]), (503, &"unready".into()), "{ready}");
    let reason = ready["reasons"][0].as_str().expect("a sentence");
    assert!(reason.contains("; hint: look at the disk of the store"), "{reason}");
    // Stored alerts can still be read.
    assert!(host.alerts().len() >= 20);
    let changed = host.ask_admin(&Request::post("/api/v1/alerts/1/resolve", ""));
    assert_eq!((changed.status, changed.retry_after()), (503, 1));
    assert!(host.metric("tocsin_commit_failures_total").is_some_and(|failures| failures >= 1.0));

    limit_files(&host, None);
    wait::until("the host is ready again", || (host.ready().0 == 200).then_some(()));
    for count in 0..20 {
        assert_eq!(post(&host, format!("afterwards, {count}")).status, 200);
    }
    assert_kept(&titled(&host), &accepted);
    let host = host.restart();
    assert_kept(&titled(&host), &accepted);
    assert_eq!(host.alerts().len(), accepted.len(), "what was refused was not kept");
}

#[test]
fn a_disk_that_fills_under_load_loses_nothing_answered_200() {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    let host = site.config("[integrations.good]\nplugin = 'well-behaved'").serve();
    let load = Load::start(host.webhooks(), "full", 8);
    wait::until("the first answers", || (load.answered() >= 20).then_some(()));
    for _ in 0..5 {
        limit_files(&host, Some(64 * 1024));
        wait::until("the disk is full", || (host.ready().0 == 503).then_some(()));
        limit_files(&host, None);
        let before = load.answered();
        wait::until("the host answers again", || (load.answered() >= before + 20).then_some(()));
        assert_eq!(host.ready().0, 200);
    }
    let accepted = load.accepted();
    assert_kept(&host.alerts(), &accepted);
    assert_kept(&host.kill().serve().alerts(), &accepted);
}

fn titled(host: &TestHost) -> Vec<serde_json::Value> {
    let mut alerts = host.alerts();
    for alert in &mut alerts {
        let title = alert["title"].as_str().expect("a title");
        let line = title.split(" x").next().unwrap_or_default().to_owned();
        alert["title"] = line.into();
    }
    alerts
}

#[test]
fn reports_a_disk_that_is_full_at_the_start() {
    let site = Site::on_sqlite().plugin(&library("well-behaved"));
    let site = site.config("[store]\nurl = 'sqlite:/dev/full/tocsin.db'");
    let finished = site.run(&["serve"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains("cannot open the store `/dev/full/tocsin.db`"),
        "{finished:?}"
    );
}
