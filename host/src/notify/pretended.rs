//! A notifier and a receiver that do what a test says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tocsin_plugin_api::{
    notification::Notification,
    step::{HttpAnswer, NotifyCall, Step},
};

use super::attempt::{AskNotifier, Coming, SendRequest};
use crate::{
    call::CallFailure,
    outbound::{OutboundAnswer, OutboundRequest, SendFailure, Sent, Trace},
};

type NextStep = dyn Fn(&Notification, &[HttpAnswer]) -> Result<Step, CallFailure> + Send + Sync;
type Delay = dyn Fn(usize) -> Coming<()> + Send + Sync;
type Answer = dyn Fn(usize) -> Result<OutboundAnswer, SendFailure> + Send + Sync;

/// A notifier made of a function, which remembers its notifications.
#[derive(Clone)]
pub(super) struct Notifier {
    next: Arc<NextStep>,
    seen: Arc<Mutex<Vec<Notification>>>,
}

impl Notifier {
    pub(super) fn new(
        next: impl Fn(&Notification, &[HttpAnswer]) -> Result<Step, CallFailure> + Send + Sync + 'static,
    ) -> Self {
        Self { next: Arc::new(next), seen: Arc::default() }
    }

    /// Returns the notifications of all attempts, in order.
    pub(super) fn seen(&self) -> Vec<Notification> {
        lock(&self.seen).clone()
    }
}

impl AskNotifier for Notifier {
    fn next(&self, call: NotifyCall) -> Coming<Result<Step, CallFailure>> {
        let NotifyCall::Next { notification, answers } = call else {
            panic!("the engine asks for no description");
        };
        if answers.is_empty() {
            lock(&self.seen).push((*notification).clone());
        }
        let step = (self.next)(&notification, &answers);
        Box::pin(async move { step })
    }
}

/// A receiver made of a function of the number of requests before, which remembers its requests.
#[derive(Clone)]
pub(super) struct Receiver {
    answer: Arc<Answer>,
    delay: Arc<Delay>,
    requests: Arc<Mutex<Vec<OutboundRequest>>>,
}

impl Receiver {
    pub(super) fn new(
        answer: impl Fn(usize) -> Result<OutboundAnswer, SendFailure> + Send + Sync + 'static,
    ) -> Self {
        let delay = Arc::new(|_| -> Coming<()> { Box::pin(async {}) });
        Self { answer: Arc::new(answer), delay, requests: Arc::default() }
    }

    /// Answers only after a delay, which depends on the number of requests before.
    #[must_use]
    pub(super) fn delayed(
        mut self,
        delay: impl Fn(usize) -> Coming<()> + Send + Sync + 'static,
    ) -> Self {
        self.delay = Arc::new(delay);
        self
    }

    /// Returns the requests so far.
    pub(super) fn requests(&self) -> Vec<OutboundRequest> {
        lock(&self.requests).clone()
    }
}

impl SendRequest for Receiver {
    fn send(&self, request: OutboundRequest) -> Coming<Sent> {
        let turn = {
            let mut requests = lock(&self.requests);
            requests.push(request);
            requests.len() - 1
        };
        let (result, delay) = ((self.answer)(turn), (self.delay)(turn));
        Box::pin(async move {
            delay.await;
            Sent { result, trace: Trace::default() }
        })
    }
}

/// Returns an answer with a status and a body.
pub(super) fn answer(status: u16, body: &'static str) -> OutboundAnswer {
    OutboundAnswer {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
        truncated: false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
