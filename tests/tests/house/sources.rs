//! The sources of this workspace. Paths are relative to its root.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Returns the root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace")
}

/// Returns the Rust files below a folder, sorted.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> =
        entries.map(|entry| folder.join(entry.expect("an entry").file_name())).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if root().join(&path).is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
