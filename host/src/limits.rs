//! Limits that keep one sender, client or log line from taking what others need.
//!
//! [`reached`] counts and reports limits that were reached. The limits are applied where the resource is
//! used.

pub(crate) mod body_memory;
pub(crate) mod line_limit;
pub(crate) mod rate_limit;
pub(crate) mod reached;
pub(crate) mod subscriber;
