//! Refuses plugins that others than root and the host's user could change, unless the operator allows
//! it. The module `file_permissions` finds out who could.

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
};

use super::super::{
    folder::{Folder, OpenFile},
    refusal::AdmissionRefusal,
};
use crate::system::file_permissions::{Exposed, HostUser, Writer};

/// The name under which the plugins folder itself is allowed.
const FOLDER: &str = ".";

/// The user of the host, and the names that others may change all the same.
#[derive(Debug)]
pub struct Permissions {
    host: HostUser,
    allowed: Vec<String>,
}

impl Permissions {
    /// Uses the user of this process. `allowed` holds names of files in the plugins folder, or
    /// `.` for the folder.
    pub fn of_this_process(allowed: &[String]) -> Self {
        Self { host: HostUser::of_this_process(), allowed: allowed.to_vec() }
    }

    /// Checks the plugins folder.
    ///
    /// # Errors
    ///
    /// If others could add or remove files, and that is not allowed.
    pub fn check_folder(&self, path: &Path, metadata: &Metadata) -> Result<(), Exposed> {
        let writer = self.host.writer(metadata).filter(|_| !self.allows(FOLDER));
        writer.map_or(Ok(()), |writer| {
            Err(Exposed {
                message: format!("the plugins folder `{}` {writer}", path.display()),
                hint: format!(
                    "{}, or add `{FOLDER}` to `plugins.allow_writable_by_others`",
                    writer.remedy(path)
                ),
            })
        })
    }

    /// Checks the lock file, for which there is no exception: without a trusted lock file, checksums
    /// protect nothing.
    ///
    /// # Errors
    ///
    /// If others could change the lock file.
    pub fn check_lock_file(&self, path: &Path, metadata: &Metadata) -> Result<(), Exposed> {
        self.host.writer(metadata).map_or(Ok(()), |writer| {
            Err(Exposed {
                message: format!("the lock file `{}` {writer}", path.display()),
                hint: writer.remedy(path),
            })
        })
    }

    /// Checks a file of the plugins folder, and the [folders below](Folder::folders_below) that a
    /// symlink leads through.
    ///
    /// # Errors
    ///
    /// If others could change the file, and its name is not allowed.
    pub fn check_file(&self, folder: &Folder, file: &OpenFile) -> Result<(), AdmissionRefusal> {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        if self.allows(&name) {
            return Ok(());
        }
        let refuse = |writer: Writer, what: String, path: &Path| {
            let remedy = writer.remedy(path);
            let hint = format!("{remedy}, or add `{name}` to `plugins.allow_writable_by_others`");
            Err(AdmissionRefusal::new(format!("{what}{writer}"), hint))
        };
        if let Some(writer) = self.host.writer(&file.metadata) {
            return refuse(writer, String::new(), &file.path);
        }
        let below = folder.folders_below(file).map_err(|error| {
            AdmissionRefusal::new(format!("cannot be read: {error}"), "let the host's user read it")
        })?;
        let exposed = |(path, metadata): (PathBuf, Metadata)| {
            self.host.writer(&metadata).map(|writer| (path, writer))
        };
        match below.into_iter().find_map(exposed) {
            Some((path, writer)) => {
                refuse(writer, format!("is a symlink into `{}`, which ", path.display()), &path)
            }
            None => Ok(()),
        }
    }

    fn allows(&self, name: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == name)
    }
}
