//! Reads the JSON Schema of a plugin's options, as far as schemars writes it.
//!
//! Options are judged in [`validation`](super::validation).

use serde_json::{Map, Value};

/// The depth to which tables in tables are followed.
pub(crate) const DEEPEST: usize = 4;

/// Returns the properties of a schema that describes a table.
pub(crate) fn properties(schema: &Value) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Returns whether a schema describes a [`Secret`](tocsin_plugin_api::Secret).
pub(crate) fn is_secret(schema: &Value) -> bool {
    schema.get("format").and_then(Value::as_str) == Some("password")
        || schema.get("writeOnly").and_then(Value::as_bool) == Some(true)
}

/// Follows the references of a schema.
pub(crate) fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let mut schema = schema;
    for _ in 0..DEEPEST {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
        let Some(target) = reference.strip_prefix('#').and_then(|path| root.pointer(path)) else {
            break;
        };
        schema = target;
    }
    schema
}

/// Returns the alternatives of a schema, of which a value has to fit one.
pub(crate) fn branches(schema: &Value) -> &[Value] {
    let any = schema.get("anyOf").or(schema.get("oneOf"));
    any.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Returns the strings in options that the schema marks as secrets.
pub(crate) fn secrets(schema: &Value, options: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(schema, schema, options, 0, &mut found);
    found
}

/// Returns all strings in a value, at any depth.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(table) => table.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

fn collect(root: &Value, schema: &Value, value: &Value, depth: usize, found: &mut Vec<String>) {
    if depth > 2 * DEEPEST {
        return;
    }
    let schema = resolved(root, schema);
    if is_secret(schema) {
        return found.extend(strings(value));
    }
    for branch in branches(schema) {
        collect(root, branch, value, depth + 1, found);
    }
    match value {
        Value::Object(table) => {
            let properties = properties(schema);
            for (key, value) in table {
                let other = schema.get("additionalProperties");
                if let Some(schema) = properties.get(key).or(other) {
                    collect(root, schema, value, depth + 1, found);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            items.iter().for_each(|item| collect(root, schema, item, depth + 1, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde_json::json;
    use tocsin_plugin_api::{Secret, Secrets};

    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Options {
        token: Option<Secrets>,
        user: Option<User>,
        prefix: String,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct User {
        name: String,
        password: Secret,
    }

    #[test]
    fn finds_secrets_wherever_the_schema_marks_them() {
        let schema = serde_json::to_value(schemars::schema_for!(Options)).expect("a schema");
        let options = json!({
            "token": ["one", "two"],
            "user": { "name": "steve", "password": "three" },
            "prefix": "four",
        });
        let mut found = secrets(&schema, &options);
        found.sort();
        found.dedup();
        assert_eq!(found, ["one", "three", "two"]);
        assert_eq!(secrets(&schema, &json!({ "token": "one" })), ["one"]);
        assert_eq!(strings(&options).len(), 5);
    }
}
