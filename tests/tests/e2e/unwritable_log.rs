//! A log that is closed, full or slow does not affect webhooks, health, reloads or exit codes.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::fd::OwnedFd,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tocsin_tests::{
    Site,
    http::{Answer, Connection, Request},
    libraries::library,
    loopback, wait,
};

use crate::load::Load;

/// A host with a standard error that the test provides.
struct Host {
    site: Site,
    child: Child,
    webhooks: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Host {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const INTEGRATION: &str = "[integrations.good]\nplugin = 'well-behaved'\noptions.token = 'right'\n\
                           [watch]\nsettle = '50ms'\nlook_every = '100ms'\n";

impl Host {
    fn start(stderr: Stdio) -> Self {
        Self::start_with("info", stderr)
    }

    fn start_with(level: &str, stderr: Stdio) -> Self {
        let site = Site::on_sqlite().plugin(&library("well-behaved"));
        let (webhooks, admin) = (loopback::free_port(), loopback::free_port());
        let (server, api) = (
            format!("[server]\nlisten = '{webhooks}'\n"),
            format!("[admin]\nlisten = '{admin}'\n"),
        );
        site.configure(&format!("{server}{api}{INTEGRATION}"));
        let mut command = site.command(&["serve"]);
        let child = command.env("TOCSIN_LOG", level).stderr(stderr).spawn().expect("it starts");
        let host = Self { site, child, webhooks, admin };
        wait::until("the host serves", || {
            let ready = host.admin(&Request::new("GET", "/health/ready")).ok()?;
            (ready.status == 200).then_some(())
        });
        host
    }

    fn admin(&self, request: &Request<'_>) -> std::io::Result<Answer> {
        let host = self.admin.ip().to_string();
        Connection::open(self.admin)?.ask(&request.clone().host(host))
    }

    fn post(&self, token: &str) -> Answer {
        let mut webhooks = Connection::open(self.webhooks).expect("the host listens");
        let request = Request::post("/in/good", "disk full").header("x-token", token);
        webhooks.ask(&request).expect("an answer")
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = self.admin(&Request::new("GET", "/metrics")).expect("metrics").body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
    }

    fn readiness(&self) -> String {
        self.admin(&Request::new("GET", "/health/ready")).expect("an answer").body
    }

    /// Checks that the host answers refusals and applies several changes of its configuration.
    fn assert_goes_on(&self) {
        for _ in 0..20 {
            assert_eq!(self.post("wrong").status, 403);
        }
        for urgency in ["high", "low", "critical"] {
            let text = std::fs::read_to_string(self.site.path("tocsin.toml")).expect("written");
            let changed: String = text
                .lines()
                .filter(|line| !line.starts_with("urgency"))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
                .replace(
                    "[integrations.good]\n",
                    &format!("[integrations.good]\nurgency = '{urgency}'\n"),
                );
            self.site.write("new.toml", changed);
            std::fs::rename(self.site.path("new.toml"), self.site.path("tocsin.toml"))
                .expect("renamed");
            wait::until("the change is in force", || {
                let answer = self.post("right");
                assert_eq!(answer.status, 200, "{answer:?}");
                let alerts = self.admin(&Request::new("GET", "/api/v1/alerts?limit=1")).ok()?;
                (alerts.json()["alerts"][0]["urgency"] == urgency).then_some(())
            });
        }
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let status = wait::until("the host ends", || self.child.try_wait().expect("our child"));
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

#[test]
fn a_closed_log_stops_nothing() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let host = Host::start(OwnedFd::from(writer).into());
    drop(reader);
    host.assert_goes_on();
    assert!(host.metric("tocsin_log_lines_lost_total") >= 1.0);
    let ready = host.readiness();
    assert!(ready.contains("log lines are lost") && ready.contains("Broken pipe"), "{ready}");
    host.stop();
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let host = Host::start(full.into());
    host.assert_goes_on();
    assert!(host.metric("tocsin_log_lines_lost_total") >= 1.0);
    assert!(host.readiness().contains("No space left on device"));
    host.stop();
}

#[test]
fn a_slow_log_stops_nothing_and_counts_the_lost_lines() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let host = Host::start_with("debug", OwnedFd::from(writer).into());
    // At this level, every webhook logs a line.
    let load = Load::start_with(host.webhooks, "many", 8, &[("x-token", "right")]);
    let lost = || host.metric("tocsin_log_lines_lost_total") >= 1.0;
    wait::until("lines are dropped", || lost().then_some(()));
    assert!(load.sent().refused.is_empty());
    assert_eq!(host.post("right").status, 200);
    assert_eq!(host.post("wrong").status, 403);
    assert!(host.readiness().contains("lines come faster than they are read"));

    let mut lines = BufReader::new(reader).lines();
    let told = lines.find_map(|line| {
        let line = line.expect("text");
        line.contains(r#""event":"log_lines_lost""#).then_some(line)
    });
    let told: serde_json::Value = serde_json::from_str(&told.expect("it is told")).expect("JSON");
    assert!(told["lines"].as_u64().is_some_and(|count| count >= 1), "{told}");
    let drain = std::thread::spawn(move || {
        let _ = lines.count();
    });
    wait::until("no more lines are dropped", || {
        (!host.readiness().contains("log lines are lost")).then_some(())
    });
    host.stop();
    drain.join().expect("it ends with the host");
}

#[test]
fn commands_keep_their_exit_code_without_a_standard_error() {
    let site = Site::on_sqlite();
    site.write("tocsin.toml", "nonsense");
    for command in [&["check"][..], &["serve"], &["alerts", "list"], &["plugins", "list"]] {
        let (_, closed) = std::io::pipe().expect("a pipe");
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        for stderr in [Stdio::from(OwnedFd::from(closed)), Stdio::from(full)] {
            let mut command_line = site.command(command);
            let status = command_line.stdout(Stdio::null()).stderr(stderr).status();
            assert_eq!(status.expect("it runs").code(), Some(2), "{command:?}");
        }
    }
}
