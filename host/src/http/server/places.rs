//! Places for connections: the share of one address, and the reserve that answers health checks when all
//! places are taken.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::AbortHandle;

use crate::limits::subscriber::subscriber;

/// The number of connections of each address.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One connection of an address. Dropping it returns the place.
#[derive(Debug)]
pub(super) struct AddressPlace {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// Counts one more connection of an address, or returns none if the address has reached its limit.
    pub(super) fn claim(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<AddressPlace> {
        let address = subscriber(address);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(AddressPlace { addresses: Arc::clone(self), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Connections beyond all places. If there are too many, a new one ends an older one, so that the newest is
/// always served.
#[derive(Debug, Default)]
pub(super) struct Reserve(Vec<Reserved>);

/// A connection of the reserve.
#[derive(Debug)]
struct Reserved {
    address: IpAddr,
    connection: AbortHandle,
    /// True once the client has sent a request.
    has_asked: Arc<AtomicBool>,
}

impl Reserve {
    /// The largest number of connections.
    pub(super) const PLACES: usize = 64;

    /// Adds a connection. If the reserve is full, this ends a connection that has sent no request yet, or
    /// else any; among those, the oldest one of the address with the most connections.
    pub(super) fn take(
        &mut self,
        address: IpAddr,
        connection: AbortHandle,
        has_asked: Arc<AtomicBool>,
    ) {
        self.0.retain(|other| !other.connection.is_finished());
        if self.0.len() >= Self::PLACES {
            let leaves = self.0.remove(self.first_to_leave());
            leaves.connection.abort();
        }
        self.0.push(Reserved { address: subscriber(address), connection, has_asked });
    }

    /// Ends all connections.
    pub(super) fn close(self) {
        self.0.iter().for_each(|reserved| reserved.connection.abort());
    }

    fn first_to_leave(&self) -> usize {
        let count = |address| self.0.iter().filter(|other| other.address == address).count();
        let rank = |reserved: &Reserved| {
            (!reserved.has_asked.load(Ordering::Relaxed), count(reserved.address))
        };
        // The first of several equal connections is the oldest.
        let places = self.0.iter().enumerate().rev();
        places.max_by_key(|(_, reserved)| rank(reserved)).map_or(0, |(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_limited_to_its_share_and_returns_it() {
        let addresses = Arc::<Addresses>::default();
        let claim = |address: &str| addresses.claim(address.parse().expect("an address"), 2);
        let (first, second) = (claim("192.0.2.1"), claim("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(claim("192.0.2.1").is_none(), "however it is written");
        assert!(claim("192.0.2.2").is_some(), "another one has its own");
        let network = (claim("2001:db8::1"), claim("2001:db8::2"));
        assert!(network.0.is_some() && network.1.is_some());
        assert!(claim("2001:db8::3").is_none() && claim("2001:db8:0:1::1").is_some());
        drop(first);
        assert!(claim("192.0.2.1").is_some());
        drop((second, network));
        assert!(addresses.counts().is_empty(), "no counts of closed connections are kept");
    }

    /// Builds a full reserve from addresses, each with a flag for a request that was sent.
    async fn ended_by_one_more(of: impl Fn(usize) -> (&'static str, bool)) -> Vec<usize> {
        let mut reserve = Reserve::default();
        let tasks: Vec<_> = (0..=Reserve::PLACES)
            .map(|place| {
                let (address, has_asked) = of(place);
                let task = tokio::spawn(std::future::pending::<()>());
                let address = address.parse().expect("an address");
                reserve.take(address, task.abort_handle(), Arc::new(has_asked.into()));
                task
            })
            .collect();
        tokio::task::yield_now().await;
        let ended = tasks.iter().enumerate().filter(|(_, task)| task.is_finished());
        ended.map(|(place, _)| place).collect()
    }

    #[tokio::test]
    async fn a_new_connection_ends_the_oldest_of_the_reserve() {
        assert_eq!(ended_by_one_more(|_| ("192.0.2.1", false)).await, [0]);
    }

    #[tokio::test]
    async fn the_reserve_first_ends_connections_without_a_request_and_of_addresses_with_many() {
        let of_many = |place| (if place < 3 { "192.0.2.1" } else { "203.0.113.9" }, false);
        assert_eq!(ended_by_one_more(of_many).await, [3]);
        assert_eq!(ended_by_one_more(|place| ("192.0.2.1", place != 5)).await, [5]);
    }
}
