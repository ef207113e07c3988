//! A system that gives no more threads: everything that needs no new thread still works, and the
//! host gives the reason for each action that fails.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command},
};

use tocsin_tests::{
    Site, TestHost,
    http::{Connection, Request},
    libraries::library,
    wait,
};

/// A user without files and processes on this machine.
const SOMEBODY: u32 = 64_321;

/// Most threads of the host's user.
const MOST_THREADS: u32 = 60;

/// Returns a site with a limit on the host's threads, or `None` if this machine cannot set one.
fn site(most_threads: u32) -> Option<Site> {
    let site = Site::new().plugin(&library("well-behaved")).plugin(&library("bad-never-returns"));
    Some(site.owned_by(SOMEBODY)?.limit(&format!("--nproc={most_threads}")))
}

/// Processes of the host's user, which count towards its limit on threads.
struct Crowd(Vec<Child>);

impl Crowd {
    /// Starts processes until no thread is left for the host.
    fn fill(host: &TestHost) -> Self {
        let mut crowd = Self(Vec::new());
        crowd.refill(host);
        crowd
    }

    /// Starts processes for the threads of the host that have ended in the meantime, such as those that
    /// started a plugin.
    fn refill(&mut self, host: &TestHost) {
        let others = MOST_THREADS as usize - steady_threads(host);
        let start = |_| Command::new("sleep").arg("1000").uid(SOMEBODY).spawn().expect("it starts");
        self.0.extend((self.0.len()..others).map(start));
    }
}

/// Returns the number of threads of the host once it stays the same for a while.
fn steady_threads(host: &TestHost) -> usize {
    let (mut last, mut times) = (0, 0);
    wait::until("the number of threads is steady", || {
        let now = host.kernel_says("Threads");
        times = if now == last { times + 1 } else { 0 };
        last = now;
        (times == 100).then_some(now)
    })
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_host_goes_on_without_more_threads_and_says_why_a_call_failed() {
    let config = "[plugins]\ncall_deadline = '1s'\n[integrations.good]\nplugin = 'well-behaved'\n\
                  [integrations.stuck]\nplugin = 'bad-never-returns'\n\
                  [watch]\nsettle = '50ms'\nlook_every = '100ms'\n";
    let Some(site) = site(MOST_THREADS) else { return };
    let host = site.config(config).serve();
    assert_eq!(host.post("good", "before").status, 200);
    let mut crowd = Crowd::fill(&host);
    for count in 0..20 {
        assert_eq!(host.post("good", &format!("beside {count}")).status, 200);
    }
    crowd.refill(&host);
    // The only thread for calls gets stuck in this call.
    let mut stuck = host.connect();
    stuck.send(&Request::post("/in/stuck", "hang").bytes()).expect("the host reads");
    assert_eq!(stuck.answer().expect("an answer").status, 503);
    let refused = host.post("good", "no turn");
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "plugin_failed"));
    let record = host.api(&format!("/api/v1/requests/{}", refused.request_id()));
    let reason = record["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("the system refused a thread for the call"), "{reason}");
    let reasons = host.reasons();
    assert!(reasons.iter().any(|it| it.contains("the system refuses more threads")), "{reasons:?}");
    // Neither kind of reload needs a new thread.
    let reload = Request::post("/api/v1/reload", "");
    let mut admin = Connection::open(host.admin()).expect("it listens");
    assert_eq!(admin.ask(&reload).expect("an answer").status, 200);
    let reached = host.logged("limit_reached");
    let lines = reached.iter().filter(|entry| entry["limit"] == "threads").count();
    assert!(lines <= 60, "{lines} lines");

    drop(crowd);
    wait::until("calls are served again", || {
        (host.post("good", "afterwards").status == 200).then_some(())
    });
    host.stop();
}

#[test]
fn too_few_threads_at_the_start_are_reported_without_an_abort() {
    for most in 2..16 {
        let Some(site) = site(most) else { return };
        let site = site.config("[integrations.good]\nplugin = 'well-behaved'\n");
        match site.try_serve() {
            Ok(host) => {
                assert_eq!(host.post("good", "disk full").status, 200);
                println!("{most} threads are enough");
                host.kill();
            }
            Err((_, finished)) => {
                println!("{most} threads: {}", finished.stderr.trim_end());
                assert_eq!(finished.code, Some(1), "{finished:?}");
            }
        }
    }
}
