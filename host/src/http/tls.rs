//! TLS of a listener: a certificate with its key, and the validity that the certificate states.
//!
//! Files, their paths and their permissions are the matter of [`config`](crate::config).

mod validity;

use std::{fmt, sync::Arc};

use rustls::{
    InconsistentKeys, ServerConfig,
    client::verify_server_name,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject as _},
    server::ParsedCertificate,
};
use sha2::{Digest, Sha256};

pub(crate) use self::validity::Validity;

/// The only protocol above TLS that the listeners speak.
const ALPN: &[u8] = b"http/1.1";

/// A certificate with its key, ready to serve TLS.
#[derive(Clone)]
pub(crate) struct ServerTls {
    /// Settings of a connection: TLS 1.2 or later, HTTP/1.1.
    pub(crate) config: Arc<ServerConfig>,
    /// The times between which the certificate is valid.
    pub(crate) validity: Validity,
    certificate: CertificateDer<'static>,
    /// SHA-256 of both files.
    digest: [u8; 32],
}

/// Error of a certificate or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// The file of the certificate cannot be used: the reason, and a remedy.
    Certificate(String, &'static str),
    /// The file of the key cannot be used: the reason, and a remedy.
    Key(String, &'static str),
}

impl ServerTls {
    /// Reads a certificate with the certificates of its authorities, and its private key, both in PEM format.
    /// An expired certificate is no error.
    ///
    /// # Errors
    ///
    /// [`TlsFault`] if either is missing or unreadable, or the key does not belong to the certificate.
    pub(crate) fn new(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsFault> {
        let chain = chain(certificate_pem)?;
        let key =
            PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| no_key(&error, key_pem))?;
        let unreadable = |reason: String| {
            TlsFault::Certificate(
                format!("holds a certificate that cannot be read: {reason}"),
                "the file must hold certificates in PEM format",
            )
        };
        let certificate = chain.first().cloned().ok_or_else(no_certificate)?;
        let validity = Validity::of(&certificate)
            .ok_or_else(|| unreadable("it does not say how long it is valid".into()))?;
        ParsedCertificate::try_from(&certificate).map_err(|error| unreadable(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unreadable(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsFault::Key(
                    "holds the key of another certificate".into(),
                    "write the certificate and the key that were made together",
                ),
                error => TlsFault::Key(
                    format!("holds a key that cannot be used: {error}"),
                    "use an ECDSA key (P-256, P-384), an Ed25519 key, or an RSA key of 2048 to 8192 bits",
                ),
            })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let mut digest = Sha256::new();
        digest.update(Sha256::digest(certificate_pem));
        digest.update(Sha256::digest(key_pem));
        let digest = digest.finalize().into();
        Ok(Self { config: Arc::new(config), validity, certificate, digest })
    }

    /// Returns true if the certificate was issued for a name or an IP address.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        let Ok(name) = ServerName::try_from(name) else { return false };
        ParsedCertificate::try_from(&self.certificate)
            .is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }
}

/// Equal means that the files had the same bytes.
impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("validity", &self.validity).finish_non_exhaustive()
    }
}

/// Returns the certificates of a PEM text, the listener's own first.
///
/// # Errors
///
/// [`TlsFault::Certificate`] if there is none, or one that is no PEM.
pub(crate) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| {
        TlsFault::Certificate(
            format!("cannot be read: {error}"),
            "the file must hold certificates in PEM format",
        )
    })?;
    if chain.is_empty() { Err(no_certificate()) } else { Ok(chain) }
}

fn no_certificate() -> TlsFault {
    TlsFault::Certificate(
        "holds no certificate".into(),
        "the file must hold the certificate of this host in PEM format, and after it those of its \
         authorities",
    )
}

/// Describes a file without a key. The error of the PEM reader is left out if it could repeat a line of the
/// file.
fn no_key(error: &pem::Error, pem: &[u8]) -> TlsFault {
    const ENCRYPTED: &[u8] = b"ENCRYPTED PRIVATE KEY-----";
    if pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        return TlsFault::Key(
            "holds a key that is protected by a passphrase".into(),
            "write the key without a passphrase, in a file that only the host's user can read",
        );
    }
    let reason = match error {
        pem::Error::NoItemsFound => "holds no private key",
        _ => "is no complete PEM file",
    };
    TlsFault::Key(reason.into(), "the file must hold one private key in PEM format")
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// Makes a certificate and its key in PEM format, valid to the end of a year.
    pub(crate) fn pair(name: &str, year: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        (certificate, key.serialize_pem())
    }

    fn fault(certificate: &str, key: &str) -> String {
        match ServerTls::new(certificate.as_bytes(), key.as_bytes()).expect_err("a fault") {
            TlsFault::Certificate(reason, _) => format!("certificate {reason}"),
            TlsFault::Key(reason, _) => format!("key {reason}"),
        }
    }

    #[test]
    fn reads_a_certificate_with_its_key() {
        let (certificate, key) = pair("alerts.example.com", 2060);
        let tls = ServerTls::new(certificate.as_bytes(), key.as_bytes()).expect("a pair");
        assert_eq!(tls.validity.from.to_string(), "2000-01-01T00:00:00Z");
        assert_eq!(tls.validity.until.to_string(), "2060-12-31T00:00:00Z");
        assert!(tls.is_for("alerts.example.com"));
        assert!(!tls.is_for("other.example.com") && !tls.is_for("") && !tls.is_for("127.0.0.1"));
        assert!(!format!("{tls:?}").contains("key"), "{tls:?}");
        let (certificate, key) = pair("127.0.0.1", 2001);
        let expired = ServerTls::new(certificate.as_bytes(), key.as_bytes()).expect("a pair");
        assert!(expired.is_for("127.0.0.1") && expired != tls);
    }

    #[test]
    fn says_which_of_the_two_files_is_wrong() {
        let ((certificate, key), (_, other)) = (pair("a.example", 2060), pair("a.example", 2060));
        let cases = [
            (fault(&certificate, &other), "key holds the key of another certificate"),
            (fault(&certificate, ""), "key holds no private key"),
            (fault(&certificate, &certificate), "key holds no private key"),
            (fault("", &key), "certificate holds no certificate"),
            (fault(&key, &key), "certificate holds no certificate"),
            (fault(&certificate, &key[..key.len() - 40]), "key is no complete PEM file"),
            (
                fault(&certificate, &key.replace("PRIVATE", "ENCRYPTED PRIVATE")),
                "key holds a key that is protected by a passphrase",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
        let cut = fault(&certificate[..certificate.len() / 2], &key);
        assert!(cut.starts_with("certificate cannot be read: missing section end"), "{cut}");
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let empty = fault(empty, &key);
        assert!(
            empty.starts_with("certificate holds a certificate that cannot be read"),
            "{empty}"
        );
    }
}
