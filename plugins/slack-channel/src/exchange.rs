//! Requests and answers of one attempt, in order.
//!
//! A notifier is asked again after each answer. The code of a way to the channel therefore runs from the
//! beginning each time: [`Exchange::send`] returns the answer that is already there, or ends the run with
//! the request.

use tocsin_plugin_api::{
    notification::Notification,
    step::{HttpAnswer, HttpRequest, MOST_REQUESTS, Step},
};

/// End of a run: the next [`Step`].
pub(crate) type End = Box<Step>;

/// [Answers](HttpAnswer) of one attempt.
pub(crate) struct Exchange<'a> {
    answers: &'a [HttpAnswer],
    taken: usize,
    /// True as long as the channel may have a message that this run does not know of.
    in_doubt: bool,
    /// True if the channel has a message that the host does not know of yet.
    unsaved: bool,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(notification: &Notification, answers: &'a [HttpAnswer]) -> Self {
        Self { answers, taken: 0, in_doubt: notification.in_doubt, unsaved: false }
    }

    /// Returns the answer to a request.
    ///
    /// # Errors
    ///
    /// The step that sends the request, if the request was not sent yet.
    pub(crate) fn send(&mut self, request: HttpRequest) -> Result<&'a HttpAnswer, End> {
        match self.answers.get(self.taken) {
            Some(answer) => {
                self.taken += 1;
                Ok(answer)
            }
            None if self.taken < MOST_REQUESTS => Err(Box::new(Step::send(request))),
            None => Err(Box::new(Step::retry("the attempt needs more requests than it may send"))),
        }
    }

    /// Returns true as long as the channel may have a message of this delivery that is not known.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Records that the channel has no unknown message of this delivery.
    pub(crate) fn doubt_resolved(&mut self) {
        self.in_doubt = false;
    }

    /// Records that the channel has a message that the host does not know of yet. If the attempt fails, the
    /// next one has to look for it.
    pub(crate) fn unsaved(&mut self) {
        self.unsaved = true;
    }

    /// Returns the step of a run. A retry keeps the doubt that this attempt could not resolve.
    pub(crate) fn step(self, ended: Result<Step, End>) -> Step {
        match ended.unwrap_or_else(|end| *end) {
            Step::Retry { reason, after_seconds, in_doubt } => {
                let in_doubt = in_doubt || self.in_doubt || self.unsaved;
                Step::Retry { reason, after_seconds, in_doubt }
            }
            step => step,
        }
    }
}
