//! The address of a database: a URL of PostgreSQL, with the modes of TLS that the host supports.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_postgres::config::{Config, Host, SslMode, TargetSessionAttrs};

/// Time within which a server has to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for which sent data may stay without an answer of the other machine.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);

/// Address of a PostgreSQL database, and the way to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresAddress {
    pub(super) config: Config,
    pub(super) tls: TlsMode,
    /// Number of connections for everything but webhooks.
    pub connections: usize,
    /// Time after which the server ends a statement.
    pub statement_timeout: Duration,
}

/// Use of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// No TLS.
    Off,
    /// TLS without a look at the server's certificate.
    Unverified,
    /// TLS with a server whose certificate is valid for its name, by the system's authorities or those of a file.
    Verified(Option<PathBuf>),
}

/// Reason why a text is no address of a database, as the end of a sentence that begins with the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidAddress {
    message: String,
    /// Advice for the operator.
    pub hint: Option<&'static str>,
}

impl PostgresAddress {
    /// Default of [`connections`](Self::connections).
    pub const CONNECTIONS: usize = 8;
    /// Default of [`statement_timeout`](Self::statement_timeout).
    pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

    /// Returns true if a URL is one of PostgreSQL.
    pub fn is_one(url: &str) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
    }

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If the URL is none of PostgreSQL, or asks for something that the host does not support.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, InvalidAddress> {
        let (url, tls) = take_tls(url)?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            InvalidAddress {
                hint: Some("write `postgres://USER@HOST/DATABASE`"),
                ..invalid(format!(
                    "is not a URL of PostgreSQL: {}",
                    cause.unwrap_or_else(|| error.to_string())
                ))
            }
        })?;
        if config.get_hosts().is_empty() {
            return Err(InvalidAddress {
                hint: Some(
                    "write `postgres://USER@HOST/DATABASE`, or `?host=/run/postgresql` for a socket",
                ),
                ..invalid("names no server")
            });
        }
        let password = password.map(ToOwned::to_owned).or_else(|| {
            let is_missing = config.get_password().is_none();
            if is_missing { std::env::var("PGPASSWORD").ok() } else { None }
        });
        if let Some(password) = password {
            config.password(password);
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(InvalidAddress {
                hint: Some("write `postgres://USER@HOST/DATABASE`"),
                ..invalid("names no user")
            });
        }
        let is_local = config.get_hosts().iter().all(is_local);
        let tls = tls.unwrap_or(if is_local { TlsMode::Off } else { TlsMode::Verified(None) });
        let mode = if tls == TlsMode::Off { SslMode::Disable } else { SslMode::Require };
        config
            .ssl_mode(mode)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(TCP_TIMEOUT)
            .keepalives_idle(TCP_TIMEOUT)
            // After a failover, the former primary is a standby, or will be one.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("tocsin");
        }
        Ok(Self {
            config,
            tls,
            connections: Self::CONNECTIONS,
            statement_timeout: Self::STATEMENT_TIMEOUT,
        })
    }

    /// Returns true if a server may be on another machine.
    pub fn is_remote(&self) -> bool {
        !self.config.get_hosts().iter().all(is_local)
    }

    /// Returns the name of the database.
    pub fn database(&self) -> &str {
        let user = || self.config.get_user().unwrap_or_default();
        self.config.get_dbname().unwrap_or_else(user)
    }
}

/// The address without its password.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.config.get_user().unwrap_or_default())?;
        let ports = self.config.get_ports();
        for (place, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
            if port != 5432 {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.database())
    }
}

fn invalid(message: impl Into<String>) -> InvalidAddress {
    InvalidAddress { message: message.into(), hint: None }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            name == "localhost" || name.parse().is_ok_and(|it: std::net::IpAddr| it.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// Takes the parameters for TLS out of a URL: the client library knows only some of their values.
fn take_tls(url: &str) -> Result<(String, Option<TlsMode>), InvalidAddress> {
    let Some((rest, query)) = url.split_once('?') else { return Ok((url.to_owned(), None)) };
    let (mut mode, mut root, mut others) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => root = Some(decoded(value)),
            // The host always wants to write.
            Some(("target_session_attrs", "read-write" | "any" | "primary")) => {}
            _ => others.push(pair),
        }
    }
    let tls = match (mode, root) {
        (None, None) => None,
        (Some("disable"), None) => Some(TlsMode::Off),
        (Some("require"), None) => Some(TlsMode::Unverified),
        (None | Some("verify-full"), root) => Some(TlsMode::Verified(root)),
        (Some("disable" | "require"), Some(_)) => {
            return Err(InvalidAddress {
                hint: Some("write `sslmode=verify-full`, or leave `sslrootcert` out"),
                ..invalid("names `sslrootcert`, which only `sslmode=verify-full` uses")
            });
        }
        (Some(other), _) => {
            return Err(InvalidAddress {
                hint: Some("write `sslmode=verify-full`, `require` or `disable`"),
                ..invalid(format!("asks for `sslmode={other}`, which this host does not support"))
            });
        }
    };
    let url =
        if others.is_empty() { rest.to_owned() } else { format!("{rest}?{}", others.join("&")) };
    Ok((url, tls))
}

fn decoded(value: &str) -> PathBuf {
    let text = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
    Path::new(&*text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<PostgresAddress, String> {
        PostgresAddress::parse(url, None).map_err(|error| error.to_string())
    }

    #[test]
    fn tls_is_verified_by_default_except_on_this_machine() {
        for (url, tls) in [
            ("postgres://tocsin@db1/tocsin", TlsMode::Verified(None)),
            ("postgres://tocsin@db1,localhost/tocsin", TlsMode::Verified(None)),
            ("postgres://tocsin@localhost/tocsin", TlsMode::Off),
            ("postgres://tocsin@127.0.0.1:5433/tocsin", TlsMode::Off),
            ("postgres://tocsin@[::1]/tocsin", TlsMode::Off),
            ("postgres://tocsin@/tocsin?host=/run/postgresql", TlsMode::Off),
            ("postgres://tocsin@%2Frun%2Fpostgresql/tocsin", TlsMode::Off),
            ("postgres://tocsin@localhost/tocsin?sslmode=verify-full", TlsMode::Verified(None)),
            ("postgres://tocsin@db1/tocsin?sslmode=disable", TlsMode::Off),
            ("postgres://tocsin@db1/tocsin?sslmode=require", TlsMode::Unverified),
            (
                "postgres://tocsin@db1/tocsin?sslrootcert=/etc/ca%20s.pem&connect_timeout=3",
                TlsMode::Verified(Some("/etc/ca s.pem".into())),
            ),
        ] {
            assert_eq!(parsed(url).map(|address| address.tls), Ok(tls), "{url}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address = parsed("postgres://tocsin:secret@db1:5433,db2/alerts").expect("a URL");
        assert_eq!(address.to_string(), "postgres://tocsin@db1:5433,db2/alerts");
        assert!(!format!("{address:?}").contains("secret"));
    }

    #[test]
    fn an_unusable_address_is_refused() {
        for (url, error) in [
            ("postgres://db1/tocsin", "names no user"),
            ("postgres://tocsin@/tocsin", "names no server"),
            (
                "postgres://tocsin@db1/tocsin?sslmode=prefer",
                "asks for `sslmode=prefer`, which this host does not support",
            ),
            (
                "postgres://tocsin@db1/tocsin?sslmode=require&sslrootcert=a",
                "names `sslrootcert`, which only `sslmode=verify-full` uses",
            ),
        ] {
            assert_eq!(parsed(url).map(drop), Err(error.into()), "{url}");
        }
        let error = parsed("postgres://tocsin@db1/tocsin?color=red").expect_err("unknown");
        assert!(error.starts_with("is not a URL of PostgreSQL: "), "{error}");
    }
}
