//! Limits that keep one sender, client or log line from taking what others need.
//!
//! [`reached`] counts and reports limits that were reached. The limits are applied where the resource is
//! used.

pub mod body_memory;
pub mod line_limit;
pub mod rate_limit;
pub mod reached;
pub mod subscriber;
