//! Checks of `[tracing]`.

use http::{HeaderName, HeaderValue, Uri};

use super::{Checks, delivery::authorities};
use crate::{
    config::Tracing,
    outbound::{self, OF_CONNECTION},
    problem::Problem,
    system::file_permissions::HostUser,
};

/// Longest name of a service.
const LONGEST_NAME: usize = 255;
/// Port that receivers use for OTLP over gRPC.
const PORT_OF_GRPC: u16 = 4317;

impl Checks<'_> {
    /// Checks [`Tracing`], and returns the contents of `ca_file`.
    pub(super) fn check_tracing(
        &mut self,
        tracing: &Tracing,
        host: Option<&HostUser>,
    ) -> Option<Vec<u8>> {
        if let Some(url) = &tracing.endpoint {
            self.check_endpoint(url);
        }
        let ratio = &tracing.sample_ratio;
        let words = ("must be from 0 to 1", "leave it out for 1, a trace of every request");
        self.check_range(&["tracing", "sample_ratio"], ratio, &(0.0..=1.0), words);
        if tracing.timeout.is_zero() {
            let hint = "leave it out for the default";
            self.refuse(&["tracing", "timeout"], "must be more than 0", hint);
        }
        if !(1..=LONGEST_NAME).contains(&tracing.service_name.len()) {
            let message = format!("must have 1 to {LONGEST_NAME} bytes");
            self.refuse(&["tracing", "service_name"], message, "leave it out for `tocsin`");
        }
        for (name, value) in &tracing.headers {
            let key = ["tracing", "headers", name];
            let lower = name.to_ascii_lowercase();
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                let hint = "write a name such as `authorization`";
                self.refuse(&key, "is not the name of a header", hint);
            } else if OF_CONNECTION.contains(&&*lower) || lower.starts_with("content-") {
                self.refuse(&key, "is a header that the host itself sets", "remove it");
            } else if HeaderValue::from_str(value.expose()).is_err() {
                let hint = "a value has only printable characters of ASCII";
                self.refuse(&key, "has a value that no header can have", hint);
            }
        }
        let file = self.document.beside(tracing.ca_file.as_ref()?);
        let read = authorities(&file, host);
        read.map_err(|problem| self.refuse_problem(&["tracing", "ca_file"], problem)).ok()
    }

    /// Checks the URL. No message repeats it, since it may hold a password.
    fn check_endpoint(&mut self, url: &str) {
        const KEY: [&str; 2] = ["tracing", "endpoint"];
        const HINT: &str = "write the whole URL, such as `http://127.0.0.1:4318/v1/traces`";
        let uri = match url.parse::<Uri>() {
            Ok(uri) => uri,
            Err(_) => return self.refuse(&KEY, "is not a URL", HINT),
        };
        if let Err(Problem { message, hint, .. }) = outbound::check_receiver(&uri) {
            return self.refuse(&KEY, message, &hint.unwrap_or_else(|| HINT.into()));
        }
        if uri.port_u16() == Some(PORT_OF_GRPC) {
            let message =
                "4317 is the usual port for OTLP over gRPC, which the host does not speak";
            let hint =
                "receivers listen for OTLP over HTTP on port 4318, with the path `/v1/traces`";
            self.warnings.push(self.document.error_at(&KEY, message).hint(hint));
        } else if uri.path() == "/" {
            let message = "the URL has no path, while receivers expect traces at `/v1/traces`";
            self.warnings.push(self.document.error_at(&KEY, message).hint(HINT));
        }
    }
}
