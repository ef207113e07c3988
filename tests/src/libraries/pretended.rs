//! A workspace with a plugin-api of the future: the present one with a few edits. This file builds
//! nothing.
//!
//! The workspace is made under the target directory of `tests/pretended/` (two plugins and a host),
//! of `plugin-api/`, and of this workspace's own Cargo.toml and Cargo.lock with other members. So the
//! dependencies are also the present ones.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use toml::{Table, Value};

use super::{other_times, workspace};

/// The version with additions.
pub(super) const MINOR: &str = "1.2.0";

/// The version that no 1.x host may load.
const MAJOR: &str = "2.0.0";

/// A replacement of text in a file.
struct Edit {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

/// The edits of a minor version: they append a function to the module, a capability, a field of an
/// event, a value of an enum.
const MINOR_EDITS: &[Edit] = &[
    Edit {
        file: "src/abi.rs",
        old: "
        input: RSlice<'_, u8>,
    ) -> Answer,
}
",
        new: r#"
        input: RSlice<'_, u8>,
    ) -> Answer,
    /// One line on the plugin.
    pub describe: extern "C" fn() -> Answer,
}
"#,
    },
    Edit {
        file: "src/abi.rs",
        old: "
            call: Self::call,
",
        new: "
            call: Self::call,
            describe: Self::describe,
",
    },
    Edit {
        file: "src/abi.rs",
        old: r#"
    extern "C" fn options_schema() -> Answer {
"#,
        new: r#"
    extern "C" fn describe() -> Answer {
        Answer::new(DONE, T::MANIFEST.description)
    }

    extern "C" fn options_schema() -> Answer {
"#,
    },
    Edit {
        file: "src/abi.rs",
        old: "
    impl Module {
",
        new: "
    impl Module {
        /// One line on the plugin, if it was built against 1.2 or later.
        pub fn describe(&self) -> Option<Vec<u8>> {
            let describe = self.0.describe()?;
            done(describe()).ok().map(RVec::into_vec)
        }

",
    },
    Edit {
        file: "src/capability.rs",
        old: "
impl<T> Capability<T> {
",
        new: r#"
/// The capability `echo`: says what it is told.
pub trait Echo: Plugin {
    /// Returns `text`.
    fn echo(&self, text: &str) -> String;
}

/// The capability of an [`Echo`].
#[doc(hidden)]
pub const fn echo<T: Echo>() -> Capability<T> {
    Capability::json("echo", |plugin, input| {
        let text: String = serde_json::from_slice(input)?;
        serde_json::to_vec(&plugin.echo(&text))
    })
}

impl<T> Capability<T> {
"#,
    },
    Edit {
        file: "src/export.rs",
        old: "
    (@capability $plugin:ty, $unknown:ident) => {
",
        new: "
    (@capability $plugin:ty, echo) => { $crate::capability::echo::<$plugin>() };
    (@capability $plugin:ty, $unknown:ident) => {
",
    },
    Edit {
        file: "src/alert.rs",
        old: "
    Critical,
}
",
        new: "
    Critical,
    /// Yesterday.
    Catastrophic,
}
",
    },
    Edit {
        file: "src/alert.rs",
        old: "[Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];",
        new: "[Self; 5] =
        [Self::Low, Self::Medium, Self::High, Self::Critical, Self::Catastrophic];",
    },
    Edit {
        file: "src/alert.rs",
        old: r#"
            Self::Critical => "critical",
"#,
        new: r#"
            Self::Critical => "critical",
            Self::Catastrophic => "catastrophic",
"#,
    },
    Edit {
        file: "src/alert.rs",
        old: "
    pub details: Vec<Detail>,
}
",
        new: r#"
    pub details: Vec<Detail>,
    /// The colour of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
}
"#,
    },
];

/// The name of the library of `later`. With the same name, both versions would have the same path,
/// and cargo would mistake one for the other.
pub(super) fn library_name(version: &str) -> String {
    format!("pretended_later_{}", version.replace('.', "_"))
}

/// Makes the workspace with plugin-api `version`, and returns its folder.
pub(super) fn prepare(version: &str) -> PathBuf {
    let edits = match version {
        MINOR => MINOR_EDITS,
        MAJOR => &[],
        _ => panic!("there is no pretended plugin-api {version}"),
    };
    let folder = other_times().join(format!("pretended-{version}"));

    let pretended = workspace().join("tests/pretended");
    for package in ["host", "echo"] {
        copy(&pretended.join(package), &folder.join(package), &[]);
    }
    copy(&pretended.join("later/src"), &folder.join("later/src"), &[]);
    let (plugin, name) = (pretended.join("later/Cargo.toml"), library_name(version));
    write(&folder.join("later/Cargo.toml"), &with_value(&plugin, "lib", "name", name.into()));

    let plugin_api = workspace().join("plugin-api");
    for file in ["build.rs", "src"] {
        copy(&plugin_api.join(file), &folder.join("plugin-api").join(file), edits);
    }
    let manifest = with_value(&plugin_api.join("Cargo.toml"), "package", "version", version.into());
    write(&folder.join("plugin-api/Cargo.toml"), &manifest);

    let members = Value::from(["plugin-api", "later", "echo", "host"].map(Value::from).to_vec());
    let manifest = with_value(&workspace().join("Cargo.toml"), "workspace", "members", members);
    write(&folder.join("Cargo.toml"), &manifest);
    // Cargo removes members that this workspace lacks from the lock file, and keeps the versions of
    // all other packages.
    write(&folder.join("Cargo.lock"), &read(&workspace().join("Cargo.lock")));
    folder
}

/// Copies a file or a folder. Each edit of a file must match exactly once.
fn copy(from: &Path, to: &Path, edits: &[Edit]) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap_or_else(|error| cannot("read", from, &error)) {
            let entry = entry.unwrap_or_else(|error| cannot("read", from, &error));
            copy(&entry.path(), &to.join(entry.file_name()), edits);
        }
        return;
    }
    let mut text = read(from);
    for Edit { old, new, .. } in edits.iter().filter(|edit| from.ends_with(edit.file)) {
        let matches = text.matches(old).count();
        assert_eq!(matches, 1, "`{}` has {matches} places like:{old}", from.display());
        text = text.replace(old, new);
    }
    write(to, &text);
}

/// Returns the text of a TOML file with one value changed.
fn with_value(path: &Path, table: &str, key: &str, value: Value) -> String {
    let mut file: Table =
        read(path).parse().unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    let found = file.get_mut(table).and_then(|table| table.get_mut(key));
    *found.unwrap_or_else(|| panic!("`{}` has no `{table}.{key}`", path.display())) = value;
    file.to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| cannot("read", path, &error))
}

/// Writes a file if its text is new, so that cargo does not rebuild unchanged files. Replaces the
/// file as a whole, because another test process may be building from it.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    let folder = path.parent().expect("a file in a folder");
    fs::create_dir_all(folder).unwrap_or_else(|error| cannot("make", folder, &error));
    let new = path.with_extension(format!("{}.new", process::id()));
    fs::write(&new, text).unwrap_or_else(|error| cannot("write", &new, &error));
    fs::rename(&new, path).unwrap_or_else(|error| cannot("write", path, &error));
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> ! {
    panic!("cannot {what} `{}`: {error}", path.display())
}
