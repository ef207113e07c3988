//! Request ids: ULIDs, each higher than the one before. Every answer carries one.
//!
//! An id holds the time of arrival in milliseconds. Code that needs a time uses a timestamp instead.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderValue;
use jiff::Timestamp;
use ulid::Ulid;

/// The header of every answer that holds the request's id.
pub const HEADER: &str = "x-request-id";

/// Id of a request, as an extension of each request that reaches the routes of the admin API.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(pub Ulid);

/// The newest id: its time in milliseconds in the upper bits, its place within that millisecond below.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// Number of bits that count within a millisecond. If they overflow, the next millisecond begins.
const COUNTER_BITS: u32 = 16;

/// Returns a new id. Ids keep growing if the clock goes back.
pub fn next() -> Ulid {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    next_at(now, &NEWEST)
}

fn next_at(now: u64, newest: &AtomicU64) -> Ulid {
    let advance = |newest: u64| (newest + 1).max(now << COUNTER_BITS);
    let before = newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| Some(advance(it)));
    // The closure of the update never returns `None`.
    let place = advance(before.unwrap_or_default());
    Ulid::from(u128::from(place) << 64 | u128::from(fastrand::u64(..)))
}

/// Returns an id as the value of [`HEADER`].
pub fn header_value(id: Ulid) -> HeaderValue {
    let mut text = [0; ulid::ULID_LEN];
    // A ULID has only digits and capital letters, all valid in a header.
    HeaderValue::from_str(id.array_to_str(&mut text)).unwrap_or(HeaderValue::from_static("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_id_is_higher_than_the_one_before_even_if_the_clock_goes_back() {
        let newest = AtomicU64::new(0);
        let times = [1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_001, 1_600_000_000_000];
        let ids = times.map(|time| next_at(time, &newest));
        assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
        let times = ids.map(|id| id.timestamp_ms() - 1_700_000_000_000);
        assert_eq!(times, [0, 0, 1, 1]);
    }

    #[test]
    fn threads_that_race_get_different_request_ids() {
        let newest = AtomicU64::new(0);
        let mut ids: Vec<_> = std::thread::scope(|scope| {
            let race = || (0..1000).map(|_| next_at(1, &newest)).collect::<Vec<_>>();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
        });
        ids.sort_unstable();
        ids.dedup_by_key(|id| u128::from(*id) >> 64);
        assert_eq!(ids.len(), 8000);
    }
}
