//! The trace that a sender has begun, from the headers `traceparent` and `tracestate`.
//!
//! Both are read as W3C Trace Context defines them (<https://www.w3.org/TR/trace-context-2/>). Headers that
//! break its rules are ignored, and the request begins a trace of its own.

use http::HeaderMap;

/// Flag of a trace that its sender records.
const SAMPLED: u8 = 1;
/// Length of a `traceparent` of version 00, and the least one of every later version.
const LENGTH: usize = 55;
/// Most entries of a `tracestate`.
const MOST_ENTRIES: usize = 32;
/// Most bytes of a `tracestate` that are kept. Longer ones lose entries.
const LONGEST_STATE: usize = 512;
/// Entries that are longer are lost first.
const LONG_ENTRY: usize = 128;

/// The trace that a sender has begun, and its span that is the parent of the request's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SenderContext {
    pub(super) trace_id: u128,
    pub(super) parent_id: u64,
    /// True if the sender records the trace.
    pub(super) is_sampled: bool,
    /// The `tracestate`, empty if there is none or it breaks the rules.
    pub(super) state: String,
}

impl SenderContext {
    /// Reads the context of a request; none if it has none that is valid.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all("traceparent").iter();
        let parent = parents.next()?;
        if parents.next().is_some() {
            return None;
        }
        let (trace_id, parent_id, flags) = parse_parent(parent.as_bytes())?;
        let is_sampled = flags & SAMPLED != 0;
        Some(Self { trace_id, parent_id, is_sampled, state: state(headers).unwrap_or_default() })
    }
}

/// Reads the ids and the flags of a `traceparent`.
fn parse_parent(text: &[u8]) -> Option<(u128, u64, u8)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let [v0, v1, b'-', ..] = *known else { return None };
    let version = u8::try_from(hex(&[v0, v1])?).ok()?;
    // A later version may add fields.
    let may_go_on = version > 0 && rest.first() == Some(&b'-');
    if version == 0xff || !(rest.is_empty() || may_go_on) {
        return None;
    }
    if known[35] != b'-' || known[52] != b'-' {
        return None;
    }
    let trace_id = hex(&known[3..35])?;
    let parent_id = u64::try_from(hex(&known[36..52])?).ok()?;
    let flags = u8::try_from(hex(&known[53..])?).ok()?;
    (trace_id != 0 && parent_id != 0).then_some((trace_id, parent_id, flags))
}

/// Reads hexadecimal digits in lower case, at most 32.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Joins the lines of `tracestate`. Returns none if an entry breaks the rules: nothing of the header is then
/// used.
fn state(headers: &HeaderMap) -> Option<String> {
    let mut entries: Vec<&str> = Vec::new();
    for line in headers.get_all("tracestate") {
        for entry in line.to_str().ok()?.split(',').map(|entry| entry.trim_matches([' ', '\t'])) {
            if entry.is_empty() {
                continue;
            }
            let (key, value) = entry.split_once('=')?;
            let is_known = entries
                .iter()
                .any(|known| known.split_once('=').is_some_and(|(known, _)| known == key));
            if !is_key(key) || !is_value(value) || is_known || entries.len() == MOST_ENTRIES {
                return None;
            }
            entries.push(entry);
        }
    }
    while length(&entries) > LONGEST_STATE {
        let longest = entries.iter().rposition(|entry| entry.len() > LONG_ENTRY);
        entries.remove(longest.unwrap_or(entries.len() - 1));
    }
    Some(entries.join(","))
}

fn length(entries: &[&str]) -> usize {
    let commas = entries.len().saturating_sub(1);
    entries.iter().map(|entry| entry.len()).sum::<usize>() + commas
}

fn is_key(key: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_next = |byte: u8| is_first(byte) || b"_-*/@".contains(&byte);
    let mut bytes = key.bytes();
    key.len() <= 256 && bytes.next().is_some_and(is_first) && bytes.all(is_next)
}

fn is_value(value: &str) -> bool {
    let is_printable = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_printable)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            )
        };
        lines.iter().map(line).collect()
    }

    fn parent(text: &str) -> Option<SenderContext> {
        SenderContext::of(&headers(&[("traceparent", text)]))
    }

    fn state_of(lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| ("tracestate", *line));
        let lines: Vec<_> = [("traceparent", VALID)].into_iter().chain(lines).collect();
        SenderContext::of(&headers(&lines)).expect("a valid parent").state
    }

    #[test]
    fn a_valid_parent_is_read() {
        let context = SenderContext {
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            parent_id: 0x00f0_67aa_0ba9_02b7,
            is_sampled: true,
            state: String::new(),
        };
        assert_eq!(parent(VALID), Some(context.clone()));
        let unsampled = Some(SenderContext { is_sampled: false, ..context.clone() });
        for (flags, expected) in [
            ("00", &unsampled),
            ("02", &unsampled),
            ("fe", &unsampled),
            ("03", &Some(context.clone())),
            ("ff", &Some(context.clone())),
        ] {
            let text = format!("{}{flags}", &VALID[..53]);
            assert_eq!(&parent(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_later_version_may_have_more_fields_and_version_00_may_not() {
        let later = VALID.replacen("00", "cc", 1);
        for text in [later.clone(), format!("{later}-what-the-future-holds"), format!("{later}-")] {
            assert!(parent(&text).is_some(), "{text}");
        }
        for text in [format!("{later}.x"), format!("{VALID}-x"), format!("{VALID}-")] {
            assert_eq!(parent(&text), None, "{text}");
        }
    }

    #[test]
    fn an_invalid_parent_is_ignored() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e47360-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parent(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_with_two_parents_begins_a_trace_of_its_own() {
        let two = headers(&[("traceparent", VALID), ("traceparent", VALID)]);
        assert_eq!(SenderContext::of(&two), None);
        assert_eq!(SenderContext::of(&headers(&[("tracestate", "a=1")])), None);
    }

    #[test]
    fn the_lines_of_a_state_are_joined() {
        assert_eq!(state_of(&["a=1 , b=2", "", "t@v=x y,,"]), "a=1,b=2,t@v=x y");
        assert_eq!(state_of(&[]), "");
    }

    #[test]
    fn a_state_that_breaks_the_rules_is_not_used() {
        let long_key = format!("{}=1", "k".repeat(257));
        let long_value = format!("k={}", "v".repeat(257));
        let many: Vec<_> = (0..33).map(|place| format!("k{place}=1")).collect();
        for state in [
            "a",
            "=1",
            "a=",
            "A=1",
            "_a=1",
            "a=1,a=2",
            "a=b=c",
            "a=\u{e9}",
            &long_key,
            &long_value,
            &many.join(","),
        ] {
            assert_eq!(state_of(&["ok=1", state]), "", "{state}");
        }
    }

    #[test]
    fn a_state_that_is_too_long_loses_long_entries_and_then_the_last_ones() {
        let long = format!("long={}", "x".repeat(200));
        let short: Vec<_> = (10..20).map(|place| format!("k{place}={}", "x".repeat(46))).collect();
        let state = state_of(&[&long, &short.join(",")]);
        assert_eq!(state, short.join(","));
        let more: Vec<_> = (10..30).map(|place| format!("k{place}={}", "x".repeat(46))).collect();
        assert_eq!(state_of(&[&more.join(",")]), short.join(","));
    }
}
