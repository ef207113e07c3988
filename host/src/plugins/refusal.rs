//! The refusal of a file of the plugins folder.

use std::fmt;

use tocsin_plugin_api::manifest::Manifest;

use crate::problem::Problem;

/// The hint for a file that is no library.
pub(super) const BUILD_HINT: &str =
    "drop in the `.so` that `cargo build --release` made of a plugin";

/// The reason why this host refuses a file: the end of a sentence that starts with the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionRefusal {
    /// The fault and the remedy.
    pub problem: Problem,
    /// The manifest, if it could be read.
    pub manifest: Option<Box<Manifest>>,
}

impl AdmissionRefusal {
    pub(super) fn new(reason: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Problem::new("plugin-refused", reason.to_string()).with_hint(hint.to_string()).into()
    }

    /// Adds the manifest, if it is known.
    pub(super) fn of(self, manifest: Option<Manifest>) -> Self {
        Self { manifest: manifest.map(Box::new), ..self }
    }
}

impl From<Problem> for AdmissionRefusal {
    fn from(problem: Problem) -> Self {
        Self { problem, manifest: None }
    }
}

impl fmt::Display for AdmissionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.one_line())
    }
}

/// The refusal of a file that is no ELF file.
pub(super) fn not_elf(is_empty: bool) -> AdmissionRefusal {
    AdmissionRefusal::new(if is_empty { "is empty" } else { "is not an ELF file" }, BUILD_HINT)
}
