//! Answers of a store that are on their way.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::StoreError;

/// Answer of a store that is on its way.
///
/// A named future rather than an `async fn`, so that the store's traits can be trait objects.
pub struct Pending<T>(oneshot::Receiver<Result<T, StoreError>>);

/// Sending half of a [`Pending`].
pub(crate) struct Responder<T>(oneshot::Sender<Result<T, StoreError>>);

/// Creates a [`Pending`] answer and the [`Responder`] that sends it.
pub(crate) fn pending<T>() -> (Responder<T>, Pending<T>) {
    let (sender, receiver) = oneshot::channel();
    (Responder(sender), Pending(receiver))
}

impl<T> Responder<T> {
    /// Sends the answer. If the task that asked has ended, the answer is dropped.
    pub(crate) fn answer(self, answer: Result<T, StoreError>) {
        let _ = self.0.send(answer);
    }
}

impl<T> Pending<T> {
    /// Returns an answer that is known already.
    pub(super) fn ready(answer: T) -> Self {
        let (responder, pending) = pending();
        responder.answer(Ok(answer));
        pending
    }

    /// Returns the answer of a closed store.
    pub(super) fn closed() -> Self {
        let (responder, pending) = pending();
        responder.answer(Err(StoreError::Closed));
        pending
    }

    /// Waits for the answer, on a thread outside the async runtime.
    ///
    /// # Errors
    ///
    /// Returns the error that the store answers, or [`StoreError::Closed`] if it was closed.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
