//! The reference of a plugin's options in Markdown, written from their JSON Schema.
//!
//! The schema is not validated. A part of it that is not understood reads as "any value".

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Map, Value};

/// Returns the options as Markdown: a table with type, default and meaning of each, then the meanings of
/// named values, then a table with a heading for each nested table.
///
/// Required options come first and the others in alphabetical order, so that the text does not depend on
/// the order of the schema.
pub fn markdown(schema: &Value) -> String {
    let mut reference = Reference { root: schema, text: String::new(), inner: VecDeque::new() };
    reference.table("", &reference.resolved(schema));
    let mut written = BTreeSet::new();
    while let Some((path, table)) = reference.inner.pop_front() {
        // A table can contain itself. Its first heading is enough.
        if written.insert(Value::from(table.clone()).to_string()) {
            reference.text.push_str(&format!("\n### `{path}`\n\n"));
            reference.table(&format!("{path}."), &table);
        }
    }
    reference.text
}

type Schema = Map<String, Value>;

/// The number of nested schemas that are followed: schemas can refer to each other in a circle.
const DEEPEST: usize = 8;

/// The number of forms of one value that are listed.
const MOST_FORMS: usize = 64;

const ANY: &str = "any value";

struct Reference<'s> {
    root: &'s Value,
    text: String,
    /// Nested tables that are not written yet, with their paths.
    inner: VecDeque<(String, Schema)>,
}

impl Reference<'_> {
    fn table(&mut self, path: &str, table: &Schema) {
        let required = |name: &str| {
            let names = table.get("required").and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|other| other == name))
        };
        let Some(properties) = table.get("properties").and_then(Value::as_object) else {
            self.text.push_str("There are no options.\n");
            return;
        };
        let mut options: Vec<_> = properties
            .iter()
            .map(|(name, schema)| (!required(name), name, self.resolved(schema)))
            .collect();
        options.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        self.text.push_str("| option | type | default | meaning |\n| --- | --- | --- | --- |\n");
        for (is_optional, name, schema) in &options {
            let default = match schema.get("default") {
                Some(value) if !value.is_null() => code(value),
                _ if *is_optional => "none".into(),
                _ => "required".into(),
            };
            let (kind, meaning) = (self.kind(schema, DEEPEST), meaning(schema));
            self.text.push_str(&format!(
                "| `{name}` | {} | {} | {} |\n",
                cell(&kind),
                cell(&default),
                cell(&meaning)
            ));
        }
        for (_, name, schema) in &options {
            self.named_values(name, schema);
            self.queue_tables(&format!("{path}{name}"), schema, DEEPEST);
        }
    }

    /// Writes the values that have a name, if the schema says what each means.
    fn named_values(&mut self, name: &str, schema: &Schema) {
        let values: Vec<_> = self
            .forms(schema, DEEPEST)
            .into_iter()
            .filter_map(|form| Some((form.get("const")?.clone(), meaning(&form))))
            .collect();
        if values.is_empty() || values.iter().all(|(_, meaning)| meaning.is_empty()) {
            return;
        }
        self.text.push_str(&format!("\nValues of `{name}`:\n\n"));
        for (value, meaning) in values {
            self.text.push_str(&format!("- {}: {meaning}\n", code(&value)));
        }
    }

    fn queue_tables(&mut self, path: &str, schema: &Schema, depth: usize) {
        let Some(deeper) = depth.checked_sub(1) else { return };
        for form in self.forms(schema, depth) {
            let inner = |key: &str| form.get(key).filter(|inner| inner.is_object());
            if form.contains_key("properties") {
                self.inner.push_back((path.into(), form));
            } else if let Some(items) = inner("items") {
                self.queue_tables(&format!("{path}[]"), &self.resolved(items), deeper);
            } else if let Some(values) = inner("additionalProperties") {
                self.queue_tables(&format!("{path}.NAME"), &self.resolved(values), deeper);
            }
        }
    }

    /// Returns the forms that a value can have, without `null`.
    fn forms(&self, schema: &Schema, depth: usize) -> Vec<Schema> {
        let choice = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)?.as_array());
        let (Some(choice), Some(deeper)) = (choice, depth.checked_sub(1)) else {
            return vec![schema.clone()];
        };
        let forms = choice.iter().flat_map(|form| self.forms(&self.resolved(form), deeper));
        forms.filter(|form| form.get("type") != Some(&"null".into())).take(MOST_FORMS).collect()
    }

    /// Returns the type in words.
    fn kind(&self, schema: &Schema, depth: usize) -> String {
        let Some(deeper) = depth.checked_sub(1) else { return ANY.into() };
        let forms = self.forms(schema, depth);
        either(forms.iter().map(|form| self.kind_of_form(form, deeper)).collect())
    }

    fn kind_of_form(&self, schema: &Schema, depth: usize) -> String {
        if let Some(value) = schema.get("const") {
            return code(value);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return either(values.iter().filter(|value| !value.is_null()).map(code).collect());
        }
        let types = match schema.get("type") {
            Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one.as_str()],
            _ => vec![],
        };
        let types = types.into_iter().filter(|name| *name != "null");
        either(types.map(|name| self.kind_of_type(name, schema, depth)).collect())
    }

    fn kind_of_type(&self, name: &str, schema: &Schema, depth: usize) -> String {
        let of_inner = |whole: &str, key: &str| match schema.get(key) {
            Some(inner @ Value::Object(_)) => {
                format!("{whole} of {}", plural(&self.kind(&self.resolved(inner), depth)))
            }
            _ => whole.into(),
        };
        match name {
            "string" if schema.get("format") == Some(&"password".into()) => "secret".into(),
            "boolean" => "`true` or `false`".into(),
            "integer" => format!("whole number{}", range(schema)),
            "number" => format!("number{}", range(schema)),
            "array" => of_inner("list", "items"),
            "object" => of_inner("table", "additionalProperties"),
            name => name.into(),
        }
    }

    /// Returns a schema with its references resolved. A key beside a reference takes precedence.
    fn resolved(&self, schema: &Value) -> Schema {
        let mut merged = schema.as_object().cloned().unwrap_or_default();
        for _ in 0..DEEPEST {
            let target = match (merged.remove("$ref"), merged.get("allOf")) {
                (Some(Value::String(path)), _) => {
                    path.strip_prefix('#').and_then(|path| self.root.pointer(path)).cloned()
                }
                (_, Some(Value::Array(all))) if all.len() == 1 => {
                    let only = all[0].clone();
                    merged.remove("allOf");
                    Some(only)
                }
                _ => None,
            };
            let Some(Value::Object(target)) = target else { break };
            for (key, value) in target {
                merged.entry(key).or_insert(value);
            }
        }
        merged
    }
}

fn meaning(schema: &Schema) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn range(schema: &Schema) -> String {
    let limit = |key: &str| schema.get(key).map(|limit| plain_number(limit).to_string());
    match (limit("minimum"), limit("maximum")) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", {least} or more"),
        (None, Some(most)) => format!(", {most} or less"),
        (None, None) => String::new(),
    }
}

/// Returns a whole number for a limit such as `1.0`, as schemas write it for fractions.
#[expect(clippy::cast_possible_truncation, reason = "only whole numbers in range are cast")]
fn plain_number(limit: &Value) -> Value {
    match limit.as_f64() {
        Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => (number as i64).into(),
        _ => limit.clone(),
    }
}

fn plural(kind: &str) -> String {
    let words = ["string", "secret", "number", "whole number", "table", "list"];
    let rest = words.iter().find_map(|word| {
        let rest = kind.strip_prefix(word)?;
        (rest.is_empty() || rest.starts_with([',', ' '])).then_some((word, rest))
    });
    match rest {
        Some((word, rest)) => format!("{word}s{rest}"),
        None => kind.into(),
    }
}

fn either(mut kinds: Vec<String>) -> String {
    kinds.dedup();
    match kinds.pop() {
        Some(last) if !kinds.is_empty() => format!("{} or {last}", kinds.join(", ")),
        Some(only) => only,
        None => ANY.into(),
    }
}

fn code(value: &Value) -> String {
    format!("`{value}`")
}

/// Escapes pipes, which would end the cell even in code.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_options_with_type_default_and_meaning() {
        insta::assert_snapshot!(markdown(&json!({
            "type": "object",
            "required": ["token"],
            "properties": {
                "ports": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}, "default": [], "description": "Where to look."},
                "token": {"$ref": "#/$defs/Secret", "description": "Who may send:\na secret | a list."},
                "bots": {"$ref": "#/$defs/Bots", "description": "Posts of bots.", "default": "auto"},
                "ratio": {"type": ["number", "null"], "minimum": 0.0},
            },
            "$defs": {
                "Secret": {"anyOf": [
                    {"anyOf": [
                        {"type": "string", "format": "password"},
                        {"type": "array", "items": {"type": "string", "format": "password"}},
                    ]},
                    {"type": "null"},
                ], "description": "Not this one."},
                "Bots": {"oneOf": [
                    {"type": "string", "const": "auto", "description": "Some."},
                    {"type": "string", "const": "ignore", "description": "None."},
                ]},
            },
        })), @r#"
        | option | type | default | meaning |
        | --- | --- | --- | --- |
        | `token` | secret or list of secrets | required | Who may send: a secret \| a list. |
        | `bots` | `"auto"` or `"ignore"` | `"auto"` | Posts of bots. |
        | `ports` | list of whole numbers, 1 to 65535 | `[]` | Where to look. |
        | `ratio` | number, 0 or more | none |  |

        Values of `bots`:

        - `"auto"`: Some.
        - `"ignore"`: None.
        "#);
    }

    #[test]
    fn nested_tables_have_tables_of_their_own() {
        insta::assert_snapshot!(markdown(&json!({
            "properties": {
                "rules": {"type": "array", "items": {"$ref": "#/$defs/Rule"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "$defs": {"Rule": {"type": "object", "required": ["pattern"], "properties": {
                "pattern": {"type": "string", "description": "What to find."},
                "otherwise": {"anyOf": [{"$ref": "#/$defs/Rule"}, {"type": "null"}]},
            }}},
        })), @"
        | option | type | default | meaning |
        | --- | --- | --- | --- |
        | `labels` | table of strings | none |  |
        | `rules` | list of tables | none |  |

        ### `rules[]`

        | option | type | default | meaning |
        | --- | --- | --- | --- |
        | `pattern` | string | required | What to find. |
        | `otherwise` | table | none |  |
        ");
    }

    #[test]
    fn an_invalid_schema_gives_a_reference_all_the_same() {
        for odd in
            [json!({}), json!(true), json!([1]), json!({"$ref": "#"}), json!({"properties": 1})]
        {
            assert_eq!(markdown(&odd), "There are no options.\n");
        }
        let circles = json!({
            "properties": {"list": {"$ref": "#/$defs/List"}, "any": {"$ref": "#/$defs/Any"}},
            "$defs": {
                "List": {"type": "array", "items": {"$ref": "#/$defs/List"}},
                "Any": {"anyOf": [{"$ref": "#/$defs/Any"}, {"$ref": "#/$defs/Any"}]},
            },
        });
        assert!(markdown(&circles).contains("| `list` | list of lists of "));
        let odd = json!({"properties": {"a": true, "b": {"$ref": "#/nowhere"}, "c": {"type": 7}}});
        assert_eq!(markdown(&odd).matches("| any value | none |").count(), 3);
    }
}
