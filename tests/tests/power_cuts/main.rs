//! Power cuts: the states in which a cut can leave the disk of a host, at every point of a recorded
//! history. The host's store opens each of them, and keeps what was promised.

mod check;
mod checker;
mod cut;
mod disk;
mod histories;
mod promises;
mod recording;
mod trace;
