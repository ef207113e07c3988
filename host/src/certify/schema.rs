//! Checks `schema-valid` and `schema-matches`: the options' schema is one, and what it allows and
//! forbids is what the plugin accepts and refuses.
//!
//! A plugin may refuse what its schema allows, for reasons that no schema can say, such as a pattern
//! that does not compile. That it reads a value otherwise than its schema says is told from the words
//! in which serde refuses a type.

use serde_json::Value;

use super::{
    Verdict,
    examination::{Examination, Made, OptionsSchema},
    tables,
};
use crate::plugins::schema::properties;

/// How serde begins to say that a value is not of the type it reads.
const STRUCTURAL: &[&str] = &[
    "invalid type: ",
    "invalid value: ",
    "invalid length ",
    "missing field `",
    "unknown field `",
    "unknown variant `",
    "data did not match any variant",
];

pub(super) fn is_valid(examination: &mut Examination<'_>) -> Verdict {
    let json = match examination.trial.schema() {
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
    examination.schema = Some(OptionsSchema { json, validator });
    if is_table {
        return Verdict::passed(format!("{keys} {}", if keys == 1 { "key" } else { "keys" }));
    }
    let hint = "make the options a struct";
    Verdict::warned(format!("does not say that options are a table\nhint: {hint}"))
}

pub(super) fn matches(examination: &mut Examination<'_>) -> Verdict {
    let Some(base) = examination.tables().first().map(|table| table.options.clone()) else {
        let hint = "give some that are good with --fixtures or --options";
        return Verdict::skipped(format!("no options were found that it accepts\nhint: {hint}"));
    };
    let mut faults = of_fixtures(examination);
    let Some(schema) = &examination.schema else { return Verdict::skipped("it has no schema") };
    let (valid, broken) = (tables::valid(schema, &base), tables::broken(schema, &base));

    let made = examination.make(&valid, &|index| tables::shown(&valid[index]));
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
    let made = examination.make(&tables, &|index| tables::shown(&tables[index]));
    for (broken, made) in broken.iter().zip(made) {
        // An unknown key is for `options-refused`.
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

fn of_fixtures(examination: &Examination<'_>) -> Vec<String> {
    let Some(schema) = &examination.schema else { return Vec::new() };
    let fixtures = examination.settings.fixtures.iter();
    let wrong = fixtures.filter_map(|fixture| {
        let error = schema.validator.validate(&fixture.options).err()?;
        let place = error.instance_path().to_string();
        // Not the error itself: it repeats the value, which may be a secret.
        Some(format!("its schema forbids the options of fixture `{}`, at `{place}`", fixture.name))
    });
    wrong.collect()
}
