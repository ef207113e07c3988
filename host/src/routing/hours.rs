//! Hours of a week in a time zone.
//!
//! The clock on the wall in that zone decides. In the night in which clocks are put forward, hours that
//! they skip never come; in the night in which clocks are put back, hours that they repeat count twice.

mod days;
mod zone;

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use self::days::Days;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Hours of a week in a time zone. They include their beginning, and not their end.
#[derive(Clone, Debug, PartialEq)]
pub struct Hours {
    days: Days,
    /// Minutes from midnight.
    from: u16,
    /// Minutes from midnight. An end before the beginning lies on the next day.
    to: u16,
    zone: TimeZone,
    zone_name: String,
}

/// Error in a part of [`Hours`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoursError {
    /// The part: `days`, `from`, `to` or `zone`.
    pub key: &'static str,
    /// The error.
    pub message: String,
    /// The remedy.
    pub hint: String,
}

impl Hours {
    /// Reads the parts of hours. Days are written `mon-fri` or `sat,sun`, times `08:00`, and a zone has its
    /// name in the IANA database. Without a part, hours are those of every day, begin at `00:00`, end at
    /// `24:00`, and are in UTC.
    ///
    /// # Errors
    ///
    /// All parts that cannot be read.
    pub fn new(
        days: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
        zone: Option<&str>,
    ) -> Result<Self, Vec<HoursError>> {
        let mut errors = Vec::new();
        let days = days.map_or(Some(Days::ALL), |text| keep(Days::parse(text), &mut errors));
        let begin = from.map_or(Some(0), |text| keep(time("from", text), &mut errors));
        let end = to.map_or(Some(DAY), |text| keep(time("to", text), &mut errors));
        let zone_name = zone.unwrap_or("UTC");
        let zone = keep(zone::find(zone_name), &mut errors);
        if begin == Some(DAY) {
            errors.push(HoursError {
                key: "from",
                message: "`24:00` is the end of a day".into(),
                hint: "write `00:00` for the beginning of a day".into(),
            });
        }
        if end.is_some() && begin == end && begin != Some(DAY) {
            errors.push(HoursError {
                key: "to",
                message: "is also the beginning, so that no time is within the hours".into(),
                hint: "leave out `from` and `to` for the whole day".into(),
            });
        }
        match (days, begin, end, zone) {
            (Some(days), Some(from), Some(to), Some(zone)) if errors.is_empty() => {
                Ok(Self { days, from, to, zone, zone_name: zone_name.to_owned() })
            }
            _ => Err(errors),
        }
    }

    /// Returns true if a time is within the hours.
    pub fn contain(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let minute = minute(local);
        let today = self.days.contain(local.weekday());
        let yesterday = || self.days.contain(local.weekday().previous());
        if self.from < self.to {
            return today && (self.from..self.to).contains(&minute);
        }
        (today && minute >= self.from) || (minute < self.to && yesterday())
    }

    /// Returns a time in the zone of the hours, such as `sat 19:30 in Europe/Berlin`.
    pub(super) fn local(&self, at: Timestamp) -> String {
        let local = self.zone.to_datetime(at);
        let day = days::name(local.weekday());
        format!("{day} {} in {}", Clock(minute(local)), self.zone_name)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != Days::ALL {
            write!(f, "{} ", self.days)?;
        }
        write!(f, "{}-{} {}", Clock(self.from), Clock(self.to), self.zone_name)
    }
}

/// Minutes from midnight as a clock shows them.
struct Clock(u16);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

fn minute(local: DateTime) -> u16 {
    u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs())
}

/// Reads a time from `00:00` to `24:00` as minutes from midnight.
fn time(key: &'static str, text: &str) -> Result<u16, HoursError> {
    let minutes = || {
        let (hour, minute) = text.split_once(':')?;
        let number = |digits: &str| {
            let is_number = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| digits.parse::<u16>().ok()).flatten()
        };
        let (hour, minute) = (number(hour)?, number(minute)?);
        let minutes = hour * 60 + minute;
        (minute < 60 && minutes <= DAY).then_some(minutes)
    };
    minutes().ok_or_else(|| HoursError {
        key,
        message: format!("`{text}` is not a time of the day"),
        hint: "write hours and minutes from `00:00` to `24:00`, such as `08:00`".into(),
    })
}

/// Returns the value of a part, or adds its error to the others.
fn keep<T>(result: Result<T, HoursError>, errors: &mut Vec<HoursError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(days: &str, from: &str, to: &str) -> Hours {
        Hours::new(Some(days), Some(from), Some(to), Some("Europe/Berlin")).expect("good hours")
    }

    #[track_caller]
    fn assert_contains(hours: &Hours, times: &[(&str, bool)]) {
        for (time, is_within) in times {
            let at: Timestamp = time.parse().expect("a time");
            assert_eq!(hours.contain(at), *is_within, "{hours}: {time}");
        }
    }

    #[test]
    fn include_their_beginning_and_not_their_end() {
        assert_contains(
            &hours("fri", "08:00", "18:00"),
            &[
                ("2026-11-27T07:59:59.999+01:00", false),
                ("2026-11-27T08:00:00+01:00", true),
                ("2026-11-27T17:59:59.999+01:00", true),
                ("2026-11-27T18:00:00+01:00", false),
                ("2026-11-26T12:00:00+01:00", false),
            ],
        );
    }

    #[test]
    fn across_midnight_belong_to_the_day_on_which_they_begin() {
        let night = hours("fri", "22:00", "06:00");
        assert_contains(
            &night,
            &[
                ("2026-11-27T05:00:00+01:00", false),
                ("2026-11-27T22:00:00+01:00", true),
                ("2026-11-28T05:59:00+01:00", true),
                ("2026-11-28T06:00:00+01:00", false),
                ("2026-11-28T22:30:00+01:00", false),
            ],
        );
        assert_eq!(night.to_string(), "fri 22:00-06:00 Europe/Berlin");
        let sunday = hours("sun", "20:00", "24:00");
        let monday = ("2026-11-30T00:00:00+01:00", false);
        assert_contains(&sunday, &[("2026-11-29T23:59:59+01:00", true), monday]);
        assert_contains(&hours("sun", "20:00", "00:00"), &[monday]);
    }

    #[test]
    fn without_parts_hours_are_always() {
        let always = Hours::new(None, None, None, None).expect("good hours");
        assert_contains(&always, &[("2026-11-27T00:00:00Z", true), ("2026-11-29T23:59:59Z", true)]);
        assert_eq!(always.to_string(), "00:00-24:00 UTC");
    }

    #[test]
    fn hours_that_clocks_skip_never_come_and_hours_that_they_repeat_count_twice() {
        let skipped = hours("sun", "02:00", "03:00");
        assert_contains(
            &skipped,
            &[
                ("2026-03-29T00:59:59Z", false),
                ("2026-03-29T01:00:00Z", false),
                ("2026-10-25T00:30:00Z", true),
                ("2026-10-25T01:30:00Z", true),
                ("2026-10-25T02:00:00Z", false),
            ],
        );
    }

    #[test]
    fn every_wrong_part_is_an_error() {
        let errors = Hours::new(Some("x"), Some("8:00"), Some("24:01"), Some("Europe/Berln"));
        let errors = errors.expect_err("all parts are wrong");
        let errors: Vec<_> = errors.iter().map(|it| (it.key, &*it.message)).collect();
        assert_eq!(
            errors,
            [
                ("days", "`x` is neither a day nor a range of days"),
                ("from", "`8:00` is not a time of the day"),
                ("to", "`24:01` is not a time of the day"),
                ("zone", "`Europe/Berln` is not a time zone of the IANA database"),
            ]
        );
        for (from, to, key) in [
            ("24:00", "24:00", "from"),
            ("08:00", "08:00", "to"),
            ("00:00", "00:00", "to"),
            ("08:60", "09:00", "from"),
            ("08:00", "+9:00", "to"),
            ("08:00", "18:00:00", "to"),
        ] {
            let errors = Hours::new(None, Some(from), Some(to), None).expect_err("they are wrong");
            let keys: Vec<_> = errors.iter().map(|it| it.key).collect();
            assert_eq!(keys, [key], "{from} {to}");
        }
    }
}
