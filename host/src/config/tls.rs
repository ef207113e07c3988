//! `[server.tls]` and `[admin.tls]`: the certificate and the key of a listener.

use std::{path::PathBuf, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Config, ConfigError, LoadedConfig};
use crate::http::tls::{ServerTls, Validity};

/// `[server.tls]` or `[admin.tls]`: the certificate and the key of a listener.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// File with the certificate in PEM format, and after it those of its authorities. Required.
    pub certificate: PathBuf,
    /// File with the private key in PEM format. Required.
    pub key: PathBuf,
    /// Contents of both files, as they were checked.
    #[serde(skip)]
    pub pair: Option<Arc<ServerTls>>,
}

/// A section with a listener, for messages and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// `[server]`: webhooks.
    Server,
    /// `[admin]`: the API.
    Admin,
}

impl Listener {
    /// Returns the name of the section.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Admin => "admin",
        }
    }
}

impl Config {
    /// Stores the pairs that the checks have read.
    pub(super) fn put_pairs(
        &mut self,
        server: Option<Arc<ServerTls>>,
        admin: Option<Arc<ServerTls>>,
    ) {
        for (tls, pair) in [(&mut self.server.tls, server), (&mut self.admin.tls, admin)] {
            if let Some(tls) = tls {
                tls.pair = pair;
            }
        }
    }

    /// Returns the listeners that speak TLS.
    pub(crate) fn tls(&self) -> impl Iterator<Item = (Listener, &Tls)> {
        let server = self.server.tls.iter().map(|tls| (Listener::Server, tls));
        server.chain(self.admin.tls.iter().map(|tls| (Listener::Admin, tls)))
    }
}

/// Time before its end in which a certificate has to be renewed.
const RENEWAL: SignedDuration = SignedDuration::from_hours(14 * 24);

/// A certificate of a listener at one moment.
pub(crate) struct CertificateState {
    /// The listener.
    pub listener: Listener,
    /// The file, as the configuration names it.
    pub path: PathBuf,
    /// The last moment at which the certificate is valid.
    pub expires_at: Timestamp,
    /// True if the certificate is not valid now, so that clients refuse it.
    pub is_invalid: bool,
    /// The error or the warning about its age, if there is one.
    pub problem: Option<ConfigError>,
}

impl LoadedConfig {
    /// Judges the age of each certificate.
    pub(crate) fn certificates(&self, now: Timestamp) -> Vec<CertificateState> {
        let states = self.config.tls().filter_map(|(listener, tls)| {
            let Validity { from, until } = tls.pair.as_ref()?.validity;
            let path = tls.certificate.display();
            let problem = if until < now {
                Some((format!("the certificate in `{path}` expired at {until:.0}"), "renew it"))
            } else if from > now {
                let message = format!("the certificate in `{path}` is not valid before {from:.0}");
                Some((message, "check the clock of this machine"))
            } else if until.duration_since(now) < RENEWAL {
                let message = format!("the certificate in `{path}` expires at {until:.0}");
                Some((message, "renew it; a running host takes up the new files by itself"))
            } else {
                None
            };
            let key = [listener.section(), "tls", "certificate"];
            let problem =
                problem.map(|(message, hint)| self.document.error_at(&key, message).hint(hint));
            Some(CertificateState {
                listener,
                path: tls.certificate.clone(),
                expires_at: until,
                is_invalid: until < now || from > now,
                problem,
            })
        });
        states.collect()
    }
}
