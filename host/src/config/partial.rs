//! Parts of a configuration, read whatever the rest of it says.

use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Admin, ConfigErrors, Document, Plugins, file::read, parse_error::parse_error,
    references::ReferenceResolver,
};

/// Where the admin API of a host is and what opens it: all that a client needs of a configuration.
/// What only the host can read, such as the tokens of integrations, is left alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClientConfig {
    /// `[admin]`.
    pub admin: Admin,
}

impl ClientConfig {
    /// Reads it from a host's configuration file.
    ///
    /// # Errors
    ///
    /// What is wrong with `[admin]`, with file, line, key and a hint.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(read_section(&read(path)?, "admin", |_| true)?)
    }
}

/// Where a configuration has plugins, and what they are verified by, whatever else it says.
///
/// # Errors
///
/// What is wrong with these keys.
pub fn read_plugin_paths(document: &Document) -> Result<Plugins, ConfigErrors> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Part {
        plugins: Plugins,
    }
    let is_place = |key: &str| matches!(key, "dir" | "verify" | "lock");
    Ok(read_section::<Part>(document, "plugins", is_place)?.plugins)
}

/// Reads some keys of a section, and leaves everything else alone.
fn read_section<T: DeserializeOwned>(
    document: &Document,
    section: &str,
    is_read: impl Fn(&str) -> bool,
) -> Result<T, ConfigErrors> {
    let mut document = document.clone();
    let text = document.text.clone();
    let mut root = DeTable::parse(&text).map_err(|error| parse_error(&document, &error))?;
    keep(root.get_mut(), |name| name == section);
    if let Some(DeValue::Table(keys)) = root.get_mut().get_mut(section).map(Spanned::get_mut) {
        keep(keys, is_read);
    }
    let env = |name: &str| std::env::var(name).ok();
    let mut resolver = ReferenceResolver::new(&document, &env, None);
    resolver.resolve_in(root.get_mut());
    if !resolver.errors.is_empty() {
        return Err(ConfigErrors(resolver.errors));
    }
    document.hide(resolver.values);
    let part = T::deserialize(toml::de::Deserializer::from(root));
    Ok(part.map_err(|error| parse_error(&document, &error))?)
}

fn keep(table: &mut DeTable<'_>, is_kept: impl Fn(&str) -> bool) {
    let entries = std::mem::take(table).into_iter();
    *table = entries.filter(|(key, _)| is_kept(key.get_ref())).collect();
}
