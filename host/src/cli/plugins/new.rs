//! `tocsin plugins new`: creates the crate of a new plugin.
//!
//! Nothing is built, and no existing file is changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use semver::VersionReq;

use crate::cli::{UsageError, output};

#[derive(Args, Debug)]
pub(super) struct New {
    /// Name of the plugin, which operators write as `plugin = "NAME"`, and of its package
    #[arg(value_parser = plugin_name)]
    name: String,
    /// Folder for the crate, which must be new or empty [default: NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Version of tocsin-plugin-api to depend on, or the folder of its sources [default: the sources that
    /// were installed with this program]
    #[arg(long, value_name = "VERSION-or-PATH")]
    plugin_api: Option<String>,
    /// Create a plugin that sends news about alerts, instead of one that receives webhooks
    #[arg(long)]
    notifier: bool,
}

/// Files of the crate of a plugin that receives, with their templates.
const RECEIVER: &[(&str, &str)] = &[
    ("Cargo.toml", CARGO_TOML),
    (".gitignore", GITIGNORE),
    ("README.md", include_str!("new/README.md.template")),
    ("src/lib.rs", include_str!("new/lib.rs.template")),
    ("fixtures/messages.jsonl", include_str!("new/messages.jsonl.template")),
    ("tests/fixtures.rs", include_str!("new/fixtures.rs.template")),
    ("tests/secrets.rs", include_str!("new/secrets.rs.template")),
];

/// Files of the crate of a plugin that sends, with their templates.
const NOTIFIER: &[(&str, &str)] = &[
    ("Cargo.toml", CARGO_TOML),
    (".gitignore", GITIGNORE),
    ("README.md", include_str!("new/notifier/README.md.template")),
    ("src/lib.rs", include_str!("new/notifier/lib.rs.template")),
    ("fixtures/delivered.json", include_str!("new/notifier/delivered.json.template")),
    ("fixtures/later.json", include_str!("new/notifier/later.json.template")),
    ("fixtures/parked.json", include_str!("new/notifier/parked.json.template")),
    ("tests/fixtures.rs", include_str!("new/notifier/fixtures.rs.template")),
];

const CARGO_TOML: &str = include_str!("new/Cargo.toml.template");
const GITIGNORE: &str = include_str!("new/gitignore.template");

/// Values of the placeholders in the templates.
struct Values<'v> {
    name: &'v str,
    description: &'v str,
    /// Entry of tocsin-plugin-api in Cargo.toml.
    dependency: &'v str,
}

pub(super) fn new(args: &New) -> anyhow::Result<()> {
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let (dependency, source) = match &args.plugin_api {
        Some(plugin_api) => (dependency(plugin_api)?, None),
        None => own_dependency()?,
    };
    refuse_taken(&folder)?;
    let (files, description) = if args.notifier {
        (NOTIFIER, "News about alerts as JSON")
    } else {
        (RECEIVER, "Alerts from JSON webhooks")
    };
    let values = Values { name: &args.name, description, dependency: &dependency };
    for (name, template) in files {
        let path = folder.join(name);
        write(&path, &filled_in(template, &values))?;
        output::print_line(&format!("wrote {}", path.display()))?;
    }
    if let Some(source) = source {
        output::print_line(&format!("the crate uses tocsin-plugin-api from {source}"))?;
    }
    let library = format!("lib{}.so", crate_name(&args.name));
    output::print_lines(&format!(
        "\nnext:\n  cd {}\n  cargo test\n  cargo build --release\n\
         then drop target/release/{library} into the plugins folder of a host; README.md says how",
        folder.display(),
    ))
}

fn plugin_name(name: &str) -> Result<String, String> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if !(1..=64).contains(&name.len())
        || !name.bytes().all(allowed)
        || !name.starts_with(|first: char| first.is_ascii_lowercase())
    {
        return Err("use 1 to 64 of a-z, 0-9, `-` and `_`, beginning with a letter".into());
    }
    let crate_name = crate_name(name);
    if KEYWORDS.contains(&name) {
        return Err(format!("`{name}` is a keyword of Rust, which cannot name a crate"));
    }
    if TAKEN.contains(&crate_name.as_str()) {
        return Err(format!("the plugin depends on another crate named `{crate_name}`"));
    }
    Ok(name.to_owned())
}

/// Keywords of Rust, including reserved ones.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Crates that the plugin's sources use.
const TAKEN: [&str; 9] = [
    "alloc",
    "core",
    "proc_macro",
    "schemars",
    "serde",
    "serde_json",
    "std",
    "test",
    "tocsin_plugin_api",
];

fn crate_name(plugin: &str) -> String {
    plugin.replace('-', "_")
}

/// URL of a git repository with tocsin-plugin-api, if this program was built with one.
const GIT_URL: Option<&str> = option_env!("TOCSIN_PLUGIN_API_GIT");

/// Returns the entry of tocsin-plugin-api in Cargo.toml if none is asked for, and the place where the crate
/// comes from.
fn own_dependency() -> anyhow::Result<(String, Option<String>)> {
    if let Some(url) = GIT_URL {
        return Ok((format!("git = {}", toml_string(url)), Some(url.to_owned())));
    }
    let program = std::env::current_exe().and_then(fs::canonicalize);
    let program = program.context("cannot tell where this program is installed")?;
    let Some(sources) = installed_sources(&program) else {
        let message = format!(
            "no sources of tocsin-plugin-api are installed with `{}`\n\
             hint: name their folder with `--plugin-api PATH`",
            program.display()
        );
        return Err(UsageError(message).into());
    };
    let path = sources.display().to_string();
    Ok((dependency(&path)?, Some(format!("`{path}`"))))
}

/// Most folders above the program in which its sources are looked for: `target/release` is the deepest.
const MOST_FOLDERS: usize = 3;

/// Returns the folder of tocsin-plugin-api that belongs to a program: `share/tocsin/src/plugin-api` beside
/// `bin`, as the package and the archive have it, or `plugin-api` in the repository.
fn installed_sources(program: &Path) -> Option<PathBuf> {
    let folders = program.ancestors().skip(1).take(MOST_FOLDERS);
    let places = folders.flat_map(|folder| {
        ["share/tocsin/src/plugin-api", "plugin-api"].map(|place| folder.join(place))
    });
    places.into_iter().find(|place| package_name(place).as_deref() == Some(PACKAGE))
}

/// The name of the crate with the interface of plugins.
const PACKAGE: &str = "tocsin-plugin-api";

/// Returns the entry of tocsin-plugin-api in Cargo.toml: a version or an absolute path.
fn dependency(plugin_api: &str) -> anyhow::Result<String> {
    let is_version =
        plugin_api.starts_with(|first: char| first.is_ascii_digit() || "^~=<>".contains(first));
    if is_version && VersionReq::parse(plugin_api).is_ok() {
        return Ok(format!("version = {}", toml_string(plugin_api)));
    }
    let hint =
        "\nhint: name a version such as `1.0`, or the folder `plugin-api` of Tocsin's sources";
    let path = fs::canonicalize(plugin_api).map_err(|error| {
        UsageError(format!(
            "`--plugin-api {plugin_api}` is no version and no folder: {error}{hint}"
        ))
    })?;
    if package_name(&path).as_deref() != Some(PACKAGE) {
        let message =
            format!("`--plugin-api {plugin_api}` is not the folder of tocsin-plugin-api{hint}");
        return Err(UsageError(message).into());
    }
    let path = path.to_str().with_context(|| format!("`{}` is not UTF-8", path.display()))?;
    Ok(format!("path = {}", toml_string(path)))
}

fn package_name(folder: &Path) -> Option<String> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let manifest: toml::Table = manifest.parse().ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn refuse_taken(folder: &Path) -> anyhow::Result<()> {
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        // A file, or a folder that cannot be read.
        Err(_) => false,
    };
    if is_empty {
        return Ok(());
    }
    let hint = "hint: choose another folder with `--path DIR`, or remove what is there";
    let message = format!("`{}` exists and is not an empty folder\n{hint}", folder.display());
    Err(UsageError(message).into())
}

fn filled_in(template: &str, values: &Values<'_>) -> String {
    let Values { name, description, dependency } = values;
    let crate_name = crate_name(name);
    let variable = format!("{}_TOKEN", crate_name.to_ascii_uppercase());
    template
        .replace("{{name}}", name)
        .replace("{{crate}}", &crate_name)
        .replace("{{description}}", description)
        .replace("{{token-variable}}", &variable)
        .replace("{{plugin-api}}", dependency)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_cannot_be_a_plugin_and_a_package() {
        for good in ["demo", "a", "disk-watch_2", &"a".repeat(64)] {
            assert_eq!(plugin_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "2fast", "-x", "_x", "Demo", "a b", "a.b", "../x", "é", &"a".repeat(65)] {
            let refused = plugin_name(bad).expect_err(bad);
            assert!(refused.starts_with("use 1 to 64"), "{bad}: {refused}");
        }
        for word in ["match", "self", "gen"] {
            assert!(plugin_name(word).is_err_and(|refused| refused.contains("keyword of Rust")));
        }
        for taken in ["serde-json", "tocsin-plugin-api", "core"] {
            assert!(
                plugin_name(taken)
                    .is_err_and(|refused| refused.contains("depends on another crate"))
            );
        }
    }

    #[test]
    fn fills_in_every_placeholder_of_every_template() {
        let dependency = "version = \"1.0\"";
        let values = Values { name: "disk-watch", description: "Alerts", dependency };
        for (name, template) in [RECEIVER, NOTIFIER].concat() {
            let text = filled_in(template, &values);
            assert!(!text.contains("{{"), "{name}: {text}");
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
        }
    }

    #[test]
    fn finds_the_sources_that_were_installed_with_the_program() {
        let root = tempfile::tempdir().expect("a folder");
        let create = |file: &str, text: &str| {
            let path = root.path().join(file);
            write(&path, text).expect("written");
            path
        };
        let manifest = "[package]\nname = \"tocsin-plugin-api\"\n";
        let (package, archive) = (create("usr/bin/tocsin", ""), create("archive/tocsin", ""));
        assert_eq!(installed_sources(&package), None);
        create("usr/share/tocsin/src/plugin-api/Cargo.toml", manifest);
        create("archive/share/tocsin/src/plugin-api/Cargo.toml", manifest);
        for (program, sources) in [
            (package, "usr/share/tocsin/src/plugin-api"),
            (archive, "archive/share/tocsin/src/plugin-api"),
        ] {
            assert_eq!(installed_sources(&program), Some(root.path().join(sources)));
        }
        let other = create("other/bin/tocsin", "");
        create("other/plugin-api/Cargo.toml", "[package]\nname = \"another\"\n");
        assert_eq!(installed_sources(&other), None, "it is another crate");
    }
}
