//! Reading a [`Document`] from the configuration file, and the errors if that fails.

use std::{
    fs::Metadata,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::Document;
use crate::{plugins::folder::regular_file, problem::Problem, system::file_permissions::Exposed};

/// Reads a configuration file without checking its text.
///
/// # Errors
///
/// If the file cannot be read, or is not a regular file. A pipe is refused since a read might wait for
/// ever, and gives its contents only once.
pub(crate) fn read(path: &Path) -> Result<Document, UnreadableConfig> {
    Ok(read_file(path)?.0)
}

pub(super) fn read_file(path: &Path) -> Result<(Document, Metadata), UnreadableConfig> {
    let mut text = String::new();
    let read = regular_file(path).and_then(|mut file| {
        file.read_to_string(&mut text)?;
        file.metadata()
    });
    match read {
        Ok(metadata) => Ok((Document::new(path, text), metadata)),
        Err(error) => Err(UnreadableConfig { path: path.to_owned(), error }),
    }
}

/// Error of a configuration file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the configuration `{}`: {}\nhint: {}", path.display(), reason(error), hint(error, OTHER_FILE))]
pub(crate) struct UnreadableConfig {
    path: PathBuf,
    error: io::Error,
}

const OTHER_FILE: &str = "name it with `--config FILE`, or in the environment as TOCSIN_CONFIG";

/// Returns the reason why a file cannot be read: the system's, where it has one.
pub(super) fn reason(error: &io::Error) -> String {
    match (Problem::in_io_error(error), error.kind()) {
        (Some(problem), _) => problem.message.clone(),
        (None, io::ErrorKind::InvalidData) => "it is not text in UTF-8".into(),
        (None, _) => error.to_string(),
    }
}

/// Returns the remedy for a file that cannot be read. `missing` is the one for a file that is not there.
pub(super) fn hint(error: &io::Error, missing: &str) -> String {
    let own = Problem::in_io_error(error).and_then(|problem| problem.hint.clone());
    own.unwrap_or_else(|| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            format!("let the user with the id {user} read it, and enter the folders above it")
        }
        io::ErrorKind::InvalidData => "save it again as UTF-8, or name another file".into(),
        _ => missing.into(),
    })
}

/// Error of a configuration file that users other than root and the host's own can change.
#[derive(Debug, thiserror::Error)]
#[error("the configuration {}\nhint: {}", .0.message, .0.hint)]
pub(crate) struct ExposedConfig(pub(super) Exposed);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_the_system_chooses_the_hint() {
        let said = |error: io::Error| (reason(&error), hint(&error, "name another file"));
        let (reason, hint) = said(io::ErrorKind::PermissionDenied.into());
        assert_eq!(reason, "permission denied");
        assert!(hint.starts_with("let the user with the id "), "{hint}");
        let (reason, hint) = said(io::ErrorKind::NotFound.into());
        assert_eq!((&*reason, &*hint), ("entity not found", "name another file"));
        let problem = Problem::new("no-proc", "`/proc` is not mounted").with_hint("mount it");
        let (reason, hint) = said(problem.into());
        assert_eq!((&*reason, &*hint), ("`/proc` is not mounted", "mount it"));
    }
}
