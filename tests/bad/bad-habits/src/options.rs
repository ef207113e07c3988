//! The options, read by hand: derived code could neither contradict its schema nor hide its errors.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny},
};
use serde_json::{Map, Value};
use tocsin_plugin_api::Secret;

/// A bad habit.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Habit {
    File,
    FileInNew,
    // Hidden from the schema: otherwise a check that tries all allowed options would hang.
    #[schemars(skip)]
    HangInNew,
    Socket,
    Thread,
    Environment,
    Prints,
    Leak,
    Quadratic,
    Exit,
    Overflow,
    Counter,
    Clock,
    Random,
    CountedKey,
    ConstantId,
    SecretInEvent,
    SecretInReason,
    SecretInRefusal,
    WrongTitle,
    LyingSchema,
    LooseTypes,
    SilentRefusal,
    UnknownKeys,
}

pub(crate) struct Options {
    pub(crate) habit: Option<Habit>,
    pub(crate) token: Option<Secret>,
}

/// The options as the schema describes them. All habits but a few read the options in this form.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Honest {
    habit: Option<Habit>,
    token: Option<Secret>,
    /// A number that the plugin ignores.
    #[serde(default, rename = "count")]
    _count: u8,
}

/// The same options with unknown keys allowed.
#[derive(Deserialize)]
struct Careless {
    habit: Option<Habit>,
    token: Option<Secret>,
    #[serde(default, rename = "count")]
    _count: IgnoredAny,
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let table = Map::deserialize(from)?;
        let is = |habit: &str| table.get("habit").and_then(Value::as_str) == Some(habit);
        if is("unknown-keys") || is("loose-types") {
            let mut table = table.clone();
            // `loose-types` refuses unknown keys; `unknown-keys` accepts them.
            if is("loose-types") && table.keys().any(|key| key.starts_with("no_such")) {
                return Err(D::Error::custom("unknown field `no_such_option`"));
            }
            if is("unknown-keys") {
                read::<Honest, D>(known(&table))?;
            }
            table.remove("no_such_option");
            let Careless { habit, token, .. } = read::<Careless, D>(table)?;
            return Ok(Self { habit, token });
        }
        if is("lying-schema") && table.contains_key("count") {
            return Err(D::Error::custom("invalid type: integer, expected a string for `count`"));
        }
        let is_silent = is("silent-refusal");
        let read = read::<Honest, D>(table);
        let Honest { habit, token, .. } =
            if is_silent { read.map_err(|_| D::Error::custom("no"))? } else { read? };
        Ok(Self { habit, token })
    }
}

fn read<'de, T: serde::de::DeserializeOwned, D: Deserializer<'de>>(
    table: Map<String, Value>,
) -> Result<T, D::Error> {
    serde_path_to_error::deserialize(Value::Object(table)).map_err(D::Error::custom)
}

fn known(table: &Map<String, Value>) -> Map<String, Value> {
    let is_known = |key: &str| ["habit", "token", "count"].contains(&key);
    table.clone().into_iter().filter(|(key, _)| is_known(key)).collect()
}

impl JsonSchema for Options {
    fn schema_name() -> Cow<'static, str> {
        "Options".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Honest::json_schema(generator)
    }
}
