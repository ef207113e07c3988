//! The code that answers the requests of a listener, and the client that it answers.

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    service::Service,
};
use hyper_util::service::TowerToHyperService;

use super::sweep::{Activity, Deadlines};
use crate::http::sender::Peer;

/// Code that answers the requests of a listener.
pub trait Responder: Send + Sync + 'static {
    /// Body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers a request of a client.
    fn answer(
        &self,
        request: Request<Incoming>,
        client: &Client,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Client {
    /// The address.
    pub peer: SocketAddr,
    pub(super) deadlines: Arc<Deadlines>,
}

/// Error of [`Client::body_within`] if the body took too long.
#[derive(Debug)]
pub(crate) struct BodyTimedOut;

impl Client {
    /// Waits for a future that reads the body of a request of this client.
    ///
    /// # Errors
    ///
    /// If the timeout is over first.
    pub(crate) async fn body_within<F: Future>(
        &self,
        timeout: Duration,
        mut body: Pin<&mut F>,
    ) -> Result<F::Output, BodyTimedOut> {
        self.deadlines.set(Activity::Body, timeout);
        let poll = |cx: &mut Context<'_>| match body.as_mut().poll(cx) {
            Poll::Ready(read) => Poll::Ready(Ok(read)),
            Poll::Pending if self.deadlines.is_over(Activity::Body) => {
                Poll::Ready(Err(BodyTimedOut))
            }
            Poll::Pending => Poll::Pending,
        };
        let read = std::future::poll_fn(poll).await;
        self.deadlines.lift(Activity::Body);
        read
    }
}

/// Routes find the address of the client as the extension [`Peer`].
impl Responder for Router {
    type Body = axum::body::Body;

    fn answer(
        &self,
        mut request: Request<Incoming>,
        client: &Client,
    ) -> impl Future<Output = Response<Self::Body>> + Send {
        request.extensions_mut().insert(Peer(client.peer));
        let answer = TowerToHyperService::new(self.clone()).call(request);
        async { answer.await.unwrap_or_else(|never: Infallible| match never {}) }
    }
}
