//! Warnings about a [`LoadedConfig`] that has no error, but places that an operator should check.

use super::{
    ConfigError, LoadedConfig, RequiredPlugins, Scope,
    literals::{Literal, literals},
    secrets::{is_place_of_secrets, stray_characters},
};

impl LoadedConfig {
    /// Returns warnings about secrets that are written among the options of an integration or a
    /// destination, which `table` says. `secrets` are the values that its plugin declares as secret; no
    /// warning repeats one.
    pub fn warnings_of_options(
        &self,
        table: &str,
        name: &str,
        secrets: &[String],
    ) -> Vec<ConfigError> {
        let place = [table, name, "options"];
        let is_secret = |literal: &Literal| {
            literal.key.iter().zip(place).filter(|(one, other)| one == other).count() == place.len()
                && secrets.contains(&literal.text)
        };
        let secrets = literals(&self.document).into_iter().filter(is_secret);
        secrets.flat_map(|literal| self.warnings_of_secret(&literal)).collect()
    }

    /// Returns the warnings that need no plugin, see [`warnings_of_options`](Self::warnings_of_options).
    pub(super) fn own_warnings(&self) -> Vec<ConfigError> {
        let is_token =
            |literal: &Literal| literal.key[0] == "admin" && is_place_of_secrets(&literal.key);
        let tokens = literals(&self.document).into_iter().filter(is_token);
        let mut warnings: Vec<_> =
            tokens.flat_map(|literal| self.warnings_of_secret(&literal)).collect();
        let tokens = &self.config.admin.tokens;
        if !tokens.is_empty() && !tokens.iter().any(|token| token.scope == Some(Scope::Admin)) {
            let message = "no token has the scope `admin`, so nobody can reload, make a backup or read the audit through the API";
            let hint = "add `\"admin\"` to the `scopes` of a token, unless signals and changed files are enough";
            warnings.push(self.document.error_at(&["admin", "tokens"], message).hint(hint));
        }
        if let RequiredPlugins::Names(names) = &self.config.plugins.required {
            let is_used = |name: &&String| {
                self.config.integrations.values().any(|section| section.plugin == **name)
                    || self.config.destinations.values().any(|section| section.plugin == **name)
            };
            warnings.extend(names.iter().filter(|name| !is_used(name)).map(|name| {
                let message = format!("no integration and no destination uses plugin `{name}`");
                self.plugins_error("required", message).hint("check the spelling")
            }));
        }
        warnings
    }

    fn warnings_of_secret(&self, literal: &Literal) -> Vec<ConfigError> {
        let untidy = stray_characters(&self.document, literal.span.clone(), &literal.text);
        let exposed = self.reader.map(|reader| {
            let path = &self.document.path;
            let message = format!("a secret is written here, and `{}` {reader}", path.display());
            let hint = format!("{}, or write {{ file = \"PATH\" }} here", reader.remedy(path));
            self.document.error_in(literal.span.clone(), message).hint(hint)
        });
        untidy.into_iter().chain(exposed).collect()
    }
}
