//! The hosts that share a store: which of them does what, and how they differ.
//!
//! The [store](crate::store::duties) decides who holds a duty. A [`Post`](post::Post) asks for a duty, renews
//! its lease in time, and tells those who do the work. The [`heartbeat`] reports this host to the store, and
//! compares it with the others.

pub(crate) mod differences;
pub(crate) mod heartbeat;
pub(crate) mod post;
#[cfg(test)]
pub(crate) mod pretended;
mod report;
