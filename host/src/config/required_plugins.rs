//! `plugins.required`: the plugins without which the host does not start.

use serde::{Deserialize, Deserializer, de};

/// The plugins that must work when the host starts. A problem of any other plugin breaks only the
/// integrations that use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RequiredPlugins {
    /// No plugin: `false`.
    #[default]
    None,
    /// Every plugin that an enabled integration names: `true`.
    All,
    /// The plugins of these names.
    Names(Vec<String>),
}

impl RequiredPlugins {
    /// Returns true if the plugin of that name is required.
    pub(crate) fn contains(&self, plugin: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Names(names) => names.iter().any(|name| name == plugin),
        }
    }
}

impl<'de> Deserialize<'de> for RequiredPlugins {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Switch(bool),
            Names(Vec<String>),
        }
        match Form::deserialize(from) {
            Ok(Form::Switch(false)) => Ok(Self::None),
            Ok(Form::Switch(true)) => Ok(Self::All),
            Ok(Form::Names(names)) => Ok(Self::Names(names)),
            Err(_) => Err(de::Error::custom("is not true, false or a list of plugin names")),
        }
    }
}
