//! Check of the certificates of the listeners that speak TLS.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::output,
    config::{ConfigError, LoadedConfig},
};

/// Result of the check.
pub(super) struct Certificates {
    pub(super) expiries: Vec<CertificateExpiry>,
    /// Certificates that clients refuse now.
    pub(super) errors: Vec<ConfigError>,
    /// Certificates that have to be renewed soon.
    pub(super) warnings: Vec<ConfigError>,
}

/// Certificate of a listener, and its last moment.
#[derive(Serialize)]
pub(super) struct CertificateExpiry {
    /// Section of the listener: `server` or `admin`.
    listener: &'static str,
    /// The file, as the configuration names it.
    path: PathBuf,
    /// Last moment at which clients accept the certificate.
    expires_at: Timestamp,
    /// Whole days until then, negative if they are past.
    days_left: i64,
}

/// Checks the age of each certificate.
pub(super) fn check(config: &LoadedConfig, now: Timestamp) -> Certificates {
    let mut found = Certificates { expiries: Vec::new(), errors: Vec::new(), warnings: Vec::new() };
    for certificate in config.certificates(now) {
        found.expiries.push(CertificateExpiry {
            listener: certificate.listener.section(),
            path: certificate.path,
            expires_at: certificate.expires_at,
            days_left: certificate.expires_at.duration_since(now).as_hours().div_euclid(24),
        });
        let problems = if certificate.is_invalid { &mut found.errors } else { &mut found.warnings };
        problems.extend(certificate.problem);
    }
    found
}

/// Prints when each certificate expires.
pub(super) fn print(expiries: &[CertificateExpiry]) -> anyhow::Result<()> {
    for CertificateExpiry { listener, path, expires_at, days_left } in expiries {
        let left = match days_left {
            1 => "in 1 day".into(),
            days if *days < 0 => "which is past".into(),
            days => format!("in {days} days"),
        };
        output::print_line(&format!(
            "`{listener}.tls`: the certificate in `{}` expires at {expires_at:.0}, {left}",
            path.display()
        ))?;
    }
    Ok(())
}
