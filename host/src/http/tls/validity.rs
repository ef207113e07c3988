//! The times between which a certificate is valid, read from its DER encoding.
//!
//! Nothing else of a certificate is read here: rustls checks the rest.

use jiff::{Timestamp, civil::DateTime, fmt::strtime, tz::Offset};

/// The times between which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// The first moment.
    pub(crate) from: Timestamp,
    /// The last moment.
    pub(crate) until: Timestamp,
}

/// Tags of DER (X.690).
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

impl Validity {
    /// Reads the field `validity` of a certificate (RFC 5280, section 4.1), or returns none if it is no
    /// certificate.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = expect(certificate, SEQUENCE)?;
        let (fields, _) = expect(certificate, SEQUENCE)?;
        // Version 1 has no field for the version.
        let fields = expect(fields, VERSION).map_or(fields, |(_, rest)| rest);
        let (_serial, fields) = expect(fields, INTEGER)?;
        let (_algorithm, fields) = expect(fields, SEQUENCE)?;
        let (_issuer, fields) = expect(fields, SEQUENCE)?;
        let (validity, _) = expect(fields, SEQUENCE)?;
        let (from, rest) = time(validity)?;
        let (until, _) = time(rest)?;
        Some(Self { from, until })
    }
}

/// Reads an element with this tag, and returns its contents and the bytes after it.
fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = element(bytes)?;
    (found == tag).then_some((contents, rest))
}

/// Reads an element, and returns its tag, its contents and the bytes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81..=0x83 => {
            let (long, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (long.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        // No certificate has 16 MiB.
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (tag, text, rest) = element(bytes)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        // Two digits of the year: 50 to 99 are of the last century.
        UTC_TIME if text.get(..2)?.parse::<u8>().ok()? < 50 => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time: DateTime = strtime::parse("%Y%m%d%H%M%SZ", &text).ok()?.to_datetime().ok()?;
    // The year 9999 stands for no end at all, and its last day is later than any timestamp.
    Some((Offset::UTC.to_timestamp(time).unwrap_or(Timestamp::MAX), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, until: i32) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 2, 3), date_time_ymd(until, 12, 31));
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn reads_both_forms_of_times() {
        let read = |from, until| {
            let Validity { from, until } = Validity::of(&certificate(from, until)).expect("times");
            format!("{from} {until}")
        };
        assert_eq!(read(1999, 2049), "1999-02-03T00:00:00Z 2049-12-31T00:00:00Z");
        assert_eq!(read(2050, 2999), "2050-02-03T00:00:00Z 2999-12-31T00:00:00Z");
        assert!(read(2026, 9999).ends_with(&Timestamp::MAX.to_string()));
    }

    #[test]
    fn a_part_of_a_certificate_is_no_certificate() {
        let whole = certificate(2026, 2027);
        for length in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Validity::of(&bytes);
        }

        #[test]
        fn no_change_of_a_byte_panics(place in 0_usize..200, byte in any::<u8>()) {
            let mut bytes = certificate(2026, 2060);
            bytes[place] = byte;
            let _ = Validity::of(&bytes);
        }
    }
}
