//! Reason and result of a reload, as all who ask for one see them.

use crate::config::change::ConfigChange;

/// Reason for a reload. The greater one wins when several callers share a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReloadReason {
    /// A file changed. Plugins that failed before are not tried again unless their file changed. The
    /// file may be cut off, so that a configuration without integrations is refused.
    FileChanged,
    /// An operator asked, with SIGHUP, `tocsin reload` or the API. Everything is tried again.
    Requested,
}

/// The changes that a reload made. The error is one sentence; the host then stays unchanged.
pub(crate) type ReloadResult = Result<Vec<ConfigChange>, String>;

/// The sentence for a reload that panicked.
pub(crate) const PANICKED: &str = "the reload panicked; hint: report it, with the log";
