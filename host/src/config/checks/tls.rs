//! Checks of `[server.tls]` and `[admin.tls]`.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Checks;
use crate::{
    config::{
        Server,
        tls::{Listener, Tls},
    },
    http::tls::{ServerTls, TlsFault},
    plugins::folder::regular_file,
    problem::Problem,
    system::file_permissions::{HostUser, Reader},
};

/// Most bytes of a certificate with those of its authorities, or of a key.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

impl Checks<'_> {
    /// Reads the certificate and the key of a listener. Returns none if the listener has none, or they cannot
    /// be used.
    pub(super) fn check_tls(
        &mut self,
        listener: Listener,
        tls: Option<&Tls>,
        host: Option<&HostUser>,
    ) -> Option<Arc<ServerTls>> {
        let (section, Tls { certificate, key, .. }) = (listener.section(), tls?);
        let is_missing = |path: &PathBuf| path.as_os_str().is_empty();
        if is_missing(certificate) || is_missing(key) {
            let message = match (is_missing(certificate), is_missing(key)) {
                (false, true) => "names a certificate without its key",
                (true, false) => "names a key without its certificate",
                _ => "names no certificate and no key",
            };
            let hint =
                "write both, such as `tls = { certificate = \"tls.crt\", key = \"tls.key\" }`";
            self.refuse(&[section, "tls"], message, hint);
            return None;
        }
        let certificate = self.read_tls_file(section, "certificate", certificate, host);
        let key = self.read_tls_file(section, "key", key, host);
        let ((certificate, _), (key, reader)) = (certificate?, key?);
        if let Some(reader) = reader {
            let path = &tls?.key;
            let message = format!("the secret in `{}` {reader}", path.display());
            let place = self.document.error_at(&[section, "tls", "key"], message);
            self.warnings.push(place.hint(reader.remedy(&self.document.beside(path))));
        }
        let (name, path, reason, hint) = match ServerTls::new(&certificate, &key) {
            Ok(pair) => return Some(Arc::new(pair)),
            Err(TlsFault::Certificate(reason, hint)) => {
                ("certificate", &tls?.certificate, reason, hint)
            }
            Err(TlsFault::Key(reason, hint)) => ("key", &tls?.key, reason, hint),
        };
        self.refuse(&[section, "tls", name], format!("`{}` {reason}", path.display()), hint);
        None
    }

    /// Warns if senders would refuse the certificate, because it is for another name than that of
    /// `public_url`.
    pub(super) fn check_tls_name(&mut self, server: &Server, pair: Option<&ServerTls>) {
        let url = server.public_url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
        let (Some(pair), Some(name)) = (pair, url.as_ref().and_then(http::Uri::host)) else {
            return;
        };
        let name = name.trim_matches(['[', ']']);
        if !pair.is_for(name) {
            let message = format!(
                "the certificate of `server.tls` is not for `{name}`, so that senders will refuse it"
            );
            let place = self.document.error_at(&["server", "public_url"], message);
            let hint = "unless a proxy has that name, get a certificate with it";
            self.warnings.push(place.hint(hint));
        }
    }

    /// Reads a file, and returns its contents and a user who can read it, besides the host's own.
    fn read_tls_file(
        &mut self,
        section: &str,
        key: &str,
        path: &Path,
        host: Option<&HostUser>,
    ) -> Option<(Vec<u8>, Option<Reader>)> {
        if path.to_string_lossy().starts_with("-----BEGIN") {
            let hint = "write the path itself, such as `\"tls.key\"`, not { file = \"tls.key\" }";
            self.refuse(&[section, "tls", key], "is the content of a file", hint);
            return None;
        }
        let file = self.document.beside(path);
        match read(&file, host) {
            Ok(read) => Some(read),
            Err(Problem { message, hint, .. }) => {
                self.refuse(&[section, "tls", key], message, &hint.unwrap_or_default());
                None
            }
        }
    }
}

/// Reads a file that only root and the host's user may change.
fn read(file: &Path, host: Option<&HostUser>) -> Result<(Vec<u8>, Option<Reader>), Problem> {
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot read `{}`: {error}", file.display());
        Problem::new("tls-file", message).with_hint("a path is relative to this file")
    };
    let opened = regular_file(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if let Some(host) = host {
        host.check_writers(file, &metadata)
            .map_err(|exposed| Problem::new("tls-file", exposed.message).with_hint(exposed.hint))?;
    }
    let mut contents = Vec::new();
    opened.take(FILE_LIMIT_BYTES).read_to_end(&mut contents).map_err(unreadable)?;
    Ok((contents, host.and_then(|host| host.reader(&metadata))))
}
