//! A digest of a destination's settings, which tells if an operator has changed something.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{alert::PluginId, config::DestinationConfig};

/// Returns a digest of everything that decides if an attempt can succeed. Equal settings have the same
/// digest in every process. The digest does not show any option.
pub(super) fn settings_digest(plugin: &PluginId, section: &DestinationConfig) -> String {
    let networks = section.allow_networks.iter().map(ToString::to_string);
    let settings = json!({
        "plugin": plugin.name,
        "version": plugin.version,
        "options": section.options,
        "allow_networks": networks.collect::<Vec<_>>(),
        "allow_http": section.allow_http,
    });
    let digest = Sha256::digest(settings.to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(version: &str, section: &str) -> String {
        let plugin = PluginId { name: "demo".into(), version: version.into() };
        let section: DestinationConfig = toml::from_str(section).expect("a section");
        settings_digest(&plugin, &section)
    }

    #[test]
    fn changes_with_all_that_decides_if_an_attempt_can_succeed() {
        let plain = "plugin = 'demo'\noptions = { token = 's3cret', a = 1 }\n";
        let before = digest("1.0.0", plain);
        for (version, section) in [
            ("1.0.1", plain.to_owned()),
            ("1.0.0", plain.replace("s3cret", "s3crets")),
            ("1.0.0", plain.replace("a = 1", "b = 1")),
            ("1.0.0", format!("{plain}allow_http = true\n")),
            ("1.0.0", format!("{plain}allow_networks = ['10.0.0.0/8']\n")),
        ] {
            assert_ne!(digest(version, &section), before, "{version} {section}");
        }
    }

    #[test]
    fn stays_the_same_for_settings_that_decide_nothing() {
        let before = digest("1.0.0", "plugin = 'demo'\noptions = { token = 's3cret', a = 1 }\n");
        let after = digest(
            "1.0.0",
            "plugin = 'demo'\nevents = ['opened']\nparallel = 1\nrate_limit = '1/s'\n\
             digest_above = 5\noptions = { a = 1, token = 's3cret' }\n",
        );
        assert_eq!(before, after);
        assert!(!before.contains("s3cret"));
        assert_eq!(before.len(), 64);
    }
}
