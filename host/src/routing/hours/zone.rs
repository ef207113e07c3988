//! Time zones by their names in the IANA database, which is part of the program.

use jiff::tz::{self, TimeZone};

use super::HoursError;

/// Most edits between a name and the name that a hint proposes.
const MOST_EDITS: usize = 3;

/// Finds a time zone by its name.
pub(super) fn find(name: &str) -> Result<TimeZone, HoursError> {
    let found = tz::db().get(name).ok().filter(|zone| !zone.is_unknown());
    found.ok_or_else(|| HoursError {
        key: "zone",
        message: format!("`{name}` is not a time zone of the IANA database"),
        hint: match near(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a continent and a city, such as `Europe/Berlin`, or `UTC`".into(),
        },
    })
}

/// Returns the known name that is nearest to a name, if one is near.
fn near(name: &str) -> Option<String> {
    // No known name is longer, and the comparison takes time for each pair of characters.
    const LONGEST: usize = 64;
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let wanted = plain(name);
    let rated = tz::db().available().map(|known| {
        let other = plain(known.as_str());
        // A right city with another continent, or without one, is near as well.
        let edits =
            if city(&other) == city(&wanted) { 1 } else { strsim::levenshtein(&wanted, &other) };
        (edits, known.as_str().to_owned())
    });
    let most = MOST_EDITS.min(name.len() / 2);
    rated.filter(|(edits, _)| *edits <= most).min().map(|(_, known)| known)
}

/// Returns a name in lower case, with `_` for blanks and hyphens.
fn plain(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

fn city(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(name: &str) -> String {
        find(name).expect_err("no zone").hint
    }

    #[test]
    fn finds_zones_of_the_bundled_database() {
        for name in ["Europe/Berlin", "UTC", "America/Argentina/Ushuaia", "Asia/Kathmandu"] {
            assert_eq!(find(name).expect("a zone").iana_name(), Some(name));
        }
    }

    #[test]
    fn proposes_a_near_zone_where_there_is_one() {
        for (name, near) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("Germany/Berlin", "Europe/Berlin"),
            ("America/New York", "America/New_York"),
            ("Asia/Katmandoo", "Asia/Katmandu"),
        ] {
            assert_eq!(hint(name), format!("did you mean `{near}`?"));
        }
        for name in ["", "x", "local", "+02:00", "Etc/Unknown", "Nowhere/Middle_Earth"] {
            let hint = hint(name);
            assert!(hint.starts_with("write a continent and a city"), "{name}: {hint}");
        }
    }
}
