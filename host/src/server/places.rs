//! Places for connections: how many there are, how many of them one address may have, and the reserve
//! that answers health when all are taken.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::AbortHandle;

/// How many connections each address has.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One connection of an address. Dropping it gives the place back.
#[derive(Debug)]
pub(super) struct AddressPlace {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// Counts one more connection of an address, unless it has as many as it may have.
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

/// An IPv4 address, or the /64 of an IPv6 address, which a subscriber has at the least.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Connections beyond all places. A new one ends the oldest, so that the newest is always served.
#[derive(Debug, Default)]
pub(super) struct Reserve(VecDeque<AbortHandle>);

impl Reserve {
    /// Connections that are served at once.
    pub(super) const PLACES: usize = 64;

    /// Takes one more connection in.
    pub(super) fn take(&mut self, connection: AbortHandle) {
        self.0.retain(|other| !other.is_finished());
        if self.0.len() >= Self::PLACES
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }

    /// Ends all of them.
    pub(super) fn close(self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
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
        assert!(addresses.counts().is_empty(), "nothing is kept of who is gone");
    }

    #[tokio::test]
    async fn a_new_connection_ends_the_oldest_of_the_reserve() {
        let mut reserve = Reserve::default();
        let start = || tokio::spawn(std::future::pending::<()>());
        let tasks: Vec<_> = (0..=Reserve::PLACES).map(|_| start()).collect();
        tasks.iter().for_each(|task| reserve.take(task.abort_handle()));
        let mut tasks = tasks.into_iter();
        let oldest = tasks.next().expect("the first").await;
        assert!(oldest.expect_err("it was ended").is_cancelled());
        assert!(tasks.all(|task| !task.is_finished()));
    }
}
