//! Duties: work that one host does at a time, and the leases by which several hosts share it out.
//!
//! A store decides who holds a duty. What a host does with a duty, and when it asks for one, is decided elsewhere.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::Pending;

/// Time for which a lease lasts, by the clock of the database, unless its holder renews it.
pub const LEASE_LASTS: Duration = Duration::from_secs(8);

/// Work that one host does at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Duty {
    /// Automatic resolve, and the deletion of old data.
    Housekeeping,
    /// Decisions about who is told of changes.
    Routing,
    /// Deliveries to the destination of this name.
    Delivering(Arc<str>),
}

impl Duty {
    /// Returns the duty with a name, as [`Display`](fmt::Display) writes it; none if no duty has the name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "housekeeping" => Some(Self::Housekeeping),
            "routing" => Some(Self::Routing),
            _ => Some(Self::Delivering(name.strip_prefix(DELIVERING)?.into())),
        }
    }
}

/// Beginning of the name of a duty to deliver.
const DELIVERING: &str = "delivering ";

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Housekeeping => f.write_str("housekeeping"),
            Self::Routing => f.write_str("routing"),
            Self::Delivering(destination) => write!(f, "{DELIVERING}{destination}"),
        }
    }
}

/// Number of a term in which a host holds a duty without a break.
///
/// A host that holds a duty in another term than before did not hold it in between: another host may have
/// done the work meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term(pub u64);

/// Answer of [`DutyStore::hold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The host that asked holds the duty.
    Here {
        /// The term.
        term: Term,
        /// Time from the question on in which no other host can take the duty; none if no other host can as
        /// long as this one has the store open. A duty that cannot be lost needs no renewal.
        lasts: Option<Duration>,
    },
    /// Another host holds the duty.
    Elsewhere,
}

/// [Duties](Duty) of hosts that share a store.
///
/// A host routes, claims, finishes and gives back only while it holds the duty. If another host has taken the
/// duty since, these calls are refused with [`NotOnDuty`](super::StoreError::NotOnDuty). The store checks that
/// within their transactions, and compares with the term in which the host held the duty at the time of the
/// call. So a host that was stopped for a while cannot write as if nothing had happened. Changes that people
/// make need no duty.
pub trait DutyStore: Send + Sync {
    /// Takes a duty that no other host holds, or renews its lease.
    ///
    /// Renewing in time keeps the [`Term`]. A lease that is over keeps its term, too, if no other host has
    /// taken the duty until now. A duty that was [released](Self::release) is taken in a new term.
    fn hold(&self, duty: Duty) -> Pending<Hold>;

    /// Gives up a duty, so that another host can take it at once. Does nothing if this host does not hold it.
    /// [Closing](super::Store::close) a store gives up all duties.
    fn release(&self, duty: Duty) -> Pending<()>;

    /// Returns a receiver that is told when another host may have made work for the holder of a duty, such as
    /// deliveries that became due. A signal may be late or missing, so holders of a lease look by themselves
    /// every few seconds.
    fn work_of_other_hosts(&self) -> watch::Receiver<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_is_known_by_its_name() {
        let delivering = |name: &str| Duty::Delivering(name.into());
        for duty in
            [Duty::Housekeeping, Duty::Routing, delivering("ops"), delivering("delivering routing")]
        {
            assert_eq!(Duty::named(&duty.to_string()), Some(duty));
        }
        assert_eq!(["", "Routing", "delivering"].map(Duty::named), [None, None, None]);
    }
}
