//! Memory budget for the bodies of all requests in progress.
//!
//! Bodies count as they arrive, in steps, whatever length they announce. One sender may take half of the
//! budget.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::limits::subscriber::subscriber;

/// Largest body that does not count.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;
/// Step in which a body takes memory.
const STEP_BYTES: usize = 64 * 1024;
/// Longest time that a body waits for memory. Meanwhile its sender cannot send the rest.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Memory budget for the bodies of all requests, see `server.body_memory_bytes`.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    budget_bytes: usize,
    taken: Mutex<Taken>,
    given_back: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: usize,
    by_sender: HashMap<IpAddr, usize>,
}

/// Error of [`BodyShare::grow_to`] if no memory became free in time.
#[derive(Debug)]
pub(crate) struct NoMemory;

impl BodyMemory {
    /// Creates a budget of that many bytes.
    pub(crate) fn new(budget_bytes: usize) -> Arc<Self> {
        Arc::new(Self { budget_bytes, taken: Mutex::default(), given_back: Notify::new() })
    }

    /// Returns an empty [`BodyShare`] for a body of a sender.
    pub(crate) fn share(self: &Arc<Self>, sender: IpAddr) -> BodyShare {
        let sender = subscriber(sender);
        BodyShare { memory: Arc::clone(self), sender, bytes: 0 }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Share of one body in a [`BodyMemory`]. Dropping the share gives its memory back.
#[derive(Debug)]
pub(crate) struct BodyShare {
    memory: Arc<BodyMemory>,
    sender: IpAddr,
    bytes: usize,
}

impl BodyShare {
    /// Takes memory for a body that has grown to a length, and waits up to a second if there is none.
    ///
    /// # Errors
    ///
    /// If no memory became free in time.
    pub(crate) async fn grow_to(&mut self, length: usize) -> Result<(), NoMemory> {
        if length <= SMALL_BYTES.max(self.bytes) {
            return Ok(());
        }
        let wanted = length.next_multiple_of(STEP_BYTES);
        let end = Instant::now() + LONGEST_WAIT;
        let memory = Arc::clone(&self.memory);
        loop {
            let given_back = memory.given_back.notified();
            if self.try_grow_to(wanted) {
                return Ok(());
            }
            if tokio::time::timeout_at(end, given_back).await.is_err() {
                return Err(NoMemory);
            }
        }
    }

    fn try_grow_to(&mut self, wanted: usize) -> bool {
        let more = wanted - self.bytes;
        let budget = self.memory.budget_bytes;
        let mut taken = self.memory.taken();
        let of_sender = taken.by_sender.get(&self.sender).copied().unwrap_or(0);
        // If a sender has only one body, it may take all free memory.
        let is_only_one = of_sender == self.bytes;
        if taken.bytes + more > budget.max(wanted)
            || !(is_only_one || of_sender + more <= budget / 2)
        {
            return false;
        }
        taken.bytes += more;
        *taken.by_sender.entry(self.sender).or_default() += more;
        self.bytes = wanted;
        true
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.memory.taken();
        taken.bytes -= self.bytes;
        if let Some(of_sender) = taken.by_sender.get_mut(&self.sender) {
            *of_sender -= self.bytes;
            if *of_sender == 0 {
                taken.by_sender.remove(&self.sender);
            }
        }
        drop(taken);
        self.memory.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn sender(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_large_bodies_without_memory_and_accepts_small_ones() {
        let memory = BodyMemory::new(4 * MIB);
        let mut shares = Vec::new();
        for number in 0..4 {
            let mut share = memory.share(sender(number));
            share.grow_to(MIB).await.expect("there is some");
            shares.push(share);
        }
        let mut late = memory.share(sender(9));
        late.grow_to(MIB).await.expect_err("there is none");
        late.grow_to(SMALL_BYTES).await.expect("it needs none");
        shares.pop();
        late.grow_to(MIB).await.expect("some was given back");
        drop((shares, late));
        let taken = memory.taken();
        assert_eq!((taken.bytes, taken.by_sender.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_of_several_bodies_gets_at_most_half() {
        let memory = BodyMemory::new(4 * MIB);
        let mut one = memory.share(sender(1));
        one.grow_to(3 * MIB).await.expect("it is alone");
        let mut two = memory.share(sender(1));
        two.grow_to(MIB).await.expect_err("that would be more than half");
        memory.share(sender(2)).grow_to(MIB).await.expect("another has its own");
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_one_ipv6_network_count_as_one_sender() {
        let memory = BodyMemory::new(4 * MIB);
        let of = |address: &str| memory.share(address.parse().expect("an address"));
        let (mut one, mut two) = (of("2001:db8::1"), of("2001:db8::2"));
        one.grow_to(2 * MIB).await.expect("it is half");
        two.grow_to(MIB).await.expect_err("that would be more than half");
        of("2001:db8:0:1::1").grow_to(MIB).await.expect("another network has its own");
    }
}
