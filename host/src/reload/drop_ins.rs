//! Log lines about files of the plugins folder that a reload found refused, removed or mended.
//!
//! A plugin that is admitted but cannot be loaded is logged where it is loaded.

use std::collections::BTreeMap;

use crate::{
    host::in_force::InForce,
    plugin_user::{PluginUsers, role::Role},
    plugins::{Catalog, CatalogFile},
};

/// Logs the differences between the plugins folders of two states of a host.
pub(super) fn log_changes(before: &InForce, after: &InForce) {
    let (old, new) = (by_name(&before.catalog), by_name(&after.catalog));
    for (file, now) in &new {
        let was = old.get(file).and_then(|was| refusal(was));
        match (was, refusal(now)) {
            (was, Some(problem)) if was.as_ref() != Some(&problem) => tracing::warn!(
                event = "plugin_problem",
                file,
                problem,
                in_use = old.get(file).is_some_and(|was| is_in_use(was, after)),
                "a plugin has a problem",
            ),
            (Some(_), None) => tracing::info!(
                event = "plugin_problem_solved",
                file,
                "a file of the plugins folder that was refused is accepted",
            ),
            _ => {}
        }
    }
    for (file, was) in old.iter().filter(|(file, _)| !new.contains_key(*file)) {
        if is_in_use(was, after) {
            tracing::warn!(
                event = "plugin_file_removed",
                file,
                in_use = true,
                "a file was removed from the plugins folder; hint: its plugin serves until the next \
                 start, so put the file back before",
            );
        } else {
            tracing::info!(
                event = "plugin_file_removed",
                file,
                in_use = false,
                "a file was removed from the plugins folder",
            );
        }
    }
}

fn by_name(catalog: &Catalog) -> BTreeMap<&str, &CatalogFile> {
    catalog.files.iter().map(|file| (file.file_name.as_str(), file)).collect()
}

/// Returns the reason why a file is refused.
fn refusal(file: &CatalogFile) -> Option<String> {
    file.admission.as_ref().err().map(ToString::to_string)
}

/// Returns true if the plugin that was in a file serves an integration or a destination, and no other file has it.
fn is_in_use(file: &CatalogFile, state: &InForce) -> bool {
    let Ok(plugin) = &file.admission else { return false };
    let has_it = |other: &CatalogFile| {
        other.admission.as_ref().is_ok_and(|other| other.sha256 == plugin.sha256)
    };
    if state.catalog.files.iter().any(has_it) {
        return false;
    }
    serves(&state.integrations, &plugin.sha256) || serves(&state.destinations, &plugin.sha256)
}

fn serves<R: Role>(users: &PluginUsers<R>, sha256: &str) -> bool {
    let mut users = users.by_name.values();
    users.any(|user| user.admitted().is_some_and(|plugin| plugin.sha256 == sha256))
}
