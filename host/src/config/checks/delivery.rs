//! Checks of `[delivery]`.

use std::{io::Read, path::Path};

use super::Checks;
use crate::{
    config::DeliveryConfig, outbound::ClientSettings, plugins::folder::regular_file,
    problem::Problem, system::file_permissions::HostUser,
};

/// Most bytes of a file of authorities. A whole system's authorities have some 300 KB.
const CA_FILE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

impl Checks<'_> {
    /// Returns the contents of `ca_file`.
    pub(super) fn check_delivery(
        &mut self,
        delivery: &DeliveryConfig,
        host: Option<&HostUser>,
    ) -> Option<Vec<u8>> {
        if delivery.retry.is_empty() {
            let hint = "leave it out for the default, or write `[\"5s\", \"30s\", \"2m\"]`";
            self.refuse(&["delivery", "retry"], "is empty", hint);
        }
        for (key, time) in [
            ("connect_timeout", delivery.connect_timeout),
            ("tls_timeout", delivery.tls_timeout),
            ("header_timeout", delivery.header_timeout),
            ("body_timeout", delivery.body_timeout),
        ] {
            if time.is_zero() {
                let hint = "leave it out for the default";
                self.refuse(&["delivery", key], "must be more than 0", hint);
            }
        }
        if let Some(url) = &delivery.proxy
            && let Err(problem) = ClientSettings::check_proxy(url)
        {
            self.refuse_problem(&["delivery", "proxy"], problem);
        }
        let file = self.document.beside(delivery.ca_file.as_ref()?);
        let read = authorities(&file, host);
        read.map_err(|problem| self.refuse_problem(&["delivery", "ca_file"], problem)).ok()
    }

    pub(super) fn refuse_problem(&mut self, key: &[&str], problem: Problem) {
        let Problem { message, hint, .. } = problem;
        self.refuse(key, message, &hint.unwrap_or_default());
    }
}

/// Reads and checks a file of authorities. Whoever can change the file could read all deliveries, so that
/// its permissions are checked as those of secrets.
pub(super) fn authorities(file: &Path, host: Option<&HostUser>) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot read `{}`: {error}", file.display());
        Problem::new("ca-file", message).with_hint("a path is relative to this file")
    };
    let opened = regular_file(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if let Some(host) = host {
        host.check_writers(file, &metadata)
            .map_err(|exposed| Problem::new("ca-file", exposed.message).with_hint(exposed.hint))?;
    }
    let mut pem = Vec::new();
    opened.take(CA_FILE_LIMIT_BYTES).read_to_end(&mut pem).map_err(unreadable)?;
    ClientSettings::check_authorities(&pem)?;
    Ok(pem)
}
