//! Single sections of a [`Document`], read even if the rest has errors.

use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Admin, ConfigErrors, Document, Plugins, file::read, recovery, references::ReferenceResolver,
    syntax,
};

/// The part of a configuration that a client of the admin API needs: [`Admin`]. Other sections may refer to
/// files that only the host can read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ClientConfig {
    /// `[admin]`.
    pub admin: Admin,
}

impl ClientConfig {
    /// Reads `[admin]` from a host's configuration file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or `[admin]` has errors.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(read_section(&read(path)?, "admin", |_| true)?)
    }
}

/// Reads the keys of [`Plugins`] that name files: `dir` and `lock`, with `verify`, which decides if `lock`
/// is read.
///
/// # Errors
///
/// If one of these keys has a value of the wrong type.
pub(crate) fn read_plugin_paths(document: &Document) -> Result<Plugins, ConfigErrors> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Part {
        plugins: Plugins,
    }
    let is_place = |key: &str| matches!(key, "dir" | "verify" | "lock");
    Ok(read_section::<Part>(document, "plugins", is_place)?.plugins)
}

/// Reads some keys of one section, and ignores everything else.
pub(super) fn read_section<T: DeserializeOwned>(
    document: &Document,
    section: &str,
    is_read: impl Fn(&str) -> bool,
) -> Result<T, ConfigErrors> {
    let mut document = document.clone();
    let text = document.text.clone();
    let mut root = syntax::parse(&document, &text)?;
    keep(root.get_mut(), |name| name == section);
    if let Some(DeValue::Table(keys)) = root.get_mut().get_mut(section).map(Spanned::get_mut) {
        keep(keys, is_read);
    }
    let env = |name: &str| std::env::var(name).ok();
    let mut resolver = ReferenceResolver::new(&document, &env, None);
    resolver.resolve_in(root.get_mut());
    let (wrong, mut errors) = (resolver.wrong, resolver.errors);
    document.hide(resolver.values);
    let read = recovery::read(&document, root, &wrong);
    errors.extend(read.errors);
    match read.value {
        Some(part) if errors.is_empty() => Ok(part),
        _ => Err(ConfigErrors::in_order(errors)),
    }
}

fn keep(table: &mut DeTable<'_>, is_kept: impl Fn(&str) -> bool) {
    let entries = std::mem::take(table).into_iter();
    *table = entries.filter(|(key, _)| is_kept(key.get_ref())).collect();
}
