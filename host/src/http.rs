//! The HTTP that both listeners share: connections and their limits, TLS, the address of a sender, request
//! ids, the hosts that news has passed through, and the JSON body of an error.
//!
//! Routes lie elsewhere: those of webhooks in [`ingest`](crate::ingest), those of the admin API in
//! [`api`](crate::api).

pub mod error;
pub mod hops;
pub mod request_id;
pub mod sender;
pub mod server;
pub(crate) mod tls;
