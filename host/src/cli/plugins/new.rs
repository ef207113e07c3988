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
    /// Version of tocsin-plugin-api to depend on, or the folder of its sources
    #[arg(long, value_name = "VERSION-or-PATH", default_value_t = this_host())]
    plugin_api: String,
}

/// Files of the crate, with their templates.
const FILES: [(&str, &str); 7] = [
    ("Cargo.toml", include_str!("new/Cargo.toml.template")),
    (".gitignore", include_str!("new/gitignore.template")),
    ("README.md", include_str!("new/README.md.template")),
    ("src/lib.rs", include_str!("new/lib.rs.template")),
    ("fixtures/messages.jsonl", include_str!("new/messages.jsonl.template")),
    ("tests/fixtures.rs", include_str!("new/fixtures.rs.template")),
    ("tests/secrets.rs", include_str!("new/secrets.rs.template")),
];

pub(super) fn new(args: &New) -> anyhow::Result<()> {
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let dependency = dependency(&args.plugin_api)?;
    refuse_taken(&folder)?;
    for (name, template) in FILES {
        let path = folder.join(name);
        write(&path, &filled_in(template, &args.name, &dependency))?;
        output::print_line(&format!("wrote {}", path.display()))?;
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

/// Returns the major and minor version of this host's plugin-api, a requirement that later 1.x versions
/// meet.
fn this_host() -> String {
    let version = tocsin_plugin_api::VERSION;
    version.rsplit_once('.').map_or(version, |(minor, _)| minor).to_owned()
}

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
    if package_name(&path).as_deref() != Some("tocsin-plugin-api") {
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

fn filled_in(template: &str, name: &str, dependency: &str) -> String {
    let crate_name = crate_name(name);
    let variable = format!("{}_TOKEN", crate_name.to_ascii_uppercase());
    template
        .replace("{{name}}", name)
        .replace("{{crate}}", &crate_name)
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
        for (name, template) in FILES {
            let text = filled_in(template, "disk-watch", "version = \"1.0\"");
            assert!(!text.contains("{{"), "{name}: {text}");
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
        }
    }

    #[test]
    fn depends_on_the_plugin_api_of_this_host_by_default() {
        let dependency = dependency(&this_host()).expect("a version");
        let requirement = dependency.trim_start_matches("version = ").trim_matches('"');
        let requirement = VersionReq::parse(requirement).expect("a requirement");
        assert!(requirement.matches(&tocsin_plugin_api::VERSION.parse().expect("a version")));
    }
}
