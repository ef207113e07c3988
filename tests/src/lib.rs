//! Shared code of the end-to-end tests: a host in its own process, an HTTP client, the libraries to
//! load.

pub mod http;
pub mod libraries;
pub mod loopback;
pub mod proxy;
pub mod receiver;
pub mod slack;
pub mod store;
pub mod test_host;
pub mod wait;

pub use test_host::{Finished, Site, TestHost};
