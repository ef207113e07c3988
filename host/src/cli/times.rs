//! Times as people read them: in the local time zone, or in UTC.

use std::{fmt, sync::OnceLock};

use jiff::{Timestamp, tz::TimeZone};

/// The time zone of this process's output.
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Chooses UTC or the time zone of the system, for the whole output of this process.
pub(super) fn set_zone(is_utc: bool) {
    ZONE.get_or_init(|| if is_utc { TimeZone::UTC } else { TimeZone::system() });
}

/// Returns a time to be shown. The precision of the format is the number of digits after the second.
pub(super) fn local(time: Timestamp) -> Local {
    Local { time, zone: ZONE.get().cloned().unwrap_or(TimeZone::UTC) }
}

/// Time in a time zone, such as `2026-11-23T21:34:12+01:00`, or `2026-11-23T20:34:12Z` in UTC.
pub(super) struct Local {
    time: Timestamp,
    zone: TimeZone,
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let is_utc = matches!(
            self.zone.iana_name(),
            Some("UTC" | "Etc/UTC" | "Etc/UCT" | "UCT" | "Zulu" | "Etc/Zulu")
        );
        if is_utc || self.zone.is_unknown() {
            return write!(f, "{:.digits$}", self.time);
        }
        let offset = self.zone.to_offset(self.time);
        write!(f, "{:.digits$}", self.time.display_with_offset(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_with_the_offset_of_its_zone() {
        let time: Timestamp = "2026-07-01T10:00:00.5Z".parse().expect("a time");
        let shown = |zone: &str| {
            let zone = TimeZone::get(zone).expect("a zone");
            format!("{:.0} {:.3}", Local { time, zone: zone.clone() }, Local { time, zone })
        };
        assert_eq!(shown("UTC"), "2026-07-01T10:00:00Z 2026-07-01T10:00:00.500Z");
        assert_eq!(
            shown("Europe/Berlin"),
            "2026-07-01T12:00:00+02:00 2026-07-01T12:00:00.500+02:00"
        );
    }
}
