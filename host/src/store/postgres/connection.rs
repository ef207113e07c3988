//! Connections to the server, and the pools that keep them.

use std::{fs, future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context;
use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{PostgresAddress, TlsMode};

/// Longest wait for a free connection of a pool.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A connection of a pool.
pub(super) type Connection = Object;

/// Opens connections, with TLS or without it.
#[derive(Clone)]
pub(super) struct Connector(Option<MakeRustlsConnect>);

impl Connector {
    /// Makes the connector of an address.
    ///
    /// # Errors
    ///
    /// If the file of authorities cannot be used.
    pub(super) fn new(address: &PostgresAddress) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?;
        let config = match &address.tls {
            TlsMode::Off => return Ok(Self(None)),
            TlsMode::Unverified => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
                .with_no_client_auth(),
            TlsMode::Verified(file) => {
                let mut roots = RootCertStore::empty();
                match file {
                    None => {
                        let system = rustls_native_certs::load_native_certs();
                        roots.add_parsable_certificates(system.certs);
                    }
                    Some(file) => {
                        let unusable = || format!("cannot use `sslrootcert`, `{}`", file.display());
                        let pem = fs::read(file).with_context(unusable)?;
                        for certificate in CertificateDer::pem_slice_iter(&pem) {
                            roots
                                .add(certificate.with_context(unusable)?)
                                .with_context(unusable)?;
                        }
                        anyhow::ensure!(
                            !roots.is_empty(),
                            "{}: it holds no certificate",
                            unusable()
                        );
                    }
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        Ok(Self(Some(MakeRustlsConnect::new(config))))
    }

    /// Opens a [`Connection`], and serves it in a task of the runtime.
    async fn open(self, config: Config) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        // The end of a connection is seen by the next statement.
        Ok(match self.0 {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls).await?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
        })
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<
        Box<
            dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>>
                + Send
                + '_,
        >,
    > {
        Box::pin(self.clone().open(config.clone()))
    }
}

/// Makes a pool of at most that many connections. They are opened when they are needed.
///
/// # Errors
///
/// Does not happen: the pool has the runtime that its time limits need.
pub(super) fn pool(
    address: &PostgresAddress,
    connector: Connector,
    size: usize,
) -> anyhow::Result<Pool> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_connect(address.config.clone(), connector, recycling);
    Ok(Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(LONGEST_WAIT))
        .create_timeout(Some(LONGEST_WAIT))
        .build()?)
}

/// Returns an error of a pool as one of a statement, or a sentence.
pub(super) fn refused(error: PoolError) -> super::failure::Failure {
    use super::failure::Failure;
    match error {
        PoolError::Backend(error) => error.into(),
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => {
            Failure::Away("all connections to PostgreSQL are busy".into())
        }
        PoolError::Timeout(_) => Failure::Away("PostgreSQL does not answer".into()),
        PoolError::Closed => Failure::Closed,
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            Failure::Away(error.to_string())
        }
    }
}

/// Takes every certificate, for `sslmode=require`. Signatures are verified, so that the server has the key of its
/// certificate.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
