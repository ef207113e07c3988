//! A destination in force, as its dispatcher uses it.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tocsin_plugin_api::notification::Notification;

use super::{
    attempt::{self, AskNotifier, Ended, Line, SendRequest},
    clock::Clock,
    kinds::Links,
    schedule::Schedule,
};
use crate::{hosts::post::OnDuty, redaction::Redactor};

/// A destination in force, as its dispatcher uses it.
pub(super) struct Target {
    /// The notifier.
    pub notifier: Box<dyn AskNotifier>,
    /// The way of its requests.
    pub sender: Box<dyn SendRequest>,
    /// The secrets among its options.
    pub redactor: Redactor,
    /// Shortest time between two attempts.
    pub pause: Duration,
    /// Most attempts at the same time.
    pub parallel: NonZeroUsize,
    /// Digest of everything that decides if an attempt can succeed.
    pub settings_digest: String,
    /// Waiting times between the attempts of a delivery.
    pub schedule: Schedule,
    /// Addresses in notifications.
    pub links: Links,
}

impl Target {
    /// Makes one attempt, see [`attempt::attempt`].
    pub(super) async fn attempt(
        &self,
        notification: &Notification,
        has_sent: &AtomicBool,
        clock: &Clock,
        on_duty: &OnDuty,
    ) -> Ended {
        let line = Line {
            notifier: &*self.notifier,
            sender: &*self.sender,
            redactor: &self.redactor,
            clock,
            on_duty,
        };
        attempt::attempt(&line, notification, has_sent).await
    }
}

/// A [`Target`], or none while the destination is removed, disabled or broken.
pub(super) type CurrentTarget = Option<Arc<Target>>;
