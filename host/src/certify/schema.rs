//! The checks `schema-valid` and `schema-matches`: the schema of the options is valid, and the plugin
//! accepts the options that its schema allows and refuses those that its schema forbids.
//!
//! A plugin may refuse options that its schema allows, for reasons that no schema can express, such as a
//! regular expression that does not compile. The check recognises a difference in types by serde's
//! wording.

use serde_json::Value;

use super::{
    baseline::{Made, OptionsSchema},
    context::CheckContext,
    tables,
    verdict::Verdict,
};
use crate::plugins::schema::properties;

/// The beginnings of the messages in which serde refuses a type.
const STRUCTURAL: &[&str] = &[
    "invalid type: ",
    "invalid value: ",
    "invalid length ",
    "missing field `",
    "unknown field `",
    "unknown variant `",
    "data did not match any variant",
];

pub(super) fn is_valid(context: &mut CheckContext<'_>) -> Verdict {
    let json = match context.sandbox.schema() {
        Ok(schema) => schema,
        Err(why) => return Verdict::failed(why),
    };
    if let Err(error) = jsonschema::meta::validate(&json) {
        let place = error.instance_path().to_string();
        return Verdict::failed(format!("is no valid JSON Schema at `{place}`: {error}"));
    }
    let validator = match jsonschema::validator_for(&json) {
        Ok(validator) => validator,
        Err(error) => return Verdict::failed(format!("is no valid JSON Schema: {error}")),
    };
    let keys = properties(&json).len();
    let is_table = json.get("type").and_then(Value::as_str) == Some("object");
    context.schema = Some(OptionsSchema { json, validator });
    if is_table {
        return Verdict::passed(format!("{keys} {}", if keys == 1 { "key" } else { "keys" }));
    }
    let hint = "make the options a struct";
    Verdict::warned(format!("does not say that options are a table\nhint: {hint}"))
}

pub(super) fn matches(context: &mut CheckContext<'_>) -> Verdict {
    let Some(base) = context.tables().first().map(|table| table.options.clone()) else {
        let hint = "give valid options with --fixtures or --options";
        return Verdict::skipped(format!(
            "no options were found that the plugin accepts\nhint: {hint}"
        ));
    };
    let mut faults = of_fixtures(context);
    let Some(schema) = &context.schema else { return Verdict::skipped("the plugin has no schema") };
    let (valid, broken) = (tables::valid(schema, &base), tables::broken(schema, &base));

    let made = context.make(&valid, &|index| tables::shown(&valid[index]));
    let mut refused_for_reasons = 0;
    for (table, made) in valid.iter().zip(made) {
        if let Some(Made::Refused(sentence)) = made {
            if STRUCTURAL.iter().any(|words| sentence.contains(words)) {
                let shown = tables::shown(table);
                faults.push(format!("refuses {shown}, which its schema allows: {sentence}"));
            } else {
                refused_for_reasons += 1;
            }
        }
    }
    let tables: Vec<_> = broken.iter().map(|broken| broken.options.clone()).collect();
    let made = context.make(&tables, &|index| tables::shown(&tables[index]));
    for (broken, made) in broken.iter().zip(made) {
        // The check `options-refused` reports unknown keys.
        if made == Some(Made::Accepted) && broken.key != tables::UNKNOWN_KEY {
            let shown = tables::shown(&broken.options);
            faults.push(format!("accepts {shown}, which its schema forbids"));
        }
    }
    let refused = match refused_for_reasons {
        0 => String::new(),
        count => format!(" ({count} refused for reasons of its own)"),
    };
    Verdict::of_faults(
        &faults,
        format!("{} tables that it allows{refused}, {} that it forbids", valid.len(), broken.len()),
    )
}

fn of_fixtures(context: &CheckContext<'_>) -> Vec<String> {
    let Some(schema) = &context.schema else { return Vec::new() };
    let fixtures = context.settings.fixtures.iter();
    let wrong = fixtures.filter_map(|fixture| {
        let error = schema.validator.validate(&fixture.options).err()?;
        let place = error.instance_path().to_string();
        // The error itself repeats the value, which may be a secret.
        Some(format!("its schema forbids the options of fixture `{}`, at `{place}`", fixture.name))
    });
    wrong.collect()
}
