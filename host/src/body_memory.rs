//! A budget of memory for the bodies of all requests that are read and judged at once.
//!
//! Bodies are counted as they arrive, with the room that they are given to grow: an announced length that
//! never comes takes nothing. One sender may take half of the budget.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::http::sender::subscriber;

/// Bodies up to this size are not counted.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;
/// Memory is taken in steps of this size.
const STEP_BYTES: usize = 64 * 1024;
/// How long a body waits for memory. Its sender waits for the rest of the body meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The budget.
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

/// No memory came free in time.
#[derive(Debug)]
pub(crate) struct NoMemory;

impl BodyMemory {
    /// A budget of that many bytes.
    pub(crate) fn new(budget_bytes: usize) -> Arc<Self> {
        Arc::new(Self { budget_bytes, taken: Mutex::default(), given_back: Notify::new() })
    }

    /// Returns an empty share of the budget for a body of a sender.
    pub(crate) fn share(self: &Arc<Self>, sender: Option<IpAddr>) -> BodyShare {
        let sender = subscriber(sender.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        BodyShare { memory: Arc::clone(self), sender, bytes: 0 }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The share of one body in the budget. Dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct BodyShare {
    memory: Arc<BodyMemory>,
    sender: IpAddr,
    bytes: usize,
}

impl BodyShare {
    /// Takes memory for a body that has grown to a length, and waits a moment if there is none.
    ///
    /// # Errors
    ///
    /// If none came free.
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
        // The only body of a sender may take all that is free.
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
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn sender(number: u8) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, number).into())
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_find_no_memory_and_small_ones_need_none() {
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
    async fn one_sender_takes_half_at_most_unless_it_has_one_body() {
        let memory = BodyMemory::new(4 * MIB);
        let mut one = memory.share(sender(1));
        one.grow_to(3 * MIB).await.expect("it is alone");
        let mut two = memory.share(sender(1));
        two.grow_to(MIB).await.expect_err("that would be more than half");
        memory.share(sender(2)).grow_to(MIB).await.expect("another has its own");
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_of_ipv6_is_one_sender_whatever_its_address() {
        let memory = BodyMemory::new(4 * MIB);
        let of = |address: &str| memory.share(Some(address.parse().expect("an address")));
        let (mut one, mut two) = (of("2001:db8::1"), of("2001:db8::2"));
        one.grow_to(2 * MIB).await.expect("it is half");
        two.grow_to(MIB).await.expect_err("that would be more than half");
        of("2001:db8:0:1::1").grow_to(MIB).await.expect("another network has its own");
    }
}
