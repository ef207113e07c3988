//! `plugins.required`: the plugins without which a host does not start.

use serde::{Deserialize, Deserializer, de};

/// The plugins that have to serve when the host starts. What is wrong with any other plugin breaks its
/// own integrations only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RequiredPlugins {
    /// None of them: `false`.
    #[default]
    None,
    /// Every plugin that an enabled integration names: `true`.
    All,
    /// The plugins of these names.
    Names(Vec<String>),
}

impl RequiredPlugins {
    /// Returns whether the plugin of that name is required.
    pub fn contains(&self, plugin: &str) -> bool {
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
            Err(_) => Err(de::Error::custom("is neither true, nor false, nor names of plugins")),
        }
    }
}
