//! Use of the operating system: files with their permissions and times, limits of the process, threads with
//! a timeout.
//!
//! Nothing here knows about alerts, plugins or the configuration.

pub(crate) mod fault_injection;
pub(crate) mod file_permissions;
pub(crate) mod file_stamp;
pub(crate) mod private_file;
pub(crate) mod process_limits;
pub(crate) mod process_usage;
pub(crate) mod timeout;
