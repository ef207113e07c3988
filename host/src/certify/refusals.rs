//! The check `options-refused`: the plugin refuses wrong options with a sentence that names the key.
//!
//! Another check compares the plugin with its schema.

use serde_json::json;

use super::{
    baseline::Made,
    context::CheckContext,
    tables::{self, UNKNOWN_KEY},
    verdict::Verdict,
};

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let base = context.tables().first().map(|table| table.options.clone());
    let base = base.unwrap_or_else(|| json!({}));
    let Some(schema) = &context.schema else { return Verdict::skipped("the plugin has no schema") };
    let mut wrong = tables::broken(schema, &base);
    // A schema may allow unknown keys, but an operator who misspells a key needs an error.
    if !wrong.iter().any(|broken| broken.key == UNKNOWN_KEY) {
        let mut options = tables::filled(&schema.json, &base);
        if let Some(table) = options.as_object_mut() {
            table.insert(UNKNOWN_KEY.into(), 1.into());
        }
        wrong.push(tables::Broken { options, key: UNKNOWN_KEY.into() });
    }
    let tables: Vec<_> = wrong.iter().map(|broken| broken.options.clone()).collect();
    let made = context.make(&tables, &|index| tables::shown(&tables[index]));
    let mut faults = Vec::new();
    for (broken, made) in wrong.iter().zip(made) {
        let key = &broken.key;
        match made {
            Some(Made::Refused(sentence)) if !sentence.contains(key.as_str()) => {
                let shown = tables::shown(&broken.options);
                faults.push(format!(
                    "refuses {shown} with a sentence that does not name `{key}`: `{sentence}`\n\
                     hint: `OptionsError::at` takes the key"
                ));
            }
            Some(Made::Accepted) if key == UNKNOWN_KEY => faults.push(
                "accepts a key that it does not know\n\
                 hint: derive its options with `#[serde(deny_unknown_fields)]`"
                    .into(),
            ),
            _ => {}
        }
    }
    Verdict::of_faults(
        &faults,
        format!("{} wrong tables, each sentence names the key", wrong.len()),
    )
}
