//! Days of a week, such as `mon-fri` or `sat,sun`.

use std::fmt;

use jiff::civil::Weekday;

use super::HoursError;

/// The days of a week from Monday on.
const WEEK: [(Weekday, &str); 7] = [
    (Weekday::Monday, "mon"),
    (Weekday::Tuesday, "tue"),
    (Weekday::Wednesday, "wed"),
    (Weekday::Thursday, "thu"),
    (Weekday::Friday, "fri"),
    (Weekday::Saturday, "sat"),
    (Weekday::Sunday, "sun"),
];

/// A set of days of a week, one bit each. Monday is the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Days(u8);

impl Days {
    /// Every day.
    pub(super) const ALL: Self = Self(0b111_1111);

    /// Reads days and ranges of days with commas between them. A range may go beyond Sunday: `sat-mon` has
    /// three days.
    pub(super) fn parse(text: &str) -> Result<Self, HoursError> {
        let mut days = Self(0);
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Some(first), Some(last)) = (place(first.trim()), place(last.trim())) else {
                return Err(HoursError {
                    key: "days",
                    message: format!("`{part}` is neither a day nor a range of days"),
                    hint: "write `mon-fri` or `sat,sun`, with mon, tue, wed, thu, fri, sat and sun"
                        .into(),
                });
            };
            let length = (last + 7 - first) % 7;
            (0..=length).for_each(|ahead| days.0 |= 1 << ((first + ahead) % 7));
        }
        Ok(days)
    }

    pub(super) fn contain(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut at, mut separator) = (0, "");
        while at < WEEK.len() {
            let length = WEEK[at..].iter().take_while(|(day, _)| self.contain(*day)).count();
            if length > 0 {
                let (first, last) = (WEEK[at].1, WEEK[at + length - 1].1);
                match length {
                    1 => write!(f, "{separator}{first}")?,
                    2 => write!(f, "{separator}{first},{last}")?,
                    _ => write!(f, "{separator}{first}-{last}")?,
                }
                separator = ",";
            }
            at += length.max(1);
        }
        Ok(())
    }
}

/// Returns the short name of a day.
pub(super) fn name(day: Weekday) -> &'static str {
    WEEK.iter().find(|(known, _)| *known == day).map_or("", |(_, name)| name)
}

fn place(name: &str) -> Option<usize> {
    WEEK.iter().position(|(_, known)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_days_lists_and_ranges() {
        for (text, shown) in [
            ("mon", "mon"),
            ("mon-fri", "mon-fri"),
            ("sat,sun", "sat,sun"),
            ("sun, sat", "sat,sun"),
            ("mon-wed,fri", "mon-wed,fri"),
            ("sat-mon", "mon,sat,sun"),
            ("mon-sun", "mon-sun"),
            ("tue-mon", "mon-sun"),
            ("wed-wed", "wed"),
        ] {
            let days = Days::parse(text).expect("days");
            assert_eq!(days.to_string(), shown, "{text}");
            assert_eq!(Days::parse(shown), Ok(days), "the shown form can be read");
        }
    }

    #[test]
    fn refuses_anything_else_and_names_the_part() {
        for (text, part) in [
            ("", ""),
            ("monday", "monday"),
            ("mon,", ""),
            ("Mon", "Mon"),
            ("mon-fri,holiday", "holiday"),
            ("mon-tue-wed", "mon-tue-wed"),
            ("mon..fri", "mon..fri"),
        ] {
            let error = Days::parse(text).expect_err("no days");
            assert_eq!(error.message, format!("`{part}` is neither a day nor a range of days"));
        }
    }
}
