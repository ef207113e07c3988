//! Options tables made from a schema: tables that it allows, and tables that it forbids.
//!
//! Only the part of JSON Schema that schemars writes is known here; the rest is ignored. The validator
//! confirms every table.

use serde_json::{Map, Value, json};

use super::baseline::OptionsSchema;
use crate::plugins::schema::{DEEPEST, branches, is_secret, properties, resolved};

/// A key that no plugin has.
pub(super) const UNKNOWN_KEY: &str = "no_such_option";

/// A table that a plugin must refuse.
pub(super) struct Broken {
    pub(super) options: Value,
    /// The key that is wrong.
    pub(super) key: String,
}

/// Returns tables that the [`OptionsSchema`] allows: `base`, and copies of it with one key changed.
pub(super) fn valid(schema: &OptionsSchema, base: &Value) -> Vec<Value> {
    let mut tables = vec![filled(&schema.json, base)];
    for (key, property) in &properties(&schema.json) {
        for variant in variants(&schema.json, property, 0) {
            tables.push(with(&tables[0], key, variant));
        }
    }
    let mut known = Vec::new();
    for table in tables {
        if schema.validator.is_valid(&table) && !known.contains(&table) {
            known.push(table);
        }
    }
    known
}

/// Returns tables that the [`OptionsSchema`] forbids: copies of `base` with one key of a wrong type, out of its
/// bounds or missing.
pub(super) fn broken(schema: &OptionsSchema, base: &Value) -> Vec<Broken> {
    let base = filled(&schema.json, base);
    let mut tables = Vec::new();
    let mut push = |key: &str, options: Value| {
        if !schema.validator.is_valid(&options) {
            tables.push(Broken { options, key: key.into() });
        }
    };
    for (key, property) in &properties(&schema.json) {
        for value in wrong_values(&schema.json, property) {
            push(key, with(&base, key, value));
        }
        if let Value::Object(mut without) = base.clone() {
            without.remove(key);
            push(key, without.into());
        }
    }
    push(UNKNOWN_KEY, with(&base, UNKNOWN_KEY, json!(1)));
    tables
}

/// Returns `base` with the keys that the schema requires.
pub(super) fn filled(root: &Value, base: &Value) -> Value {
    let mut filled = base.as_object().cloned().unwrap_or_default();
    for key in required(root) {
        if let (false, Some(property)) = (filled.contains_key(key), properties(root).get(key)) {
            filled.extend(variants(root, property, 0).into_iter().next().map(|v| (key.into(), v)));
        }
    }
    filled.into()
}

/// Returns `base` with `secret` wherever the schema has a secret; `None` if the schema has none.
pub(super) fn with_secret(schema: &Value, base: &Value, secret: &Value) -> Option<Value> {
    place(schema, schema, Some(base), secret, 0)
}

/// Returns a table for a sentence, cut if it is long.
pub(super) fn shown(table: &Value) -> String {
    const LONGEST: usize = 120;
    let text = table.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

fn with(table: &Value, key: &str, value: Value) -> Value {
    let mut table = table.as_object().cloned().unwrap_or_default();
    table.insert(key.into(), value);
    table.into()
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    required.filter_map(Value::as_str)
}

/// Returns a few values that a schema allows, the usual ones first.
fn variants(root: &Value, schema: &Value, depth: usize) -> Vec<Value> {
    let schema = resolved(root, schema);
    if let Some(only) = schema.get("const") {
        return vec![only.clone()];
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.clone();
    }
    let examples = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
    let mut variants: Vec<_> = examples.chain(schema.get("default")).cloned().collect();
    for branch in branches(schema) {
        variants.extend(self::variants(root, branch, depth));
    }
    for name in types(schema) {
        variants.extend(of_type(root, schema, name, depth));
    }
    variants
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn of_type(root: &Value, schema: &Value, name: &str, depth: usize) -> Vec<Value> {
    let number = |key: &str| schema.get(key).and_then(Value::as_i64);
    match name {
        "string" => vec![string(schema)],
        "boolean" => vec![false.into(), true.into()],
        "null" => vec![Value::Null],
        "integer" | "number" => {
            let (least, most) = (number("minimum"), number("maximum"));
            let usual = least.unwrap_or(1).max(1).min(most.unwrap_or(i64::MAX));
            let bounds = [least, most].into_iter().flatten();
            std::iter::once(usual).chain(bounds).map(Value::from).collect()
        }
        "array" => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            let least = number("minItems").and_then(|least| usize::try_from(least).ok());
            let least = least.unwrap_or_default();
            let one = variants(root, items, depth + 1).into_iter().next();
            let some = one.map(|one| Value::from(vec![one; least.max(1)]));
            let none = (least == 0).then(|| json!([]));
            none.into_iter().chain(some).collect()
        }
        "object" if depth < DEEPEST => tables_inside(root, schema, depth),
        _ => Vec::new(),
    }
}

fn string(schema: &Value) -> Value {
    let text = match schema.get("format").and_then(Value::as_str) {
        Some("password") => "certify-secret",
        Some("uri" | "url") => "https://example.com/",
        Some("date-time") => "2026-01-01T00:00:00Z",
        _ => "text",
    };
    let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or_default();
    let least = usize::try_from(least.min(1000)).unwrap_or_default();
    format!("{text:x<least$}").into()
}

fn tables_inside(root: &Value, schema: &Value, depth: usize) -> Vec<Value> {
    let properties = properties(schema);
    let mut first = Map::new();
    for key in required(schema) {
        let value = properties
            .get(key)
            .and_then(|property| variants(root, property, depth + 1).into_iter().next());
        first.extend(value.map(|value| (key.to_owned(), value)));
    }
    let first = Value::Object(first);
    let mut tables = vec![first.clone()];
    for (key, property) in &properties {
        let value = variants(root, property, depth + 1).into_iter().next();
        tables.extend(value.map(|value| with(&first, key, value)));
    }
    if let Some(any) = schema.get("additionalProperties").filter(|any| any.is_object()) {
        let value = variants(root, any, depth + 1).into_iter().next();
        tables.extend(value.map(|value| with(&first, "key", value)));
    }
    tables
}

/// Returns values most of which a schema forbids. The validator decides.
fn wrong_values(root: &Value, property: &Value) -> Vec<Value> {
    // No list: serde can read a struct from a list, which the schema does not say.
    let mut wrong = vec![
        json!("no such value"),
        json!(731_250),
        json!(-1),
        json!(0.5),
        json!(true),
        Value::Null,
    ];
    wrong.push(json!({"no_such_option": 1}));
    wrong.push(json!(""));
    let property = resolved(root, property);
    for schema in std::iter::once(property).chain(branches(property)) {
        let schema = resolved(root, schema);
        for (key, beyond) in [("minimum", -1), ("maximum", 1)] {
            let bound = schema.get(key).and_then(Value::as_i64);
            wrong.extend(bound.and_then(|bound| bound.checked_add(beyond)).map(Value::from));
        }
        if types(schema).contains(&"array") {
            wrong.extend([json!([]), json!([731_250]), json!([{"no_such_option": 1}])]);
        }
    }
    wrong
}

fn place(
    root: &Value,
    schema: &Value,
    base: Option<&Value>,
    secret: &Value,
    depth: usize,
) -> Option<Value> {
    let schema = resolved(root, schema);
    if is_secret(schema) {
        return Some(secret.clone());
    }
    if depth > DEEPEST {
        return None;
    }
    if let Some(placed) =
        branches(schema).iter().find_map(|branch| place(root, branch, base, secret, depth + 1))
    {
        return Some(placed);
    }
    if let Some(items) = schema.get("items") {
        let first = base.and_then(|base| base.get(0));
        return place(root, items, first, secret, depth + 1).map(|one| json!([one]));
    }
    let mut table = None;
    for (key, property) in &properties(schema) {
        let inner = base.and_then(|base| base.get(key));
        if let Some(placed) = place(root, property, inner, secret, depth + 1) {
            let base = || filled_inside(root, schema, base, depth);
            table = Some(with(&table.unwrap_or_else(base), key, placed));
        }
    }
    table
}

fn filled_inside(root: &Value, schema: &Value, base: Option<&Value>, depth: usize) -> Value {
    match base.filter(|base| base.is_object()) {
        Some(base) => base.clone(),
        None => tables_inside(root, schema, depth).into_iter().next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> OptionsSchema {
        let json = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["count"],
            "properties": {
                "count": {"type": "integer", "minimum": 2, "maximum": 255},
                "mode": {"$ref": "#/$defs/Mode"},
                "token": {"anyOf": [
                    {"type": "string", "minLength": 1, "format": "password", "writeOnly": true},
                    {"type": "null"},
                ]},
                "rules": {"type": "array", "items": {"$ref": "#/$defs/Rule"}},
            },
            "$defs": {
                "Mode": {"oneOf": [{"const": "fast", "type": "string"}, {"const": "slow"}]},
                "Rule": {
                    "type": "object",
                    "required": ["key"],
                    "properties": {"key": {"type": "string", "format": "password"}},
                },
            },
        });
        let validator = jsonschema::validator_for(&json).expect("a schema");
        OptionsSchema { json, validator }
    }

    fn lines(tables: impl Iterator<Item = Value>) -> String {
        tables.map(|table| format!("{table}\n")).collect()
    }

    #[test]
    fn changes_one_key_at_a_time() {
        insta::assert_snapshot!(lines(valid(&schema(), &json!({})).into_iter()), @r#"
        {"count":2}
        {"count":255}
        {"count":2,"mode":"fast"}
        {"count":2,"mode":"slow"}
        {"count":2,"rules":[]}
        {"count":2,"rules":[{"key":"certify-secret"}]}
        {"count":2,"token":"certify-secret"}
        {"count":2,"token":null}
        "#);
    }

    #[test]
    fn each_forbidden_table_names_its_key() {
        let schema = schema();
        let broken = broken(&schema, &json!({"count": 2}));
        assert!(broken.iter().all(|broken| !schema.validator.is_valid(&broken.options)));
        for key in ["count", "mode", "token", "rules", UNKNOWN_KEY] {
            assert!(broken.iter().any(|broken| broken.key == key), "{key}");
        }
        let of_count = broken.iter().filter(|broken| broken.key == "count");
        let counts: Vec<_> = of_count.map(|broken| broken.options.to_string()).collect();
        assert!(counts.contains(&r#"{"count":256}"#.to_owned()), "{counts:?}");
        assert!(counts.contains(&"{}".to_owned()), "{counts:?}");
    }

    #[test]
    fn replaces_every_secret() {
        let base = json!({"count": 2, "rules": [{"key": "old", "more": 1}]});
        let placed = with_secret(&schema().json, &base, &json!("canary")).expect("it has some");
        insta::assert_snapshot!(placed, @r#"{"count":2,"rules":[{"key":"canary","more":1}],"token":"canary"}"#);
        let none = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        assert_eq!(with_secret(&none, &base, &json!("canary")), None);
    }
}
