//! What the end-to-end tests share. It tests nothing itself.

pub mod http;
pub mod libraries;
pub mod test_host;
pub mod wait;

pub use test_host::{Finished, Site, TestHost};
