//! Who could change a file: nobody but root and the host's own user should.
//!
//! It sees owner, group and mode. Who is in a group, and what access control lists add, it does not
//! ask.

use std::{
    fmt,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::{getegid, geteuid};

use super::super::{
    admission::Refusal,
    folder::{Folder, OpenFile},
};

const ROOT: u32 = 0;
/// Bits of a mode.
const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_ALL: u32 = 0o002;

/// The name under which the plugins folder itself is allowed.
const FOLDER: &str = ".";

/// Who the host is, and what of the plugins folder others may change all the same.
#[derive(Debug)]
pub struct Permissions {
    user: u32,
    group: u32,
    allowed: Vec<String>,
}

/// Something that others could change: what it is, and what to do about it.
#[derive(Debug)]
pub struct Exposed {
    /// A whole sentence.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Who could change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exposure {
    Owner(u32),
    Everybody,
    Group(u32),
}

impl Permissions {
    /// Those of this process. `allowed` are names of files in the plugins folder, or `.` for itself.
    pub fn of_this_process(allowed: &[String]) -> Self {
        Self { user: geteuid().as_raw(), group: getegid().as_raw(), allowed: allowed.to_vec() }
    }

    /// Checks the plugins folder.
    ///
    /// # Errors
    ///
    /// Where others could drop files in or take them away, and it is not allowed.
    pub fn check_folder(&self, path: &Path, metadata: &Metadata) -> Result<(), Exposed> {
        let exposure = self.exposure(metadata).filter(|_| !self.allows(FOLDER));
        exposure.map_or(Ok(()), |exposure| {
            Err(Exposed {
                message: format!("the plugins folder `{}` {exposure}", path.display()),
                hint: format!(
                    "{}, or add `{FOLDER}` to `plugins.allow_writable_by_others`",
                    exposure.remedy(path)
                ),
            })
        })
    }

    /// Checks the lock file. It can't be allowed: whoever could change it could as well not ask for
    /// checksums.
    ///
    /// # Errors
    ///
    /// Where others could change it.
    pub fn check_lock_file(&self, path: &Path, metadata: &Metadata) -> Result<(), Exposed> {
        self.exposure(metadata).map_or(Ok(()), |exposure| {
            Err(Exposed {
                message: format!("the lock file `{}` {exposure}", path.display()),
                hint: exposure.remedy(path),
            })
        })
    }

    /// Checks a file of the plugins folder, and the folders below that a symlink leads through.
    ///
    /// # Errors
    ///
    /// Where others could change it, and it is not allowed by name.
    pub fn check_file(&self, folder: &Folder, file: &OpenFile) -> Result<(), Refusal> {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        if self.allows(&name) {
            return Ok(());
        }
        let refuse = |exposure: Exposure, what: String, path: &Path| {
            let remedy = exposure.remedy(path);
            let hint = format!("{remedy}, or add `{name}` to `plugins.allow_writable_by_others`");
            Err(Refusal::new(format!("{what}{exposure}"), hint))
        };
        if let Some(exposure) = self.exposure(&file.metadata) {
            return refuse(exposure, String::new(), &file.path);
        }
        let below = folder.folders_below(file).map_err(|error| {
            Refusal::new(format!("cannot be read: {error}"), "let the host's user read it")
        })?;
        let exposed = |(path, metadata): (PathBuf, Metadata)| {
            self.exposure(&metadata).map(|exposure| (path, exposure))
        };
        match below.into_iter().find_map(exposed) {
            Some((path, exposure)) => {
                refuse(exposure, format!("is a symlink into `{}`, which ", path.display()), &path)
            }
            None => Ok(()),
        }
    }

    fn allows(&self, name: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == name)
    }

    fn exposure(&self, metadata: &Metadata) -> Option<Exposure> {
        self.exposure_of(metadata.uid(), metadata.gid(), metadata.mode())
    }

    fn exposure_of(&self, owner: u32, group: u32, mode: u32) -> Option<Exposure> {
        if ![ROOT, self.user].contains(&owner) {
            Some(Exposure::Owner(owner))
        } else if mode & WRITABLE_BY_ALL != 0 {
            Some(Exposure::Everybody)
        } else if mode & WRITABLE_BY_GROUP != 0 && ![ROOT, self.group].contains(&group) {
            Some(Exposure::Group(group))
        } else {
            None
        }
    }
}

impl Exposure {
    fn remedy(self, path: &Path) -> String {
        let command = match self {
            Self::Owner(_) => "chown root",
            Self::Everybody => "chmod o-w",
            Self::Group(_) => "chmod g-w",
        };
        format!("`{command} {}`", path.display())
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(user) => {
                write!(f, "belongs to user {user}, who is neither root nor the host's user")
            }
            Self::Everybody => f.write_str("can be changed by everybody on this machine"),
            Self::Group(group) => {
                write!(f, "can be changed by group {group}, which is neither root's nor the host's")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(owner: u32, group: u32, mode: u32) -> Option<Exposure> {
        let host = Permissions { user: 900, group: 901, allowed: Vec::new() };
        host.exposure_of(owner, group, mode)
    }

    #[test]
    fn root_and_the_host_may_own_a_plugin_and_nobody_else() {
        assert_eq!(exposure(0, 0, 0o755), None);
        assert_eq!(exposure(900, 901, 0o755), None);
        assert_eq!(exposure(1000, 901, 0o444), Some(Exposure::Owner(1000)), "its owner may chmod");
        assert_eq!(exposure(901, 901, 0o755), Some(Exposure::Owner(901)), "a group is no user");
    }

    #[test]
    fn nobody_else_may_write_to_it() {
        assert_eq!(exposure(0, 0, 0o757), Some(Exposure::Everybody));
        assert_eq!(exposure(0, 0, 0o1777), Some(Exposure::Everybody), "sticky or not");
        assert_eq!(exposure(0, 1000, 0o775), Some(Exposure::Group(1000)));
        assert_eq!(exposure(0, 1000, 0o755), None);
        assert_eq!(exposure(900, 901, 0o775), None, "the host's own group");
        assert_eq!(exposure(900, 0, 0o775), None, "root's group");
        assert_eq!(exposure(0, 1000, 0o777), Some(Exposure::Everybody));
    }
}
