//! Subject of a measurement: a server in its own process.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use axum::{Router, body::Bytes, routing::post};
use jiff::Timestamp;
use tempfile::TempDir;
use tocsin::{
    alert::PluginId,
    config::Server,
    http::server::{self, AddressLimit, Beyond, Counted, Limits, stop_sign},
    request::{Content, Submission},
    store::{self, StoreConfig},
};
use tocsin_plugin_api::{Event, Urgency};

use crate::{load::Keys, process::Process};

pub(crate) const TOKEN: &str = "Xk3vT9pQz7LmN2rB8sWc4dYf";

pub(crate) struct Subject {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    _folder: TempDir,
}

impl Subject {
    /// Starts the same HTTP stack with a handler that reads the body and answers.
    pub(crate) fn floor() -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        Self::start(command.arg("floor").arg(address.to_string()), address, folder()?)
    }

    /// Starts the host with an empty database or a copy of a filled one.
    pub(crate) fn tocsin(
        program: &Path,
        plugins: &Path,
        database: Option<&Filled>,
    ) -> anyhow::Result<Self> {
        Self::tocsin_with(program, plugins, database, "")
    }

    /// Starts the host with additions to its configuration.
    pub(crate) fn tocsin_with(
        program: &Path,
        plugins: &Path,
        database: Option<&Filled>,
        more: &str,
    ) -> anyhow::Result<Self> {
        let folder = folder()?;
        let (address, admin) = (free_address()?, free_address()?);
        let config = format!(
            "[server]\nlisten = \"{address}\"\n[admin]\nlisten = \"{admin}\"\n\
             [plugins]\ndir = {plugins:?}\n\
             [integrations.bench]\nplugin = \"slack-outgoing-webhook\"\noptions.token = \"{TOKEN}\"\n\
             {more}\n"
        );
        let path = folder.path().join("tocsin.toml");
        std::fs::write(&path, config)?;
        if let Some(Filled(filled)) = database {
            std::fs::copy(filled.path().join("tocsin.db"), folder.path().join("tocsin.db"))?;
        }
        let mut command = Command::new(program);
        Self::start(command.args(["serve", "--config"]).arg(path), address, folder)
    }

    /// Starts Prometheus' Alertmanager, which keeps alerts in memory. Returns `None` if it is not
    /// installed.
    pub(crate) fn alertmanager() -> anyhow::Result<Option<Self>> {
        if Command::new("prometheus-alertmanager").arg("--version").output().is_err() {
            return Ok(None);
        }
        let (folder, address) = (folder()?, free_address()?);
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n")?;
        let mut command = Command::new("prometheus-alertmanager");
        let command = command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .arg("--log.level=error");
        Self::start(command, address, folder).map(Some)
    }

    fn start(command: &mut Command, address: SocketAddr, folder: TempDir) -> anyhow::Result<Self> {
        let process = Process::start(command)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                bail!("{command:?} does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { address, process, _folder: folder })
    }

    pub(crate) fn resident_mb(&self) -> anyhow::Result<u64> {
        self.process.memory_mb("VmRSS")
    }
}

/// Makes a folder beside the build. A temporary folder may be in memory, where syncs cost nothing.
fn folder() -> anyhow::Result<TempDir> {
    let program = std::env::current_exe()?;
    let beside = program.parent().context("a program lies in a folder")?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(beside)?)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// `bench floor ADDRESS`.
pub(crate) fn serve_floor() -> anyhow::Result<()> {
    let address: SocketAddr = std::env::args().nth(2).context("an address")?.parse()?;
    server::runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let router = Router::new().route("/in/bench", post(async |_: Bytes| ""));
        let (_stopper, stop) = stop_sign();
        let server = Server::default();
        let limits = Limits {
            max_connections: server.max_connections,
            header_timeout: server.header_timeout,
            header_limit_bytes: server.header_limit_bytes,
            write_timeout: server.write_timeout,
        };
        let beyond = Beyond::Wait(AddressLimit::none());
        server::serve(listener, router, None, limits, beyond, Counted::default(), stop).await;
        Ok(())
    })
}

/// Database with many alerts.
pub(crate) struct Filled(TempDir);

/// Stores alerts like those of the load, in the way in which the host stores them.
pub(crate) fn fill(alerts: u64, keys: Keys) -> anyhow::Result<Filled> {
    eprintln!("storing {alerts} alerts with {keys:?} keys");
    let folder = folder()?;
    let config = StoreConfig::Sqlite { path: folder.path().join("tocsin.db") };
    let store = store::open(&config, "the benchmark", Arc::default())?;
    let plugin =
        Arc::new(PluginId { name: "slack-outgoing-webhook".into(), version: "1.0.0".into() });
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..alerts {
        let (seconds, fraction) = match keys {
            Keys::Growing => (1_600_000_000 + number / 1_000_000, number % 1_000_000),
            Keys::Random => {
                (fastrand::u64(1_000_000_000..2_000_000_000), fastrand::u64(..1_000_000))
            }
        };
        let key = format!("C014E5UMZ1S.{seconds}.{fraction:06}");
        let event = Event::create("outage check servers high")
            .description("outage check servers high")
            .urgency(Urgency::High)
            .dedup_key(key.clone())
            .event_id(key)
            .link("https://pagertree.slack.com/archives/C014E5UMZ1S/p1664813178766549")
            .detail("Trigger", "outage")
            .detail("Channel", "production")
            .detail("User", "austinrmiller1991")
            .detail("Team", "pagertree");
        waiting.push_back(store.submit(Submission {
            request_id: ulid::Ulid::generate(),
            received_at: Timestamp::now(),
            integration: "bench".into(),
            plugin: Some(Arc::clone(&plugin)),
            sender: Some([127, 0, 0, 1].into()),
            size_bytes: Some(400),
            plugin_time: Some(Duration::from_micros(4)),
            content: Content::Events {
                events: vec![event.into()],
                terms: Urgency::Medium.into(),
                remark: None,
            },
            kept: None,
            hops: 0,
            timeline: None,
            replayed_by: None,
        }));
        if waiting.len() >= 2048
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.wait()?;
        }
        if number % 1_000_000 == 999_999 {
            eprintln!("  {} million", number / 1_000_000 + 1);
        }
    }
    for rest in waiting {
        rest.wait()?;
    }
    store.close();
    Ok(Filled(folder))
}
