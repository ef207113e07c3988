//! Tests with hostile servers.
