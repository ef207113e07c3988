//! `maintenance` of an integration: times in which requests are recorded and no alert opens.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use toml::value::Datetime;

/// When requests are recorded and no alert opens.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Maintenance {
    /// Never: `false`.
    #[default]
    Off,
    /// For as long as it stands there: `true` or `"now"`.
    Now,
    /// In these times: `[{ from = 2026-12-01T22:00:00Z, to = 2026-12-02T02:00:00Z }]`.
    Windows(Vec<Window>),
}

/// A time of maintenance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub to: Timestamp,
}

impl Maintenance {
    /// The maintenance that is on at a time: until when, if it ends by itself.
    pub fn at(&self, now: Timestamp) -> Option<Option<Timestamp>> {
        match self {
            Self::Off => None,
            Self::Now => Some(None),
            Self::Windows(windows) => {
                let on = windows.iter().filter(|window| window.from <= now && now < window.to);
                on.map(|window| window.to).max().map(Some)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Maintenance {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Switch(bool),
            Word(String),
            Windows(Vec<WindowForm>),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct WindowForm {
            from: MomentForm,
            to: MomentForm,
        }
        let wrong = || {
            de::Error::custom(
                "is no maintenance: expected true, false, `now`, or windows with `from` and `to`",
            )
        };
        match Form::deserialize(from).map_err(|_| wrong())? {
            Form::Switch(false) => Ok(Self::Off),
            Form::Switch(true) => Ok(Self::Now),
            Form::Word(word) if word == "now" => Ok(Self::Now),
            Form::Word(_) => Err(wrong()),
            Form::Windows(windows) => {
                let window = |form: WindowForm| {
                    let from = form.from.moment().map_err(de::Error::custom)?;
                    let to = form.to.moment().map_err(de::Error::custom)?;
                    if from < to {
                        return Ok(Window { from, to });
                    }
                    Err(de::Error::custom(format!(
                        "is no maintenance: a window ends at {to}, before it begins at {from}"
                    )))
                };
                windows.into_iter().map(window).collect::<Result<_, _>>().map(Self::Windows)
            }
        }
    }
}

/// A point in time, as a date of TOML or as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum MomentForm {
    Date(Datetime),
    Text(String),
}

impl MomentForm {
    fn moment(self) -> Result<Timestamp, String> {
        let text = match self {
            Self::Date(date) => date.to_string(),
            Self::Text(text) => text,
        };
        // A time without an offset is nobody's: which zone is meant?
        text.parse().map_err(|_| {
            format!("is no maintenance: `{text}` is no time with an offset, as `Z` is one")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maintenance(text: &str) -> Result<Maintenance, String> {
        #[derive(Deserialize)]
        struct Section {
            maintenance: Maintenance,
        }
        let section: Result<Section, _> = toml::from_str(&format!("maintenance = {text}"));
        section.map(|section| section.maintenance).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_window_begins_and_ends() {
        let windows = maintenance(
            "[{ from = 2026-12-01T22:00:00Z, to = '2026-12-02T02:00:00+01:00' }, \
              { from = 2026-12-02T00:30:00Z, to = 2026-12-02T03:00:00Z }]",
        )
        .expect("two windows");
        let at = |text: &str| windows.at(text.parse().expect("a time"));
        let until = |text: &str| Some(Some(text.parse().expect("a time")));
        assert_eq!(at("2026-12-01T21:59:59Z"), None);
        assert_eq!(at("2026-12-01T22:00:00Z"), until("2026-12-02T01:00:00Z"));
        assert_eq!(at("2026-12-02T00:45:00Z"), until("2026-12-02T03:00:00Z"));
        assert_eq!(at("2026-12-02T03:00:00Z"), None);
    }

    #[test]
    fn it_is_on_or_off_as_long_as_the_configuration_says() {
        let now = Timestamp::UNIX_EPOCH;
        for (text, on) in [("true", Some(None)), ("'now'", Some(None)), ("false", None)] {
            assert_eq!(maintenance(text).expect("it is understood").at(now), on, "{text}");
        }
        for text in ["'later'", "1", "[{ from = 2026-12-01T22:00:00Z }]", "[{ from = 1, to = 2 }]"]
        {
            let error = maintenance(text).expect_err("it is not understood");
            assert!(error.contains("is no maintenance"), "{error}");
        }
        let nobodys = "[{ from = 2026-12-01T00:00:00, to = 2026-12-02T00:00:00Z }]";
        let error = maintenance(nobodys).expect_err("it has no offset");
        assert!(error.contains("`2026-12-01T00:00:00` is no time with an offset"), "{error}");
        let backwards = "[{ from = 2026-12-02T00:00:00Z, to = 2026-12-01T00:00:00Z }]";
        let error = maintenance(backwards).expect_err("it ends before it begins");
        assert!(error.contains("before it begins"), "{error}");
    }
}
