//! Addresses of a name.

use std::{io, net::IpAddr, pin::Pin, sync::Arc};

use tokio::net::lookup_host;

/// Future of [`Resolve::addresses`].
pub(crate) type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// A source of the addresses of a name. Tests have their own.
pub(crate) trait Resolve: Send + Sync {
    /// Returns the addresses of a name, in the order in which they should be tried.
    fn addresses(&self, name: &str) -> Addresses;
}

/// The resolver of the system.
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn addresses(&self, name: &str) -> Addresses {
        let name = name.to_owned();
        Box::pin(async move {
            let found = lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A resolver that is shared by all clones of a client.
pub(super) type SharedResolver = Arc<dyn Resolve>;
