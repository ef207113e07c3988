//! Number of the last transaction that is on disk, and the signal that alerts changed.
//!
//! Readers see a transaction as soon as it is written, which is before [`super::syncer`] has synced it.
//! After a power cut, such a transaction may be lost.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

/// Number of the last transaction that is on disk.
pub(super) struct DurableTransaction {
    state: Mutex<State>,
    advanced: Condvar,
    /// Number of times that changes of alerts came to disk.
    alert_changes: watch::Sender<u64>,
}

impl Default for DurableTransaction {
    fn default() -> Self {
        let alert_changes = watch::Sender::new(0);
        Self { state: Mutex::default(), advanced: Condvar::default(), alert_changes }
    }
}

#[derive(Default)]
struct State {
    number: i64,
    /// Number of threads that wait. Waking none costs a system call, too.
    waiting: usize,
}

impl DurableTransaction {
    /// Notes that a transaction, and with it all earlier ones, is on disk.
    pub(super) fn advance(&self, transaction: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.number = transaction.max(state.number);
        if state.waiting > 0 {
            self.advanced.notify_all();
        }
    }

    /// Tells those who wait for changes of alerts that there may be some on disk.
    pub(super) fn alerts_changed(&self) {
        self.alert_changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Returns a receiver of the signals of [`alerts_changed`](Self::alerts_changed).
    pub(super) fn alert_changes(&self) -> watch::Receiver<u64> {
        self.alert_changes.subscribe()
    }

    /// Waits until a transaction is on disk, and returns the number of the last one that is; none after
    /// the timeout.
    pub(super) fn wait_for(&self, transaction: i64, timeout: Duration) -> Option<i64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        let (mut state, waited) = self
            .advanced
            .wait_timeout_while(state, timeout, |state| state.number < transaction)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        (!waited.timed_out()).then_some(state.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_waited_for_until_it_is_on_disk() {
        let durable = DurableTransaction::default();
        durable.advance(7);
        assert_eq!(durable.wait_for(7, Duration::ZERO), Some(7));
        assert_eq!(durable.wait_for(8, Duration::from_millis(1)), None);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| durable.wait_for(8, Duration::from_secs(60)));
            durable.advance(9);
            assert_eq!(waiting.join().expect("no panic"), Some(9));
        });
    }
}
