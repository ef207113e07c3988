//! The files in `deploy/`: the unit, the configurations of the host, and those of proxies. `make try-deb` tries
//! the Debian package.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tocsin_tests::{
    Site,
    libraries::{library, tocsin, workspace},
};

fn read(file: &str) -> String {
    fs::read_to_string(workspace().join("deploy").join(file)).expect("a file")
}

/// Runs a program, which has to find nothing wrong. Returns its output; none if it is not installed.
fn run(program: &str, args: &[&str], folder: &Path) -> Option<Output> {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let run = Command::new(program).args(args).current_dir(folder).env("PATH", path).output();
    let Ok(run) = run else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    assert!(run.status.success(), "{program} {args:?}: {run:?}");
    Some(run)
}

#[test]
fn the_unit_is_valid_and_hardened() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = tocsin();
    let unit = read("systemd/tocsin.service");
    let unit = unit.replace("/usr/bin/tocsin", program.to_str().expect("a path in UTF-8"));
    fs::write(folder.path().join("tocsin.service"), unit).expect("written");
    let verify = ["verify", "--man=no", "./tocsin.service"];
    if let Some(found) = run("systemd-analyze", &verify, folder.path()) {
        assert_eq!(String::from_utf8_lossy(&found.stderr), "");
    }
    // An exposure of at most 2.0.
    let rate = ["security", "--offline=true", "--threshold=20", "--no-pager", "./tocsin.service"];
    run("systemd-analyze", &rate, folder.path());
}

/// Returns the configuration in the `ConfigMap` of the example for Kubernetes.
fn config_map() -> String {
    let example = read("kubernetes/tocsin.yaml");
    let (_, config) = example.split_once("  tocsin.toml: |\n").expect("a ConfigMap");
    let lines = config.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| format!("{}\n", line.trim_start())).collect()
}

#[test]
fn the_configurations_are_good() {
    let site = Site::new().plugin(&library("alertmanager"));
    let site = site.env("TOCSIN_ADMIN_TOKEN", "a-token-of-some-length");
    site.write("alertmanager.token", "a-token-of-the-sender\n");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(site.path("alertmanager.token"), private).expect("it is ours");
    let files = ["debian/tocsin.toml", "docker/tocsin.toml"].map(read);
    for config in files.into_iter().chain([config_map()]) {
        let here = config
            .replace("/usr/lib/tocsin/plugins", "plugins")
            .replace("/var/lib/tocsin/", "")
            .replace("/etc/tocsin-secrets/", "")
            .replace(":8080", ":0")
            .replace(":8081", ":0");
        site.write("tocsin.toml", here);
        let checked = site.run(&["check", "--offline"]);
        assert_eq!(checked.code, Some(0), "{config}\n{checked:?}");
    }
}

#[test]
fn the_configurations_of_proxies_are_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().to_str().expect("a path in UTF-8");
    let name = vec!["alerts.example.com".to_owned()];
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(name).expect("a certificate");
    fs::write(folder.path().join("fullchain.pem"), cert.pem()).expect("written");
    fs::write(folder.path().join("privkey.pem"), signing_key.serialize_pem()).expect("written");
    let server = read("proxy/nginx.conf").replace("/etc/ssl/alerts.example.com", here);
    // nginx opens what it would listen on.
    let server = server.replace("listen 80;", &format!("listen unix:{here}/80;"));
    let server = server.replace("listen 443 ssl", &format!("listen unix:{here}/443 ssl"));
    let server: String = server
        .lines()
        .filter(|line| !line.contains("[::]"))
        .map(|line| format!("{line}\n"))
        .collect();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {here}/{kind};\n")).concat();
    let config = format!(
        "pid {here}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{server}}}\n"
    );
    fs::write(folder.path().join("nginx.conf"), config).expect("written");
    let config = format!("{here}/nginx.conf");
    run("nginx", &["-t", "-q", "-p", here, "-c", &config], folder.path());

    let caddyfile = workspace().join("deploy/proxy/Caddyfile");
    let caddyfile = caddyfile.to_str().expect("a path in UTF-8");
    run("caddy", &["adapt", "--config", caddyfile, "--adapter", "caddyfile"], folder.path());
}
