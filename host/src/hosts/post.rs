//! A duty that this host asks for, holds, renews in time, and gives up.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::store::{
    StoreError,
    duties::{Duty, DutyStore, Hold, Term},
};

/// Time between two renewals of a lease, and between two questions for a duty of another host.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Time in which a duty is given up. A store that needs longer finds the lease over a little later.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// [`Duty`] that a task of its own asks for and renews, until [`leave`](Self::leave).
pub(crate) struct Post {
    on_duty: OnDuty,
    leave: oneshot::Sender<()>,
    keeper: JoinHandle<()>,
}

/// Answers of a [`Post`] to the tasks that do the work of its [`Duty`].
#[derive(Clone, Debug)]
pub(crate) struct OnDuty {
    standing: watch::Receiver<Standing>,
    /// The only [`Term`] that counts; none if every term does.
    only: Option<Term>,
}

/// Standing of this host with a duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Another host holds the duty, or the store has not answered yet.
    Off,
    /// The host holds the duty in a [`Term`].
    On {
        term: Term,
        /// Time until which surely no other host holds the duty; none if no other host can.
        until: Option<Instant>,
    },
}

impl Post {
    /// Asks a store for a [`Duty`], from now on.
    pub(crate) fn apply(store: Arc<dyn DutyStore>, duty: Duty) -> Self {
        let (standing, receiver) = watch::channel(Standing::Off);
        let (leave, left) = oneshot::channel();
        let keeper = tokio::spawn(keep(store, duty, standing, left));
        Self { on_duty: OnDuty { standing: receiver, only: None }, leave, keeper }
    }

    /// Returns the [`OnDuty`] for the tasks that do the work.
    pub(crate) fn on_duty(&self) -> &OnDuty {
        &self.on_duty
    }

    /// Waits until the store has answered again.
    pub(crate) async fn changed(&mut self) {
        if self.on_duty.standing.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives the duty up, so that another host can take it at once.
    pub(crate) async fn leave(self) {
        let _ = self.leave.send(());
        let _ = timeout(LEAVE_TIMEOUT, self.keeper).await;
    }
}

impl OnDuty {
    /// Creates the knowledge that no other host can take a duty, for work that needs none.
    pub(crate) fn always() -> Self {
        let standing = Standing::On { term: Term(0), until: None };
        Self { standing: watch::channel(standing).1, only: None }
    }

    /// Returns the [`Term`] in which this host holds the duty; none if another host holds it. Between two renewals,
    /// another host may have taken the duty: see [`is_certain`](Self::is_certain).
    pub(crate) fn term(&self) -> Option<Term> {
        match *self.standing.borrow() {
            Standing::Off => None,
            Standing::On { term, .. } => Some(term),
        }
    }

    /// Returns an [`OnDuty`] for work that ends with a term, so that the work never goes on in a later one.
    pub(crate) fn in_term(&self, term: Term) -> Self {
        Self { standing: self.standing.clone(), only: Some(term) }
    }

    /// Returns true while surely no other host holds the duty.
    pub(crate) fn is_certain(&self) -> bool {
        self.standing.borrow().is_certain(self.only)
    }

    /// Returns true if the duty can be lost to another host.
    pub(crate) fn is_leased(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::On { until: Some(_), .. })
    }

    /// Waits until surely no other host holds the duty.
    pub(crate) async fn certain(&self) {
        self.until(|standing| standing.is_certain(self.only)).await;
    }

    /// Waits until this host holds the duty, and returns the [`Term`].
    pub(crate) async fn taken(&self) -> Term {
        loop {
            self.until(|standing| *standing != Standing::Off).await;
            if let Some(term) = self.term() {
                return term;
            }
        }
    }

    /// Waits until this host no longer holds the duty in this [`Term`].
    pub(crate) async fn lost(&self, of: Term) {
        self.until(|standing| !matches!(standing, Standing::On { term, .. } if *term == of)).await;
    }

    async fn until(&self, is_so: impl FnMut(&Standing) -> bool) {
        if self.standing.clone().wait_for(is_so).await.is_err() {
            // The post was left, or the store is closed. Nothing will change any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Standing {
    fn is_certain(&self, only: Option<Term>) -> bool {
        match self {
            Self::Off => false,
            Self::On { term, until } => {
                only.is_none_or(|only| only == *term)
                    && until.is_none_or(|until| Instant::now() < until)
            }
        }
    }
}

/// Asks for a [`Duty`] again and again until it is left, and gives it up then.
async fn keep(
    store: Arc<dyn DutyStore>,
    duty: Duty,
    standing: watch::Sender<Standing>,
    mut left: oneshot::Receiver<()>,
) {
    loop {
        let asked = Instant::now();
        let answer = store.hold(duty.clone()).await;
        if matches!(answer, Err(StoreError::Closed)) {
            return;
        }
        if let Some(next) = next(answer, asked) {
            log_change(&duty, &standing.borrow(), &next);
            standing.send_replace(next);
        }
        let needs_no_renewal = matches!(*standing.borrow(), Standing::On { until: None, .. });
        let renewal = async {
            if needs_no_renewal {
                std::future::pending::<()>().await;
            }
            sleep_until(asked + ASK_EVERY).await;
        };
        tokio::select! {
            biased;
            // An error means that the post was dropped.
            _ = &mut left => break,
            () = renewal => {}
        }
    }
    let _ = store.release(duty).await;
}

/// Returns the [`Standing`] after an answer of the store; none if the answer says nothing new.
fn next(answer: Result<Hold, StoreError>, asked: Instant) -> Option<Standing> {
    match answer {
        Ok(Hold::Here { term, lasts }) => {
            Some(Standing::On { term, until: lasts.map(|lasts| asked + lasts) })
        }
        Ok(Hold::Elsewhere) => Some(Standing::Off),
        Err(error) => {
            tracing::debug!(%error, "a duty could not be renewed yet");
            None
        }
    }
}

/// Logs that a duty changed hands. A duty that no other host can take needs no line.
fn log_change(duty: &Duty, before: &Standing, next: &Standing) {
    match (before, next) {
        (Standing::On { term, .. }, Standing::On { term: next, .. }) if term == next => {}
        (_, Standing::On { until: Some(_), .. }) => {
            tracing::info!(event = "duty_taken", %duty, "this host has taken a duty");
        }
        (Standing::On { .. }, Standing::Off) => {
            tracing::warn!(event = "duty_lost", %duty, "another host has taken a duty");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hosts::pretended::PretendedDuties, store::duties::LEASE_LASTS};

    fn post(duties: &PretendedDuties) -> Post {
        Post::apply(Arc::new(duties.clone()), Duty::Routing)
    }

    #[tokio::test(start_paused = true)]
    async fn asks_for_a_duty_of_another_host_until_it_is_free() {
        let duties = PretendedDuties::elsewhere();
        let post = post(&duties);
        let began = Instant::now();
        duties.until_asked(4).await;
        assert!(began.elapsed() < ASK_EVERY * 4, "{:?}", began.elapsed());
        assert_eq!((post.on_duty().term(), post.on_duty().is_certain()), (None, false));
        duties.lease(7);
        assert_eq!(post.on_duty().taken().await, Term(7));
        assert!(post.on_duty().is_certain() && post.on_duty().is_leased());
    }

    #[tokio::test(start_paused = true)]
    async fn renews_a_lease_long_before_it_is_over() {
        let duties = PretendedDuties::elsewhere();
        duties.lease(7);
        let post = post(&duties);
        post.on_duty().taken().await;
        for _ in 0..10_000 {
            assert!(post.on_duty().is_certain());
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        assert_eq!(post.on_duty().term(), Some(Term(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_duty_that_cannot_be_lost_is_asked_for_once() {
        let duties = PretendedDuties::elsewhere();
        duties.own(7);
        let post = post(&duties);
        post.on_duty().taken().await;
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert!(post.on_duty().is_certain() && !post.on_duty().is_leased());
        assert_eq!(duties.asked(), 1);
        post.leave().await;
        assert_eq!(duties.released(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_a_duty_is_certain_only_as_long_as_its_lease() {
        let duties = PretendedDuties::elsewhere();
        duties.lease(7);
        let post = post(&duties);
        post.on_duty().taken().await;
        duties.fall_silent();
        duties.until_asked(duties.asked() + 1).await;
        tokio::time::sleep(LEASE_LASTS).await;
        let on_duty = post.on_duty();
        assert_eq!((on_duty.term(), on_duty.is_certain()), (Some(Term(7)), false));
        duties.lease(7);
        on_duty.certain().await;
        assert_eq!(on_duty.term(), Some(Term(7)), "nobody else has taken it");
        let of_that_term = on_duty.in_term(Term(7));
        assert!(of_that_term.is_certain());
        duties.lease(8);
        on_duty.lost(Term(7)).await;
        assert_eq!((on_duty.term(), on_duty.is_certain()), (Some(Term(8)), true));
        assert!(!of_that_term.is_certain(), "work of an earlier term does not go on");
    }
}
