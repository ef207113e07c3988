//! The check `manifest`: the file has a manifest that can be read without running it.
//!
//! Loading shows if the manifest is true.

use super::{context::CheckContext, verdict::Verdict};
use crate::plugins::dropped_file::DroppedFile;

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let path = context.settings.file.clone();
    let admission = DroppedFile::read(&path).and_then(|file| file.examine());
    let admission = context.admission.insert(admission.map(|(manifest, _)| manifest));
    let manifest = match admission {
        Ok(manifest) => manifest,
        Err(refusal) => return Verdict::failed(refusal.problem.to_string()),
    };
    let usual = format!("lib{}.so", manifest.name.replace('-', "_"));
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut doubts: Vec<String> = Vec::new();
    if manifest.description.trim().is_empty() {
        doubts.push(
            "the plugin has no description\nhint: set `description` in its Cargo.toml".into(),
        );
    }
    if manifest.license.trim().is_empty() {
        doubts.push("the plugin has no licence\nhint: set `license` in its Cargo.toml".into());
    }
    if file_name != usual {
        let hint = "a host accepts any name; people look for the name that cargo gives";
        doubts.push(format!("the file is called `{file_name}`, not `{usual}`\nhint: {hint}"));
    }
    if doubts.is_empty() {
        let (name, version) = (&manifest.name, &manifest.version);
        return Verdict::passed(format!(
            "{name} {version}, for plugin-api {}",
            manifest.plugin_api
        ));
    }
    Verdict::warned(doubts.join("; "))
}
