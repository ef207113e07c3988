//! Number of Tocsin hosts that the news of a request has passed through, from the header [`HOPS_HEADER`].
//!
//! Hosts that notify each other make a loop, in which the number grows until a host refuses the request.
//! Requests that were not sent by a Tocsin host have no such header.

use axum::http::HeaderMap;
use tocsin_plugin_api::notification::HOPS_HEADER;

/// Returns the number of hosts, 0 without the header. Of several lines, the largest number counts. A line
/// that is not a number counts as none.
pub(crate) fn hops(headers: &HeaderMap) -> u32 {
    let lines = headers.get_all(HOPS_HEADER).into_iter();
    lines.map(|line| number(line.as_bytes())).max().unwrap_or(0)
}

/// Returns the number that the digits stand for, or the largest one if it is larger.
fn number(digits: &[u8]) -> u32 {
    if !digits.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let add =
        |number: u32, digit: &u8| number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    digits.iter().fold(0, add)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> u32 {
        let line = |line: &&'static str| {
            ("tocsin-hops".parse().expect("a name"), HeaderValue::from_static(line))
        };
        hops(&lines.iter().map(line).collect())
    }

    #[test]
    fn the_header_has_the_number_of_hosts() {
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&["1"]), 1);
        assert_eq!(of(&["007"]), 7);
    }

    #[test]
    fn the_largest_of_several_numbers_counts() {
        assert_eq!(of(&["2", "4", "3"]), 4);
        assert_eq!(of(&["99999999999999999999", "4"]), u32::MAX);
    }

    #[test]
    fn other_text_counts_as_no_host() {
        for other in ["", "-1", "1.5", "1, 9", "six"] {
            assert_eq!(of(&[other]), 0, "{other}");
        }
    }
}
