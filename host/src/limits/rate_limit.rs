//! Rate limits of an integration: for all requests together, and for each sender.
//!
//! A limit only says whether a request may come. The answer to a request over its rate, and the address
//! of a sender behind a proxy, are decided elsewhere.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    num::NonZeroU32,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, Reference},
    nanos::Nanos,
    state::{
        InMemoryState, NotKeyed, StateStore,
        keyed::{DefaultHasher, ShrinkableKeyedStateStore},
    },
};
use serde::{Deserialize, Deserializer, de};

use crate::limits::subscriber::subscriber;

/// The most requests of a rate.
const MOST_REQUESTS: u32 = 1_000_000;
/// The most senders that are counted apart, which takes some 5 MB. Beyond that, all new senders share
/// one rate.
const MOST_SENDERS: usize = 100_000;
/// The time between two searches for idle senders: no request is checked during a search.
const BETWEEN_CLEARINGS: Duration = Duration::from_secs(1);

/// A number of requests in a second, a minute or an hour. The same number may arrive at once.
///
/// The text form is a number and the time: `100/s`, `600/m`, `1000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    count: NonZeroU32,
    unit: Unit,
}

/// Limits on the requests of one integration, each a [`Rate`].
///
/// Without a rate, every request may come, and nothing is counted.
pub(crate) struct RateLimits<C: Clock = DefaultClock> {
    integration: Option<RateLimiter<NotKeyed, InMemoryState, C, Plain<C>>>,
    senders: Option<SenderLimits<C>>,
}

/// A request that came too early, see [`RateLimits::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverRate {
    /// The scope of the exceeded rate.
    pub scope: Scope,
    /// The time until the next request may come, not rounded.
    pub retry_after: Duration,
}

/// The requests that a rate counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All requests of an integration.
    Integration,
    /// The requests of one sender: an IPv4 address, or a /64 of IPv6.
    Sender,
}

/// Error for a text that is no [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RateError {
    /// The text has another form.
    #[error("`{0}` is not a rate: write a number and s, m or h, such as `100/s`")]
    Form(String),
    /// The number is zero or too large.
    #[error("`{0}` is not a rate: the number is from 1 to {MOST_REQUESTS}")]
    Count(String),
}

impl Rate {
    /// Creates a rate of requests in a minute.
    pub(crate) const fn per_minute(count: NonZeroU32) -> Self {
        Self { count, unit: Unit::Minute }
    }

    /// Returns the time between two requests, if they come evenly.
    pub(crate) fn interval(self) -> Duration {
        let unit = match self.unit {
            Unit::Second => Duration::from_secs(1),
            Unit::Minute => Duration::from_secs(60),
            Unit::Hour => Duration::from_secs(60 * 60),
        };
        unit / self.count.get()
    }

    fn quota(self) -> Quota {
        match self.unit {
            Unit::Second => Quota::per_second(self.count),
            Unit::Minute => Quota::per_minute(self.count),
            Unit::Hour => Quota::per_hour(self.count),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let form = || RateError::Form(text.to_owned());
        let (count, unit) = text.split_once('/').ok_or_else(form)?;
        let unit = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            _ => return Err(form()),
        };
        // A sign would be read as part of the number.
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let count = count.parse().ok().filter(|count: &NonZeroU32| count.get() <= MOST_REQUESTS);
        Ok(Self { count: count.ok_or_else(|| RateError::Count(text.to_owned()))?, unit })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(RateText)
    }
}

impl RateLimits {
    /// Creates limits with a [`Rate`] for the whole integration, and one for each of its senders.
    pub(crate) fn new(integration: Option<Rate>, sender: Option<Rate>) -> Self {
        Self::with_clock(integration, sender, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    /// As [`RateLimits::new`], with a clock.
    fn with_clock(integration: Option<Rate>, sender: Option<Rate>, clock: &C) -> Self {
        Self {
            integration: integration
                .map(|rate| RateLimiter::direct_with_clock(rate.quota(), clock.clone())),
            senders: sender.map(|rate| SenderLimits::new(rate, clock.clone())),
        }
    }

    /// Counts a request, unless it exceeds a rate.
    ///
    /// The sender's rate is checked first, so that requests over it use up nothing of the integration's
    /// rate.
    ///
    /// # Errors
    ///
    /// The exceeded rate, and the time until the next request may come.
    pub(crate) fn check(&self, sender: IpAddr) -> Result<(), OverRate> {
        if let Some(senders) = &self.senders {
            senders
                .check(sender)
                .map_err(|retry_after| OverRate { scope: Scope::Sender, retry_after })?;
        }
        let Some(integration) = &self.integration else { return Ok(()) };
        integration.check().map_err(|too_early| OverRate {
            scope: Scope::Integration,
            retry_after: wait(&too_early, integration.clock()),
        })
    }

    /// Forgets idle senders, which have all of their rate left, and frees their memory. Called about
    /// once a minute.
    pub(crate) fn forget_idle(&self) {
        if let Some(senders) = &self.senders {
            senders.limiter.retain_recent();
            senders.limiter.shrink_to_fit();
        }
    }
}

impl Scope {
    /// Returns the name in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Integration => "integration",
            Self::Sender => "sender",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

struct RateText;

impl de::Visitor<'_> for RateText {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate such as `100/s`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
        text.parse().map_err(E::custom)
    }
}

type Plain<C> = governor::middleware::NoOpMiddleware<<C as Clock>::Instant>;

fn wait<C: Clock>(too_early: &NotUntil<C::Instant>, clock: &C) -> Duration {
    too_early.wait_time_from(clock.now())
}

/// The rate of each sender.
struct SenderLimits<C: Clock> {
    limiter: RateLimiter<Sender, Senders, C, Plain<C>>,
    cleared_at: Mutex<Option<C::Instant>>,
}

impl<C: Clock> SenderLimits<C> {
    fn new(rate: Rate, clock: C) -> Self {
        let limiter = RateLimiter::new(rate.quota(), Senders::default(), clock);
        Self { limiter, cleared_at: Mutex::default() }
    }

    fn check(&self, address: IpAddr) -> Result<(), Duration> {
        if self.limiter.len() >= MOST_SENDERS {
            self.make_room();
        }
        self.limiter
            .check_key(&Sender::from(address))
            .map_err(|too_early| wait(&too_early, self.limiter.clock()))
    }

    fn make_room(&self) {
        let now = self.limiter.clock().now();
        let mut cleared_at = self.cleared_at.lock().unwrap_or_else(PoisonError::into_inner);
        if cleared_at.is_none_or(|last| now.duration_since(last) >= BETWEEN_CLEARINGS.into()) {
            *cleared_at = Some(now);
            self.limiter.retain_recent();
        }
    }
}

/// Returns the key by which senders are counted: an IPv6 subscriber has at least a /64, and any address
/// in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sender(IpAddr);

impl From<IpAddr> for Sender {
    fn from(address: IpAddr) -> Self {
        Self(subscriber(address))
    }
}

/// State of each sender: the time at which its next request would come if it kept exactly to its rate.
#[derive(Default)]
struct Senders(Mutex<Known>);

#[derive(Default)]
struct Known {
    next: HashMap<Sender, Nanos, DefaultHasher>,
    /// The shared state of all senders beyond the most.
    next_of_others: Option<Nanos>,
}

impl Senders {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Senders {
    type Key = Sender;

    fn measure_and_replace<T, F, E>(&self, sender: &Sender, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let known = &mut *self.known();
        if let Some(next) = known.next.get_mut(sender) {
            let (outcome, later) = measure(Some(*next))?;
            *next = later;
            return Ok(outcome);
        }
        if known.next.len() >= MOST_SENDERS {
            let (outcome, later) = measure(known.next_of_others)?;
            known.next_of_others = Some(later);
            return Ok(outcome);
        }
        let (outcome, later) = measure(None)?;
        known.next.insert(*sender, later);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<Sender> for Senders {
    fn retain_recent(&self, drop_below: Nanos) {
        self.known().next.retain(|_, next| *next > drop_below);
    }

    fn shrink_to_fit(&self) {
        self.known().next.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.known().next.len()
    }

    fn is_empty(&self) -> bool {
        self.known().next.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, thread};

    use governor::clock::FakeRelativeClock;
    use insta::assert_snapshot;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn rate(text: &str) -> Rate {
        text.parse().expect("it is a rate")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("it is an address")
    }

    /// Returns one of many millions of addresses.
    fn stranger(number: usize) -> IpAddr {
        let number = u32::try_from(number).expect("it is one of them");
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn limits(
        integration: &str,
        sender: &str,
    ) -> (RateLimits<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = |text: &str| (!text.is_empty()).then(|| rate(text));
        (RateLimits::with_clock(rate(integration), rate(sender), &clock), clock)
    }

    fn over(scope: Scope, retry_after: Duration) -> Result<(), OverRate> {
        Err(OverRate { scope, retry_after })
    }

    #[test]
    fn a_rate_is_written_as_it_is_read() {
        for (text, count, unit) in [
            ("1/s", 1, Unit::Second),
            ("600/m", 600, Unit::Minute),
            ("1000000/h", 1_000_000, Unit::Hour),
        ] {
            let rate = rate(text);
            assert_eq!((rate.count.get(), rate.unit), (count, unit));
            assert_eq!(rate.to_string(), text);
        }
        assert_eq!(rate("007/m"), rate("7/m"));
        assert_ne!(rate("60/m"), rate("1/s"), "as many may come at once in one, not in the other");
    }

    #[test]
    fn an_invalid_rate_is_refused_with_an_example() {
        for wrong in [
            "", "100", "/s", "100/", "100/min", "100/S", "100 / s", "+1/s", "-1/s", "1.5/s",
            "1/s/s",
        ] {
            let said = wrong.parse::<Rate>().expect_err("it is none").to_string();
            let right = "is not a rate: write a number and s, m or h, such as `100/s`";
            assert_eq!(said, format!("`{wrong}` {right}"));
        }
        let said = |wrong: &str| wrong.parse::<Rate>().expect_err("it is none").to_string();
        assert_snapshot!(said("0/s"), @"`0/s` is not a rate: the number is from 1 to 1000000");
        assert_snapshot!(said("1000001/h"), @"`1000001/h` is not a rate: the number is from 1 to 1000000");
        assert_snapshot!(said("99999999999/h"), @"`99999999999/h` is not a rate: the number is from 1 to 1000000");
    }

    #[test]
    fn a_rate_in_a_configuration_is_a_text() {
        #[derive(Debug, Deserialize)]
        struct Section {
            rate: Rate,
        }
        let read = |text| toml::from_str::<Section>(text);
        assert_eq!(read("rate = '100/s'").expect("it is one").rate, rate("100/s"));
        assert_snapshot!(read("rate = '100'").expect_err("it is none"), @"
        TOML parse error at line 1, column 8
          |
        1 | rate = '100'
          |        ^^^^^
        `100` is not a rate: write a number and s, m or h, such as `100/s`
        ");
        assert_snapshot!(read("rate = 100").expect_err("it is none").message(), @"invalid type: integer `100`, expected a rate such as `100/s`");
    }

    #[test]
    fn allows_as_many_requests_at_once_as_its_number_and_then_refuses_more() {
        let (limits, clock) = limits("100/s", "");
        for _ in 0..100 {
            assert_eq!(limits.check(ip("192.0.2.1")), Ok(()));
        }
        assert_eq!(limits.check(ip("192.0.2.2")), over(Scope::Integration, 10 * MS));
        clock.advance(4 * MS);
        assert_eq!(limits.check(ip("192.0.2.3")), over(Scope::Integration, 6 * MS));
    }

    #[test]
    fn the_rate_recovers_evenly() {
        let (limits, clock) = limits("", "6/m");
        let sender = ip("192.0.2.1");
        for _ in 0..6 {
            assert_eq!(limits.check(sender), Ok(()));
        }
        assert_eq!(limits.check(sender), over(Scope::Sender, 10 * SECOND));
        clock.advance(10 * SECOND);
        assert_eq!(limits.check(sender), Ok(()));
        assert_eq!(limits.check(sender), over(Scope::Sender, 10 * SECOND));
        clock.advance(3600 * SECOND);
        let passed = (0..100).filter(|_| limits.check(sender).is_ok()).count();
        assert_eq!(passed, 6, "what was not used is not saved up");
    }

    #[test]
    fn a_sender_over_its_rate_takes_nothing_from_the_others() {
        let (limits, _clock) = limits("10/h", "5/h");
        let (loud, quiet, third) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3"));
        let passed = (0..1000).filter(|_| limits.check(loud).is_ok()).count();
        assert_eq!(passed, 5);
        assert_eq!(limits.check(loud), over(Scope::Sender, 720 * SECOND));
        let passed = (0..5).filter(|_| limits.check(quiet).is_ok()).count();
        assert_eq!(passed, 5);
        assert_eq!(limits.check(third), over(Scope::Integration, 360 * SECOND));
        assert_eq!(limits.check(quiet), over(Scope::Sender, 720 * SECOND), "asked first");
        assert_eq!(
            [Scope::Integration, Scope::Sender].map(Scope::as_str),
            ["integration", "sender"]
        );
    }

    #[test]
    fn ipv6_senders_are_counted_by_network() {
        let (limits, _clock) = limits("", "1/h");
        assert_eq!(limits.check(ip("2001:db8:0:1::1")), Ok(()));
        assert!(limits.check(ip("2001:db8:0:1:ffff:ffff:ffff:ffff")).is_err());
        assert_eq!(limits.check(ip("2001:db8:0:2::1")), Ok(()));
    }

    #[test]
    fn an_ipv4_address_mapped_to_ipv6_is_the_same_sender() {
        let (limits, _clock) = limits("", "1/h");
        assert_eq!(limits.check(ip("::ffff:192.0.2.1")), Ok(()));
        assert!(limits.check(ip("192.0.2.1")).is_err());
        assert_eq!(limits.check(ip("::ffff:192.0.2.2")), Ok(()), "not one network of them all");
    }

    #[test]
    fn every_request_may_come_without_rates() {
        let limits = RateLimits::new(None, None);
        for number in 0..1000 {
            assert_eq!(limits.check(stranger(number % 2)), Ok(()));
        }
        limits.forget_idle();
        assert!(limits.integration.is_none() && limits.senders.is_none());
    }

    #[test]
    fn forgets_idle_senders_only() {
        let (limits, clock) = limits("", "2/s");
        let known = || limits.senders.as_ref().map_or(0, |senders| senders.limiter.len());
        for number in 0..1000 {
            assert_eq!(limits.check(stranger(number)), Ok(()));
        }
        limits.forget_idle();
        assert_eq!(known(), 1000);
        clock.advance(2 * SECOND);
        let loud = stranger(1);
        assert_eq!((limits.check(loud), limits.check(loud)), (Ok(()), Ok(())));
        limits.forget_idle();
        assert_eq!(known(), 1);
        assert_eq!(limits.check(loud), over(Scope::Sender, 500 * MS));
    }

    #[test]
    fn new_senders_beyond_the_most_share_one_rate_until_there_is_room() {
        let (limits, clock) = limits("", "2/m");
        let known = || limits.senders.as_ref().map_or(0, |senders| senders.limiter.len());
        for number in 0..MOST_SENDERS {
            assert_eq!(limits.check(stranger(number)), Ok(()));
        }
        let newcomer = |number| limits.check(stranger(MOST_SENDERS + number));
        assert_eq!((newcomer(1), newcomer(2)), (Ok(()), Ok(())));
        assert_eq!(newcomer(3), over(Scope::Sender, 30 * SECOND));
        assert_eq!(limits.check(stranger(7)), Ok(()), "a known sender keeps a rate of its own");
        assert_eq!(limits.check(stranger(7)), over(Scope::Sender, 30 * SECOND));
        assert_eq!(known(), MOST_SENDERS);
        clock.advance(91 * SECOND);
        assert_eq!(newcomer(3), Ok(()));
        assert_eq!(known(), 1, "the idle ones made room");
    }

    #[test]
    fn searches_for_idle_senders_at_most_once_a_second() {
        let (limits, clock) = limits("", "1/s");
        let known = || limits.senders.as_ref().map_or(0, |senders| senders.limiter.len());
        (0..MOST_SENDERS).for_each(|number| _ = limits.check(stranger(number)));
        clock.advance(1500 * MS);
        // The first search finds no idle sender, and the next one is only due a second later.
        assert_eq!(limits.check(stranger(MOST_SENDERS)), Ok(()));
        clock.advance(600 * MS);
        _ = limits.check(stranger(MOST_SENDERS + 1));
        assert_eq!(known(), MOST_SENDERS);
        clock.advance(400 * MS);
        _ = limits.check(stranger(MOST_SENDERS + 2));
        assert_eq!(known(), 1);
    }

    #[test]
    fn many_threads_together_stay_within_the_rate() {
        let (limits, _clock) = limits("500/h", "200/h");
        let passed: usize = thread::scope(|scope| {
            let one = |number: usize| {
                let limits = &limits;
                move || (0..1000).filter(|_| limits.check(stranger(number % 4)).is_ok()).count()
            };
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(one(number))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        assert_eq!(passed, 500);
    }
}
