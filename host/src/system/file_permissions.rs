//! Finds users besides root and the host's own who can change or read a file.
//!
//! Owner, group and mode count. Members of groups and access control lists are not looked up.

use std::{
    fmt,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Gid, StatVfsMountFlags, statvfs},
    process::{getegid, geteuid, getgroups},
};

const ROOT: u32 = 0;
/// Permission bits of a mode.
const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_ALL: u32 = 0o002;
const READABLE_BY_GROUP: u32 = 0o040;
const READABLE_BY_ALL: u32 = 0o004;
/// Mode bit of a folder in which only the owner of a file may rename or remove it.
const STICKY: u32 = 0o1000;

/// User and groups of the host's process.
#[derive(Clone, Debug)]
pub(crate) struct HostUser {
    user: u32,
    group: u32,
    /// Further groups of the process. They may read files: an administrator put the host there for that.
    groups: Vec<u32>,
}

/// Error of [`HostUser::check_writers`]: a file that other users can change, with a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The file, and the user or group that can change it.
    pub message: String,
    /// Command that takes the right away.
    pub hint: String,
}

/// A user or a group, besides root's and the host's, that can change a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The owner of the file.
    Owner(u32),
    /// Every user of the machine.
    Everybody,
    /// The members of the file's group.
    Group(u32),
}

/// A group, besides root's and the host's, that can read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Every user of the machine.
    Everybody,
    /// The members of the file's group.
    Group(u32),
}

impl HostUser {
    /// Returns user and groups of this process.
    pub(crate) fn of_this_process() -> Self {
        let groups = getgroups().unwrap_or_default();
        let groups = groups.into_iter().map(Gid::as_raw).collect();
        Self { user: geteuid().as_raw(), group: getegid().as_raw(), groups }
    }

    /// Returns a [`Writer`] of a file or folder, if there is one besides root and the host's user.
    pub(crate) fn writer(&self, metadata: &Metadata) -> Option<Writer> {
        self.writer_of(metadata.uid(), metadata.gid(), metadata.mode())
    }

    /// Returns a [`Reader`] of a file, if there is one besides root and the host's user.
    pub(crate) fn reader(&self, metadata: &Metadata) -> Option<Reader> {
        self.reader_of(metadata.gid(), metadata.mode())
    }

    /// Checks that no other user can change or replace the file at a path. `metadata` are those of the open
    /// file; the folders of the path are checked too. In a folder with the sticky bit, such as `/tmp` or a
    /// mounted secret of Kubernetes, others cannot replace a file.
    ///
    /// # Errors
    ///
    /// If another user can.
    pub(crate) fn check_writers(&self, path: &Path, metadata: &Metadata) -> Result<(), Exposed> {
        if is_read_only(path) {
            return Ok(());
        }
        let shown = path.display();
        if let Some(writer) = self.writer(metadata) {
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let hint = writer.remedy(if is_symlink(path) { &real } else { path });
            return Err(Exposed { message: format!("`{shown}` {writer}"), hint });
        }
        if let Some(owner) = self.owner_of_symlink(path) {
            let message = format!("`{shown}` is a symlink that {owner}");
            return Err(Exposed { message, hint: owner.remedy_of_symlink(path) });
        }
        for folder in folders_of(path) {
            let Ok(metadata) = fs::metadata(&folder) else { continue };
            if is_read_only(&folder) {
                continue;
            }
            let is_sticky = metadata.mode() & STICKY != 0;
            let writer = self.writer(&metadata);
            let writer = writer.filter(|writer| matches!(writer, Writer::Owner(_)) || !is_sticky);
            if let Some(writer) = writer {
                let message = format!("`{shown}` lies in `{}`, which {writer}", folder.display());
                return Err(Exposed { message, hint: writer.remedy(&folder) });
            }
        }
        Ok(())
    }

    fn owner_of_symlink(&self, path: &Path) -> Option<Writer> {
        let link = fs::symlink_metadata(path).ok().filter(Metadata::is_symlink)?;
        (![ROOT, self.user].contains(&link.uid())).then(|| Writer::Owner(link.uid()))
    }

    fn writer_of(&self, owner: u32, group: u32, mode: u32) -> Option<Writer> {
        if ![ROOT, self.user].contains(&owner) {
            Some(Writer::Owner(owner))
        } else if mode & WRITABLE_BY_ALL != 0 {
            Some(Writer::Everybody)
        } else if mode & WRITABLE_BY_GROUP != 0 && ![ROOT, self.group].contains(&group) {
            Some(Writer::Group(group))
        } else {
            None
        }
    }

    fn reader_of(&self, group: u32, mode: u32) -> Option<Reader> {
        let is_own = [ROOT, self.group].contains(&group) || self.groups.contains(&group);
        if mode & READABLE_BY_ALL != 0 {
            Some(Reader::Everybody)
        } else if mode & READABLE_BY_GROUP != 0 && !is_own {
            Some(Reader::Group(group))
        } else {
            None
        }
    }

    /// Creates a user without further groups.
    #[cfg(test)]
    pub(crate) fn pretended(user: u32, group: u32) -> Self {
        Self { user, group, groups: Vec::new() }
    }
}

fn is_symlink(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink())
}

/// Returns the folder that a path names, and the folder of the file behind symlinks if that is another.
fn folders_of(path: &Path) -> Vec<PathBuf> {
    let named = path.parent().map(|folder| {
        if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
    });
    let real = fs::canonicalize(path).ok();
    let real = real.as_deref().and_then(Path::parent).map(Path::to_owned);
    let is_same =
        |one: &PathBuf, other: &PathBuf| fs::canonicalize(one).is_ok_and(|folder| folder == *other);
    let real = real.filter(|real| !named.as_ref().is_some_and(|named| is_same(named, real)));
    named.into_iter().chain(real).collect()
}

impl Writer {
    /// Returns the command that takes the right away.
    pub(crate) fn remedy(self, path: &Path) -> String {
        let command = match self {
            Self::Owner(_) => "chown root",
            Self::Everybody => "chmod o-w",
            Self::Group(_) => "chmod g-w",
        };
        format!("`{command} {}`", path.display())
    }

    fn remedy_of_symlink(self, path: &Path) -> String {
        format!("`chown --no-dereference root {}`", path.display())
    }
}

impl fmt::Display for Writer {
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

impl Reader {
    /// Returns the command that takes the right away.
    pub(crate) fn remedy(self, path: &Path) -> String {
        let command = match self {
            Self::Everybody => "chmod o-r",
            Self::Group(_) => "chmod g-r",
        };
        format!("`{command} {}`", path.display())
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("can be read by everybody on this machine"),
            Self::Group(group) => {
                write!(f, "can be read by group {group}, which is neither root's nor the host's")
            }
        }
    }
}

/// Returns true if a path is on a read-only mount, such as a `ConfigMap` of Kubernetes, where modes do not
/// matter.
fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn writer(owner: u32, group: u32, mode: u32) -> Option<Writer> {
        HostUser::pretended(900, 901).writer_of(owner, group, mode)
    }

    #[test]
    fn only_root_and_the_host_may_own_a_file() {
        assert_eq!(writer(0, 0, 0o755), None);
        assert_eq!(writer(900, 901, 0o755), None);
        assert_eq!(writer(1000, 901, 0o444), Some(Writer::Owner(1000)), "its owner may chmod");
        assert_eq!(writer(901, 901, 0o755), Some(Writer::Owner(901)), "a group is no user");
    }

    #[test]
    fn only_root_and_the_host_may_write_to_a_file() {
        assert_eq!(writer(0, 0, 0o757), Some(Writer::Everybody));
        assert_eq!(writer(0, 0, 0o1777), Some(Writer::Everybody), "sticky or not");
        assert_eq!(writer(0, 1000, 0o775), Some(Writer::Group(1000)));
        assert_eq!(writer(0, 1000, 0o755), None);
        assert_eq!(writer(900, 901, 0o775), None, "the host's own group");
        assert_eq!(writer(900, 0, 0o775), None, "root's group");
        assert_eq!(writer(0, 1000, 0o777), Some(Writer::Everybody));
    }

    #[test]
    fn a_file_is_private_if_only_root_and_the_groups_of_the_host_can_read_it() {
        let host = HostUser { groups: vec![902], ..HostUser::pretended(900, 901) };
        for (group, mode, reader) in [
            (0, 0o600, None),
            (0, 0o640, None),
            (901, 0o640, None),
            (902, 0o440, None),
            (1000, 0o600, None),
            (1000, 0o640, Some(Reader::Group(1000))),
            (901, 0o644, Some(Reader::Everybody)),
            (0, 0o444, Some(Reader::Everybody)),
        ] {
            assert_eq!(host.reader_of(group, mode), reader, "{group} {mode:o}");
        }
    }

    /// Checks a file in a folder of these modes, as the user who runs the test.
    fn checked(folder_mode: u32, mode: u32) -> Result<(), String> {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, file) = (place.path().join("etc"), place.path().join("etc/tocsin.toml"));
        fs::create_dir(&folder).expect("made");
        fs::write(&file, "").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("ours");
        fs::set_permissions(&folder, fs::Permissions::from_mode(folder_mode)).expect("ours");
        let metadata = fs::metadata(&file).expect("it is there");
        let checked = HostUser::of_this_process().check_writers(&file, &metadata);
        let place = place.path().display().to_string();
        checked.map_err(|exposed| {
            format!("{}; hint: {}", exposed.message, exposed.hint).replace(&place, "[PLACE]")
        })
    }

    #[test]
    fn refuses_a_file_that_other_users_can_change_or_replace() {
        assert_eq!(checked(0o755, 0o644), Ok(()));
        assert_eq!(checked(0o1777, 0o600), Ok(()), "in a sticky folder nobody can replace it");
        insta::assert_snapshot!(checked(0o755, 0o646).expect_err("others may write"), @"`[PLACE]/etc/tocsin.toml` can be changed by everybody on this machine; hint: `chmod o-w [PLACE]/etc/tocsin.toml`");
        insta::assert_snapshot!(checked(0o777, 0o600).expect_err("others may replace it"), @"`[PLACE]/etc/tocsin.toml` lies in `[PLACE]/etc`, which can be changed by everybody on this machine; hint: `chmod o-w [PLACE]/etc`");
    }

    #[test]
    fn checks_the_folder_of_the_file_behind_a_symlink() {
        let place = tempfile::tempdir().expect("a folder");
        let (open, link) = (place.path().join("open"), place.path().join("tocsin.toml"));
        fs::create_dir(&open).expect("made");
        fs::write(open.join("real.toml"), "").expect("written");
        symlink(open.join("real.toml"), &link).expect("linked");
        let host = HostUser::of_this_process();
        let check = || host.check_writers(&link, &fs::metadata(&link).expect("it is there"));
        assert_eq!(check(), Ok(()));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("ours");
        let exposed = check().expect_err("others may replace it");
        assert!(
            exposed.message.contains("/open`, which can be changed by everybody"),
            "{exposed:?}"
        );
    }
}
