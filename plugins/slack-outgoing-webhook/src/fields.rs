//! Fields of one message, from a form or from JSON.
//!
//! [`crate::form`] and [`crate::json`] fill them in. This file has one rule about the content of a
//! message: it must have exactly one text.

use std::borrow::Cow;

use tocsin_plugin_api::Refusal;

/// Declares the fields that are read. Any other field is ignored.
macro_rules! names {
    ($($name:ident = $key:literal,)*) => {
        /// Name of a field that is read. See [`Fields`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Field {
            $($name,)*
        }

        impl Field {
            const ALL: [Self; [$($key),*].len()] = [$(Self::$name),*];

            /// Returns the field of a key. Case matters.
            pub(crate) fn of(key: &str) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Returns the key of the field.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $key,)*
                }
            }
        }
    };
}

names! {
    Token = "token",
    TeamDomain = "team_domain",
    ChannelId = "channel_id",
    ChannelName = "channel_name",
    Timestamp = "timestamp",
    ThreadTs = "thread_ts",
    PostId = "post_id",
    MessageId = "message_id",
    UserId = "user_id",
    UserName = "user_name",
    Text = "text",
    TriggerWord = "trigger_word",
    BotId = "bot_id",
    Bot = "bot",
    SslCheck = "ssl_check",
    Command = "command",
    Type = "type",
    Event = "event",
    Challenge = "challenge",
}

/// Value of a field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// String.
    Text(Cow<'a, str>),
    /// Exact bytes of a string that is a token. The bytes need not be UTF-8.
    Bytes(Cow<'a, [u8]>),
    /// JSON number or boolean, in the sender's spelling.
    Literal(&'a str),
    /// JSON array.
    Array,
    /// JSON object.
    Object,
    /// JSON `null`.
    Null,
    /// More than one value; none of them counts.
    Repeated,
}

/// Fields of one message.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    values: [Option<Value<'a>>; Field::ALL.len()],
}

impl<'a> Fields<'a> {
    /// Adds a value. A second value of the same field makes it [`Value::Repeated`].
    pub(crate) fn put(&mut self, name: Field, value: Value<'a>) {
        let held = &mut self.values[name as usize];
        *held = Some(if held.is_some() { Value::Repeated } else { value });
    }

    /// Returns the text of a field. There is no text for an empty value, a JSON `null`, array or
    /// object, or a repeated field.
    pub(crate) fn get(&self, name: Field) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text.as_ref()).filter(|text| !text.is_empty()),
            Value::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    /// Returns the text of the first of several fields that has one: see [`get`](Self::get).
    pub(crate) fn first<const N: usize>(&self, names: [Field; N]) -> Option<&str> {
        names.into_iter().find_map(|name| self.get(name))
    }

    /// Returns whether a field has a value of any type. An empty string and a JSON `null` are no
    /// value.
    pub(crate) fn has(&self, name: Field) -> bool {
        match self.value(name) {
            None | Some(Value::Null) => false,
            Some(Value::Text(text)) => !text.is_empty(),
            Some(Value::Bytes(bytes)) => !bytes.is_empty(),
            Some(Value::Literal(_) | Value::Array | Value::Object | Value::Repeated) => true,
        }
    }

    /// Returns the value of a field as it arrived.
    pub(crate) fn value(&self, name: Field) -> Option<&Value<'a>> {
        self.values[name as usize].as_ref()
    }

    /// Returns the text of the message, which can be empty.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] unless the field is exactly one string.
    pub(crate) fn text(&self) -> Result<&str, Refusal> {
        match self.value(Field::Text) {
            Some(Value::Text(text)) => Ok(text),
            Some(Value::Repeated) => Err(repeated(Field::Text)),
            None | Some(Value::Null) => Err(Refusal::malformed("`text` is missing")),
            Some(_) => Err(Refusal::malformed("`text` is not a string")),
        }
    }

    /// Refuses a message in which a field is repeated, because receivers disagree on which value
    /// counts. A repeated token is refused by [`crate::authentication`].
    pub(crate) fn refuse_repeated(&self) -> Result<(), Refusal> {
        let mut others = Field::ALL.into_iter().filter(|name| *name != Field::Token);
        match others.find(|name| self.value(*name) == Some(&Value::Repeated)) {
            Some(name) => Err(repeated(name)),
            None => Ok(()),
        }
    }
}

fn repeated(name: Field) -> Refusal {
    Refusal::malformed(format!("`{}` is repeated", name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<const N: usize>(values: [(Field, Value<'static>); N]) -> Fields<'static> {
        let mut fields = Fields::default();
        for (name, value) in values {
            fields.put(name, value);
        }
        fields
    }

    #[test]
    fn every_field_is_found_by_its_key() {
        for name in Field::ALL {
            assert_eq!(Field::of(name.as_str()), Some(name));
        }
        assert_eq!(Field::of("Text"), None);
        assert_eq!(Field::of("service_id"), None);
    }

    #[test]
    fn an_empty_value_is_no_value() {
        for none in [Value::Text("".into()), Value::Null] {
            let fields = fields([(Field::PostId, none)]);
            assert_eq!((fields.get(Field::PostId), fields.has(Field::PostId)), (None, false));
        }
    }

    #[test]
    fn arrays_objects_and_repeated_fields_have_a_value_and_no_text() {
        for other in [Value::Array, Value::Object, Value::Repeated] {
            let fields = fields([(Field::Event, other)]);
            assert_eq!((fields.get(Field::Event), fields.has(Field::Event)), (None, true));
        }
    }

    #[test]
    fn the_first_field_with_a_value_is_taken() {
        let fields = fields([
            (Field::PostId, Value::Text("".into())),
            (Field::Timestamp, Value::Literal("1656637234966")),
        ]);
        let id = fields.first([Field::PostId, Field::MessageId, Field::Timestamp]);
        assert_eq!(id, Some("1656637234966"));
    }

    #[test]
    fn no_value_of_a_repeated_field_counts() {
        let twice = || (Field::UserId, Value::Text("U1".into()));
        let fields = fields([twice(), twice(), twice()]);
        assert_eq!(fields.get(Field::UserId), None);
        assert_eq!(fields.refuse_repeated(), Err(Refusal::malformed("`user_id` is repeated")));
    }

    #[test]
    fn a_repeated_token_is_not_refused_here() {
        let token = || (Field::Token, Value::Text("t".into()));
        assert_eq!(fields([token(), token()]).refuse_repeated(), Ok(()));
    }

    #[test]
    fn the_text_must_be_one_string() {
        let of = |value| fields([(Field::Text, value)]).text().map(str::to_owned);
        assert_eq!(of(Value::Text("".into())), Ok(String::new()));
        assert_eq!(of(Value::Literal("1")), Err(Refusal::malformed("`text` is not a string")));
        assert_eq!(of(Value::Array), Err(Refusal::malformed("`text` is not a string")));
        assert_eq!(of(Value::Null), Err(Refusal::malformed("`text` is missing")));
        assert_eq!(fields([]).text(), Err(Refusal::malformed("`text` is missing")));
    }
}
