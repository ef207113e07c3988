//! The rules of the source text itself, one module per rule. No test here starts the host.

mod comments;
mod events;
mod imports;
mod invariants;
mod layers;
mod sources;
