//! The lock file: the plugins of a folder and the hashes of their bytes, as `tocsin plugins lock` wrote
//! them.
//!
//! [`Checksums`](super::trusted_checksums::Checksums) decides whether a plugin may be loaded.

use std::{
    fmt,
    fs::{self, File, Metadata, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::process::geteuid;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{
    super::{Catalog, folder::regular_file},
    checksum::Checksum,
};
use crate::{alert::PluginId, system::private_file};

/// Bits of a mode.
const PRIVATE: u32 = 0o600;
const READABLE_BY_GROUP: u32 = 0o040;

const HEADER: &str = "# The plugins that this host may load, written by `tocsin plugins lock`.\n";

/// The entries of a lock file, in the order of names and versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFile {
    plugins: Vec<LockedPlugin>,
}

/// An entry of a [`LockFile`].
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    name: String,
    version: Version,
    sha256: Checksum,
    /// For people only: the plugin may be in another file.
    file: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    #[serde(default, rename = "plugin", skip_serializing_if = "Vec::is_empty")]
    plugins: Vec<LockedPlugin>,
}

/// A difference between two lock files, see [`LockFile::changes_since`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockChange {
    /// Only the new one has the plugin.
    Added(LockedPlugin),
    /// Only the old one has the plugin.
    Removed(LockedPlugin),
    /// The same version has other bytes.
    Replaced(LockedPlugin),
    /// The same bytes are in another file.
    Moved(LockedPlugin),
}

impl LockFile {
    /// Lists the admitted plugins of a [`Catalog`].
    pub fn of(catalog: &Catalog) -> Self {
        let plugins = catalog.files.iter().filter_map(|file| {
            let plugin = file.admission.as_ref().ok()?;
            Some(LockedPlugin {
                name: plugin.manifest.name.clone(),
                version: plugin.version.clone(),
                sha256: Checksum::try_from(plugin.sha256.clone()).ok()?,
                file: file.file_name.clone(),
            })
        });
        Self::sorted(plugins.collect())
    }

    /// Reads a lock file, with its owner and mode; none if it is missing.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or understood.
    pub fn read(path: &Path) -> Result<Option<(Self, Metadata)>, String> {
        let mut file = match regular_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| error.to_string())?,
        };
        let mut text = String::new();
        let metadata = file.metadata().and_then(|metadata| {
            file.read_to_string(&mut text)?;
            Ok(metadata)
        });
        Ok(Some((text.parse()?, metadata.map_err(|error| error.to_string())?)))
    }

    /// Replaces a lock file in one step: readers find the old or the new one, whole. Only its owner can
    /// read the file. If root writes it, the owner is that of the file before it, or else of the
    /// `configuration`, whose group can read it if the group can read the configuration.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; then the old one is unchanged.
    pub fn write(&self, path: &Path, configuration: &Path) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let model = fs::metadata(path).or_else(|_| fs::metadata(configuration)).ok();
        let written = write_whole(&beside, &self.to_string(), model.as_ref())
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| sync_folder(path));
        if written.is_err() {
            // An unfinished file is of no use.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// Returns the number of plugins.
    pub fn len(&self) -> usize {
        self.plugins.len()
    }

    /// Returns whether there are no plugins.
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Returns the hash that a plugin has to have, if it is known.
    pub fn checksum(&self, plugin: &PluginId) -> Option<&Checksum> {
        self.plugins.iter().find(|locked| locked.is(plugin)).map(|locked| &locked.sha256)
    }

    /// Lists the changes since an older lock file.
    pub fn changes_since(&self, old: &Self) -> Vec<LockChange> {
        let new = self.plugins.iter().filter_map(|plugin| match old.same_release(plugin) {
            None => Some(LockChange::Added(plugin.clone())),
            Some(old) if old.sha256 != plugin.sha256 => Some(LockChange::Replaced(plugin.clone())),
            Some(old) if old.file != plugin.file => Some(LockChange::Moved(plugin.clone())),
            Some(_) => None,
        });
        let gone = old.plugins.iter().filter(|plugin| self.same_release(plugin).is_none());
        new.chain(gone.cloned().map(LockChange::Removed)).collect()
    }

    fn same_release(&self, plugin: &LockedPlugin) -> Option<&LockedPlugin> {
        self.plugins.iter().find(|other| other.release() == plugin.release())
    }

    fn sorted(mut plugins: Vec<LockedPlugin>) -> Self {
        plugins.sort_by(|one, other| one.release().cmp(&other.release()));
        Self { plugins }
    }
}

impl LockedPlugin {
    fn release(&self) -> (&str, &Version) {
        (&self.name, &self.version)
    }

    fn is(&self, plugin: &PluginId) -> bool {
        self.name == plugin.name && self.version.to_string() == plugin.version
    }
}

impl FromStr for LockFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let contents: Contents = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| text.floor_char_boundary(span.start));
            let line = text[..start].matches('\n').count() + 1;
            format!("line {line}: {}", error.message().trim().replace('\n', " "))
        })?;
        let lock = Self::sorted(contents.plugins);
        let twice = lock.plugins.windows(2).find(|two| two[0].release() == two[1].release());
        match twice {
            Some(two) => Err(format!("it has `{} {}` twice", two[0].name, two[0].version)),
            None => Ok(lock),
        }
    }
}

impl fmt::Display for LockFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = Contents { plugins: self.plugins.clone() };
        // Strings can always be written as TOML.
        let plugins = toml::to_string(&contents).map_err(|_| fmt::Error)?;
        f.write_str(HEADER)?;
        if plugins.is_empty() { Ok(()) } else { write!(f, "\n{plugins}") }
    }
}

impl fmt::Display for LockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, plugin) = match self {
            Self::Added(plugin) => ("added", plugin),
            Self::Removed(plugin) => ("removed", plugin),
            Self::Replaced(plugin) => ("other bytes in", plugin),
            Self::Moved(plugin) => ("another file for", plugin),
        };
        write!(f, "{what} {} {} (`{}`)", plugin.name, plugin.version, plugin.file)
    }
}

/// Writes a new file with the permissions that its readers need: root gives it the owner and the group
/// of the `model`.
fn write_whole(path: &Path, text: &str, model: Option<&Metadata>) -> io::Result<()> {
    // An earlier try may have left a file, or another user a symlink.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private_file::create_new(path)?;
    let mut mode = PRIVATE;
    if let Some(model) = model.filter(|_| geteuid().is_root()) {
        fchown(&file, Some(model.uid()), Some(model.gid()))?;
        // Root's own group needs no permission.
        let is_of_group = model.gid() != 0 && model.mode() & READABLE_BY_GROUP != 0;
        mode |= if is_of_group { READABLE_BY_GROUP } else { 0 };
    }
    // The umask of the user must not matter.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Syncs the folder, so that the name of the file is on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(name: &str, version: &str, digit: &str, file: &str) -> LockedPlugin {
        LockedPlugin {
            name: name.into(),
            version: version.parse().expect("semver"),
            sha256: Checksum::try_from(digit.repeat(64)).expect("a checksum"),
            file: file.into(),
        }
    }

    fn refused(text: &str) -> String {
        text.parse::<LockFile>().expect_err("it is broken")
    }

    #[test]
    fn reads_what_it_wrote_in_the_order_of_names_and_versions() {
        let lock = LockFile::sorted(vec![
            locked("slack", "1.10.0", "a", "libslack-10.so"),
            locked("slack", "1.9.0", "b", "libslack.so"),
            locked("demo", "1.0.0", "c", "a \"quoted\" name.so"),
        ]);
        insta::assert_snapshot!(lock, @r#"
        # The plugins that this host may load, written by `tocsin plugins lock`.

        [[plugin]]
        name = "demo"
        version = "1.0.0"
        sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
        file = 'a "quoted" name.so'

        [[plugin]]
        name = "slack"
        version = "1.9.0"
        sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        file = "libslack.so"

        [[plugin]]
        name = "slack"
        version = "1.10.0"
        sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        file = "libslack-10.so"
        "#);
        assert_eq!(lock.to_string().parse(), Ok(lock));
        assert_eq!(LockFile::default().to_string(), HEADER);
        assert_eq!(HEADER.parse(), Ok(LockFile::default()));
    }

    #[test]
    fn each_kind_of_change_has_its_line() {
        let old = LockFile::sorted(vec![
            locked("a", "1.0.0", "1", "a.so"),
            locked("b", "1.0.0", "2", "b.so"),
            locked("c", "1.0.0", "3", "c.so"),
            locked("d", "1.0.0", "4", "d.so"),
        ]);
        let new = LockFile::sorted(vec![
            locked("a", "1.0.0", "1", "a.so"),
            locked("b", "1.0.0", "9", "b.so"),
            locked("c", "1.0.0", "3", "c2.so"),
            locked("d", "1.0.1", "4", "d.so"),
        ]);
        let changes: Vec<_> = new.changes_since(&old).iter().map(LockChange::to_string).collect();
        insta::assert_snapshot!(changes.join("\n"), @"
        other bytes in b 1.0.0 (`b.so`)
        another file for c 1.0.0 (`c2.so`)
        added d 1.0.1 (`d.so`)
        removed d 1.0.0 (`d.so`)
        ");
        assert_eq!(new.changes_since(&new), []);
    }

    #[test]
    fn a_broken_lock_file_is_refused_with_its_line() {
        insta::assert_snapshot!(refused("[[plugin]\n"), @"line 1: unclosed array table, expected `]`");
        insta::assert_snapshot!(refused("[[plugin]]\nname = 'x'\nversion = '1.0.0'\nfile = 'x.so'\n"), @"line 1: missing field `sha256`");
        insta::assert_snapshot!(refused("[[plugin]]\nname = 'x'\nversion = '1.0.0'\nfile = 'x.so'\nsha256 = 'abc'\n"), @"line 5: `abc` is no SHA-256");
        insta::assert_snapshot!(refused("[[plugins]]\nname = 'x'\n"), @"line 1: unknown field `plugins`, expected `plugin`");
        let one = LockFile::sorted(vec![locked("x", "1.0.0", "1", "x.so")]).to_string();
        insta::assert_snapshot!(refused(&format!("{one}{}", &one[HEADER.len()..])), @"it has `x 1.0.0` twice");
    }

    #[test]
    fn a_lock_file_is_replaced_in_one_step_without_extra_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plugins.lock");
        let lock = LockFile::sorted(vec![locked("x", "1.0.0", "1", "x.so")]);
        let config = folder.path().join("tocsin.toml");
        fs::write(&config, "").expect("written");
        LockFile::default().write(&path, &config).expect("written");
        let before = File::open(&path).expect("it is there");
        lock.write(&path, &config).expect("written again");
        assert_eq!(io::read_to_string(before).expect("the old one"), HEADER);
        assert_eq!(LockFile::read(&path).expect("the new one").map(|(read, _)| read), Some(lock));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
        let nowhere = folder.path().join("nowhere/plugins.lock");
        assert!(LockFile::default().write(&nowhere, &config).is_err());
    }

    #[test]
    fn a_lock_file_is_private_and_not_written_through_a_symlink() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("tocsin.toml"), "").expect("written");
        fs::write(path("precious"), "precious").expect("written");
        std::os::unix::fs::symlink(path("precious"), path("plugins.lock.new")).expect("linked");
        fs::write(path("plugins.lock"), "").expect("written");
        fs::set_permissions(path("plugins.lock"), Permissions::from_mode(0o666)).expect("ours");
        LockFile::default().write(&path("plugins.lock"), &path("tocsin.toml")).expect("written");
        let mode = fs::metadata(path("plugins.lock")).expect("it is there").mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(fs::read(path("precious")).expect("it is there"), b"precious");
    }

    #[test]
    fn a_lock_file_written_by_root_gets_the_owner_of_the_configuration() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (lock, config) =
            (folder.path().join("plugins.lock"), folder.path().join("tocsin.toml"));
        fs::write(&config, "").expect("written");
        std::os::unix::fs::chown(&config, Some(0), Some(901)).expect("we are root");
        fs::set_permissions(&config, Permissions::from_mode(0o640)).expect("ours");
        LockFile::default().write(&lock, &config).expect("written");
        let written = fs::metadata(&lock).expect("it is there");
        assert_eq!((written.uid(), written.gid(), written.mode() & 0o777), (0, 901, 0o640));
    }
}
