//! The hosts that share a store: which of them does what.
//!
//! The [store](crate::store::duties) decides who holds a duty. A [`Post`](post::Post) asks for a duty, renews
//! its lease in time, and tells those who do the work.

pub(crate) mod post;
#[cfg(test)]
pub(crate) mod pretended;
