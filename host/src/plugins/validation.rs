//! Compares options with the JSON Schema that their plugin gives, and reports all faults at once.
//!
//! No message repeats a value, which may be a secret. Only text of the schema is shown.

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

/// A fault in a table of options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The keys from the table of options to the fault, as [`OptionsError`] writes them: `rules[2]`,
    /// `pattern`.
    ///
    /// [`OptionsError`]: tocsin_plugin_api::OptionsError
    pub path: Vec<String>,
    /// The fault, as the end of a sentence about the key.
    pub message: String,
    /// The remedy, if the schema tells.
    pub hint: Option<String>,
    /// True if the key itself is missing.
    pub is_missing: bool,
}

/// Compares options with a schema. Of several faults at one key, the first is returned.
///
/// # Errors
///
/// If the schema is invalid: the end of a sentence about the schema.
pub fn faults(schema: &Value, options: &Value) -> Result<Vec<Fault>, String> {
    let validator = jsonschema::draft202012::options()
        .build(schema)
        .map_err(|error| format!("is no JSON Schema: {error}"))?;
    let mut faults: Vec<Fault> = Vec::new();
    for error in validator.iter_errors(options) {
        for fault in (Reader { schema, options }).faults(&error) {
            if faults.iter().all(|known| known.path != fault.path) {
                faults.push(fault);
            }
        }
    }
    Ok(faults)
}

struct Reader<'v> {
    schema: &'v Value,
    options: &'v Value,
}

impl Reader<'_> {
    fn faults(&self, error: &ValidationError<'_>) -> Vec<Fault> {
        let path = self.path(error);
        let fault = |path, message: String| Fault { path, message, hint: None, is_missing: false };
        let inner = |key: &str| {
            let mut path = path.clone();
            path.push(key.to_owned());
            path
        };
        match error.kind() {
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => {
                let unknown = |key: &String| Fault {
                    hint: self.known_beside(error),
                    ..fault(inner(key), format!("unknown option `{key}`"))
                };
                unexpected.iter().map(unknown).collect()
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let missing = fault(inner(key), "is missing".into());
                vec![Fault { is_missing: true, ..missing }]
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                // The alternative of the right type is the one that was meant.
                let mut meant = context.iter().filter(|form| !has_other_type(form, error));
                match (meant.next(), meant.next()) {
                    (Some(form), None) => {
                        form.iter().flat_map(|error| self.faults(error)).collect()
                    }
                    (first, _) => {
                        vec![fault(
                            path,
                            expected_alternatives(context, first.is_none(), error.instance()),
                        )]
                    }
                }
            }
            kind => vec![fault(path, sentence(kind, error.instance()))],
        }
    }

    /// Returns the keys to an error. The index in a list is written as `[2]` after the key of the list.
    fn path(&self, error: &ValidationError<'_>) -> Vec<String> {
        let (mut path, mut value) = (Vec::<String>::new(), Some(self.options));
        for part in error.instance_path().as_str().split('/').skip(1) {
            let key = part.replace("~1", "/").replace("~0", "~");
            match (value, path.last_mut()) {
                (Some(Value::Array(_)), Some(list)) => list.push_str(&format!("[{key}]")),
                _ => path.push(key),
            }
            value = value.and_then(|value| value.pointer(&format!("/{part}")));
        }
        path
    }

    /// Returns the known keys beside an unknown one.
    fn known_beside(&self, error: &ValidationError<'_>) -> Option<String> {
        let (table, _) = error.schema_path().as_str().rsplit_once('/')?;
        let properties = self.schema.pointer(table)?.get("properties")?.as_object()?;
        let mut known: Vec<_> = properties.keys().map(String::as_str).collect();
        known.sort_unstable();
        Some(format!("the known names are `{}`", known.join("`, `")))
    }
}

fn has_other_type(form: &[ValidationError<'_>], whole: &ValidationError<'_>) -> bool {
    form.iter().any(|error| {
        matches!(error.kind(), Kind::Type { .. }) && error.instance_path() == whole.instance_path()
    })
}

/// Explains what a value has to be that fits none of its alternatives.
fn expected_alternatives(
    context: &[Vec<ValidationError<'_>>],
    is_other_type: bool,
    instance: &Value,
) -> String {
    let errors = || context.iter().filter_map(|form| form.first());
    if is_other_type {
        let types: Vec<_> = errors()
            .filter_map(|error| match error.kind() {
                Kind::Type { kind } => Some(types(kind)),
                _ => None,
            })
            .flatten()
            .collect();
        return expected(types, instance);
    }
    let values: Option<Vec<_>> = errors()
        .filter(|error| !matches!(error.kind(), Kind::Type { .. }))
        .map(|error| match error.kind() {
            Kind::Constant { expected_value } => Some(vec![(**expected_value).clone()]),
            Kind::Enum { options } => options.as_array().cloned(),
            _ => None,
        })
        .collect();
    match values {
        Some(values) => one_of(&values.concat()),
        None => "has none of the allowed forms".into(),
    }
}

fn sentence(kind: &Kind, instance: &Value) -> String {
    let count =
        |count: &u64, what: &str| format!("{count} {what}{}", if *count == 1 { "" } else { "s" });
    match kind {
        Kind::Type { kind } => expected(types(kind), instance),
        Kind::Enum { options } => one_of(options.as_array().map_or(&[], Vec::as_slice)),
        Kind::Constant { expected_value } => format!("has to be `{expected_value}`"),
        Kind::Minimum { limit } => format!("has to be {limit} or more"),
        Kind::Maximum { limit } => format!("has to be {limit} or less"),
        Kind::ExclusiveMinimum { limit } => format!("has to be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("has to be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("has to be a multiple of {multiple_of}"),
        Kind::MinLength { limit: 1 } | Kind::MinItems { limit: 1 } => "must not be empty".into(),
        Kind::MinLength { limit } => format!("has to have {} or more", count(limit, "character")),
        Kind::MaxLength { limit } => format!("has to have {} or less", count(limit, "character")),
        Kind::MinItems { limit } => format!("has to have {} or more", count(limit, "item")),
        Kind::MaxItems { limit } => format!("has to have {} or less", count(limit, "item")),
        Kind::UniqueItems => "has an item twice".into(),
        Kind::Pattern { pattern } => format!("does not match `{pattern}`"),
        kind => format!("violates `{}` of the plugin's schema", kind.keyword()),
    }
}

fn one_of(values: &[Value]) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    format!("expected one of {}", values.join(", "))
}

fn types(kind: &TypeKind) -> Vec<JsonType> {
    match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    }
}

fn expected(types: Vec<JsonType>, instance: &Value) -> String {
    let word = |kind: JsonType| match kind {
        // TOML has no null: an option that may be null may be left out.
        JsonType::Null => None,
        JsonType::Boolean => Some("true or false"),
        JsonType::Integer => Some("a whole number"),
        JsonType::Number => Some("a number"),
        JsonType::String => Some("a string"),
        JsonType::Array => Some("a list"),
        JsonType::Object => Some("a table"),
    };
    let found = match instance {
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Bool(_) => "a boolean",
        instance => word(JsonType::from(instance)).unwrap_or("nothing"),
    };
    let mut expected: Vec<_> = types.into_iter().filter_map(word).collect();
    expected.dedup();
    format!("expected {}, found {found}", expected.join(" or "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        let secret = json!({"type": "string", "minLength": 1});
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "required": ["token", "name"],
            "additionalProperties": false,
            "properties": {
                "token": {"anyOf": [secret, {"type": "array", "items": secret, "minItems": 1}, {"type": "null"}]},
                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8},
                "port": {"type": ["integer", "null"], "minimum": 1, "maximum": 65535},
                "mode": {"$ref": "#/$defs/Mode"},
                "rules": {"type": "array", "items": {"$ref": "#/$defs/Rule"}},
            },
            "$defs": {
                "Mode": {"oneOf": [{"type": "string", "const": "one"}, {"type": "string", "const": "two"}]},
                "Rule": {"type": "object", "required": ["x"], "properties": {"x": {"type": "boolean"}}, "additionalProperties": false},
            },
        })
    }

    fn said(options: &Value) -> String {
        let faults = faults(&schema(), options).expect("a schema");
        let line = |fault: Fault| {
            let hint = fault.hint.map_or(String::new(), |hint| format!("; {hint}"));
            format!("{}: {}{hint}\n", fault.path.join("."), fault.message)
        };
        faults.into_iter().map(line).collect()
    }

    #[test]
    fn valid_options_have_no_faults() {
        for token in [json!("a"), json!(["a", "b"])] {
            let options = json!({"token": token, "name": "a", "port": 1, "mode": "two", "rules": [{"x": true}]});
            assert_eq!(said(&options), "");
        }
    }

    #[test]
    fn reports_all_faults_at_once_without_values() {
        let options = json!({
            "token": ["s3cret", ""], "name": "S3CRET S3CRET", "port": 0, "mode": "s3cret",
            "rules": [{"x": true}, {"x": "s3cret", "y": 1}, {}], "colour": "s3cret",
        });
        insta::assert_snapshot!(said(&options), @r#"
        mode: expected one of `"one"`, `"two"`
        name: has to have 8 characters or less
        port: has to be 1 or more
        rules[1].x: expected true or false, found a string
        rules[1].y: unknown option `y`; the known names are `x`
        rules[2].x: is missing
        token[1]: must not be empty
        colour: unknown option `colour`; the known names are `mode`, `name`, `port`, `rules`, `token`
        "#);
    }

    #[test]
    fn a_wrong_type_is_reported_with_the_right_types() {
        insta::assert_snapshot!(said(&json!({"token": 170417, "name": true, "port": 1.5, "mode": 7, "rules": "x"})), @"
        mode: expected a string, found a number
        name: expected a string, found a boolean
        port: expected a whole number, found a fraction
        rules: expected a list, found a string
        token: expected a string or a list, found a number
        ");
        insta::assert_snapshot!(said(&json!({"token": [], "name": "A"})), @"
        name: does not match `^[a-z]+$`
        token: must not be empty
        ");
    }

    #[test]
    fn an_invalid_schema_is_reported() {
        let said = |schema: Value| faults(&schema, &json!({})).expect_err("it is none");
        insta::assert_snapshot!(said(json!({"type": "strnig"})), @r#"is no JSON Schema: "strnig" is not valid under any of the schemas listed in the 'anyOf' keyword"#);
        assert!(
            said(json!({"$ref": "https://example.com/schema"})).starts_with("is no JSON Schema")
        );
    }
}
