//! The settings of TLS: the authorities that are trusted, and the versions.

use std::sync::Arc;

use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
};

use crate::{
    outbound::target::{Host, Target},
    problem::Problem,
};

/// Makes the settings of TLS. The system's authorities are trusted, and those of `ca_pem`.
///
/// # Errors
///
/// `ca_pem` holds no certificate, or one that cannot be read.
pub(super) fn client_config(ca_pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, Problem> {
    let mut roots = RootCertStore::empty();
    // A system without authorities is no error: receivers may have certificates of `ca_pem` only.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca_pem {
        add_authorities(&mut roots, pem)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::new("tls", format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Returns the name that the certificate of a receiver must have.
pub(super) fn server_name(target: &Target) -> Result<ServerName<'static>, InvalidDnsNameError> {
    match &target.host {
        Host::Name(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned()),
        Host::Address(address) => Ok((*address).into()),
    }
}

/// Returns the version of TLS as people write it.
pub(super) fn version(version: Option<ProtocolVersion>) -> String {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".into(),
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".into(),
        other => format!("{other:?}"),
    }
}

/// Adds the certificates of a PEM text.
pub(super) fn add_authorities(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), Problem> {
    let unreadable = |reason: String| {
        Problem::new("ca-file", format!("cannot use the file of authorities: {reason}"))
            .with_hint("the file must hold certificates in PEM format")
    };
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.len() == before {
        return Err(unreadable("it holds no certificate".into()));
    }
    Ok(())
}
