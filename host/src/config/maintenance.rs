//! `maintenance` of an integration: times in which requests are recorded but open no alert.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use toml::value::Datetime;

/// Times in which requests are recorded but open no alert.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Maintenance {
    /// Never: `false`.
    #[default]
    Off,
    /// Until the setting is changed: `true` or `"now"`.
    Now,
    /// In [`Window`]s: `[{ from = 2026-12-01T22:00:00Z, to = 2026-12-02T02:00:00Z }]`.
    Windows(Vec<Window>),
}

/// Window of [`Maintenance`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// Start of the window, included.
    pub from: Timestamp,
    /// End of the window, not included.
    pub to: Timestamp,
}

impl Maintenance {
    /// Returns the maintenance in force at a time, with its end if it has one.
    pub(crate) fn at(&self, now: Timestamp) -> Option<Option<Timestamp>> {
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
                "is not a maintenance setting: expected true, false, `now`, or windows with `from` and `to`",
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
                        "is not a maintenance setting: a window ends at {to}, before it begins at {from}"
                    )))
                };
                windows.into_iter().map(window).collect::<Result<_, _>>().map(Self::Windows)
            }
        }
    }
}

/// A point in time, written as a TOML date ([`Datetime`]) or as text.
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
        // Without an offset, the time zone is unknown.
        text.parse().map_err(|_| {
            format!(
                "is not a maintenance setting: `{text}` is not a time with an offset such as `Z`"
            )
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
    fn a_window_includes_its_start_and_not_its_end() {
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
    fn reads_switches_and_refuses_anything_else_but_windows() {
        let now = Timestamp::UNIX_EPOCH;
        for (text, on) in [("true", Some(None)), ("'now'", Some(None)), ("false", None)] {
            assert_eq!(maintenance(text).expect("a setting").at(now), on, "{text}");
        }
        for text in ["'later'", "1", "[{ from = 2026-12-01T22:00:00Z }]", "[{ from = 1, to = 2 }]"]
        {
            let error = maintenance(text).expect_err("not a setting");
            assert!(error.contains("is not a maintenance setting"), "{error}");
        }
        let without_offset = "[{ from = 2026-12-01T00:00:00, to = 2026-12-02T00:00:00Z }]";
        let error = maintenance(without_offset).expect_err("it has no offset");
        assert!(error.contains("`2026-12-01T00:00:00` is not a time with an offset"), "{error}");
        let backwards = "[{ from = 2026-12-02T00:00:00Z, to = 2026-12-01T00:00:00Z }]";
        let error = maintenance(backwards).expect_err("it ends before it begins");
        assert!(error.contains("before it begins"), "{error}");
    }
}
