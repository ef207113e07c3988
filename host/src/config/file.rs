//! Reading a [`Document`] from the configuration file, and the errors if that fails.

use std::{
    fs::Metadata,
    io::Read,
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
#[error("cannot read the configuration `{}`: {}", path.display(), with_hint(error))]
pub(crate) struct UnreadableConfig {
    path: PathBuf,
    error: std::io::Error,
}

fn with_hint(error: &std::io::Error) -> String {
    if Problem::in_io_error(error).is_some_and(|problem| problem.hint.is_some()) {
        return error.to_string();
    }
    format!("{error}\nhint: name it with `--config FILE`, or in the environment as TOCSIN_CONFIG")
}

/// Error of a configuration file that users other than root and the host's own can change.
#[derive(Debug, thiserror::Error)]
#[error("the configuration {}\nhint: {}", .0.message, .0.hint)]
pub(crate) struct ExposedConfig(pub(super) Exposed);
