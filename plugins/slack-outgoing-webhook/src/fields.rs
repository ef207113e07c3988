//! The fields of one message, whichever way they came.
//!
//! It knows neither forms nor JSON, and does not say which fields a message has to have, save for
//! its text.

use std::borrow::Cow;

use tocsin_plugin_api::Refusal;

/// Names the fields that are read. Any other is ignored, of whatever shape and however often.
macro_rules! names {
    ($($name:ident = $key:literal,)*) => {
        /// A field that is read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Field {
            $($name,)*
        }

        impl Field {
            const ALL: [Self; [$($key),*].len()] = [$(Self::$name),*];

            /// The field of that key, in the sender's spelling.
            pub(crate) fn of(key: &str) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

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

/// What arrived under a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// A token: it is compared as it came, so it need not be text.
    Bytes(Cow<'a, [u8]>),
    /// A JSON number or boolean, as it was written.
    Literal(&'a str),
    /// A JSON array.
    Array,
    /// A JSON object.
    Object,
    /// JSON's way to say that there is none.
    Null,
    /// More than one value, of which none is the right one.
    Repeated,
}

/// The fields of one message.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    values: [Option<Value<'a>>; Field::ALL.len()],
}

impl<'a> Fields<'a> {
    /// Takes in what arrived under a name.
    pub(crate) fn put(&mut self, name: Field, value: Value<'a>) {
        let held = &mut self.values[name as usize];
        *held = Some(if held.is_some() { Value::Repeated } else { value });
    }

    /// A field's value as text. An empty one is the same as none, and so are a JSON null, array and
    /// object, and a field that arrived twice.
    pub(crate) fn get(&self, name: Field) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text.as_ref()).filter(|text| !text.is_empty()),
            Value::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    /// The first of several fields that has a value.
    pub(crate) fn first<const N: usize>(&self, names: [Field; N]) -> Option<&str> {
        names.into_iter().find_map(|name| self.get(name))
    }

    /// Whether anything but an empty value or a JSON null arrived, of whatever shape and however
    /// often.
    pub(crate) fn has(&self, name: Field) -> bool {
        match self.value(name) {
            None | Some(Value::Null) => false,
            Some(Value::Text(text)) => !text.is_empty(),
            Some(Value::Bytes(bytes)) => !bytes.is_empty(),
            Some(Value::Literal(_) | Value::Array | Value::Object | Value::Repeated) => true,
        }
    }

    /// What arrived under that name.
    pub(crate) fn value(&self, name: Field) -> Option<&Value<'a>> {
        self.values[name as usize].as_ref()
    }

    /// The text of the message, which may be empty.
    pub(crate) fn text(&self) -> Result<&str, Refusal> {
        match self.value(Field::Text) {
            Some(Value::Text(text)) => Ok(text),
            Some(Value::Repeated) => Err(repeated(Field::Text)),
            None | Some(Value::Null) => Err(Refusal::malformed("`text` is missing")),
            Some(_) => Err(Refusal::malformed("`text` is not a string")),
        }
    }

    /// Refuses a message in which a field arrived twice: which of the values counts, receivers
    /// judge differently. The token is judged elsewhere.
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
    fn every_name_is_found_by_its_key() {
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
    fn what_is_no_text_is_there_all_the_same() {
        for other in [Value::Array, Value::Object, Value::Repeated] {
            let fields = fields([(Field::Event, other)]);
            assert_eq!((fields.get(Field::Event), fields.has(Field::Event)), (None, true));
        }
    }

    #[test]
    fn the_first_that_has_a_value_counts() {
        let fields = fields([
            (Field::PostId, Value::Text("".into())),
            (Field::Timestamp, Value::Literal("1656637234966")),
        ]);
        let id = fields.first([Field::PostId, Field::MessageId, Field::Timestamp]);
        assert_eq!(id, Some("1656637234966"));
    }

    #[test]
    fn neither_value_of_a_repeated_field_counts() {
        let twice = || (Field::UserId, Value::Text("U1".into()));
        let fields = fields([twice(), twice(), twice()]);
        assert_eq!(fields.get(Field::UserId), None);
        assert_eq!(fields.refuse_repeated(), Err(Refusal::malformed("`user_id` is repeated")));
    }

    #[test]
    fn a_repeated_token_is_not_judged_here() {
        let token = || (Field::Token, Value::Text("t".into()));
        assert_eq!(fields([token(), token()]).refuse_repeated(), Ok(()));
    }

    #[test]
    fn the_text_has_to_be_one_string() {
        let of = |value| fields([(Field::Text, value)]).text().map(str::to_owned);
        assert_eq!(of(Value::Text("".into())), Ok(String::new()));
        assert_eq!(of(Value::Literal("1")), Err(Refusal::malformed("`text` is not a string")));
        assert_eq!(of(Value::Array), Err(Refusal::malformed("`text` is not a string")));
        assert_eq!(of(Value::Null), Err(Refusal::malformed("`text` is missing")));
        assert_eq!(fields([]).text(), Err(Refusal::malformed("`text` is missing")));
    }
}
