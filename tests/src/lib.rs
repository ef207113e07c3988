//! What the end-to-end tests share. It tests nothing itself.

pub mod libraries;
