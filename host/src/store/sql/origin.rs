//! Values that all events of a request share, in their stored form.

use std::{borrow::Cow, net::IpAddr, ops::Deref, sync::Arc};

use super::{error::SqlResult, transaction::Transaction};
use crate::{
    alert::{Actor, Event, life::Cause},
    request::{Content, Submission},
};

/// Values that all events of a [`Submission`] share.
pub(in crate::store) struct Origin<'s> {
    pub(in crate::store) submission: &'s Submission,
    pub(in crate::store) integration: i64,
    pub(in crate::store) plugin: Option<i64>,
    pub(in crate::store) cause: Cause,
    pub(in crate::store) request: [u8; 16],
    /// Address of the sender.
    pub(in crate::store) sender: Option<Octets>,
    /// Length of the body.
    pub(in crate::store) size: Option<i64>,
    pub(in crate::store) plugin_us: Option<i64>,
    /// True if the record of the request belongs into the row of the alert that it opens.
    pub(in crate::store) is_folded: bool,
}

impl Transaction<'_> {
    /// Returns what all events of a [`Submission`] share.
    pub(in crate::store) fn origin<'s>(
        &mut self,
        submission: &'s Submission,
    ) -> SqlResult<Origin<'s>> {
        let plugin = submission.plugin.as_ref().map(|plugin| self.plugin(plugin)).transpose()?;
        Ok(Origin {
            submission,
            integration: self.integration(&submission.integration)?,
            plugin,
            cause: cause(submission),
            request: submission.request_id.to_bytes(),
            sender: submission.sender.map(Octets::from),
            size: submission.size_bytes.map(|size| i64::try_from(size).unwrap_or(i64::MAX)),
            plugin_us: submission
                .plugin_time
                .map(|time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX)),
            is_folded: may_be_folded(submission),
        })
    }
}

impl Origin<'_> {
    /// Returns the id by which an event is known, with the place of the event in its request.
    pub(in crate::store) fn event_id<'e>(
        &self,
        event: &'e Event,
        place: usize,
    ) -> Option<Cow<'e, str>> {
        event_id(self.submission, event, place)
    }

    /// Returns the address of the sender as it counts for shares. A subscriber of IPv6 has a /64 at the least.
    pub(super) fn subscriber(&self) -> &[u8] {
        self.sender.as_deref().map_or(&[][..], |octets| &octets[..octets.len().min(8)])
    }
}

/// Returns the id by which an event is known, with the place of the event in its request.
pub(in crate::store) fn event_id<'e>(
    submission: &Submission,
    event: &'e Event,
    place: usize,
) -> Option<Cow<'e, str>> {
    match (&event.event_id, &submission.replayed_by) {
        (Some(id), _) => Some(Cow::Borrowed(id)),
        (None, None) => None,
        // An id of the host's own lets the events of a request apply once, however often it is replayed.
        (None, Some(_)) => Some(Cow::Owned(format!("replay {} {place}", submission.request_id))),
    }
}

/// Returns the [`Cause`] of all changes that the events of a submission make.
pub(in crate::store) fn cause(submission: &Submission) -> Cause {
    let by = match &submission.replayed_by {
        Some(by) => Actor::Replay { by: Box::new(by.clone()) },
        None => Actor::Integration(Arc::clone(&submission.integration)),
    };
    Cause { by, request_id: Some(submission.request_id), at: submission.received_at }
}

/// Returns true if the record of a [`Submission`] would hold nothing that the row of an alert has no place for, as
/// long as the submission opens that alert and nothing else.
pub(in crate::store) fn may_be_folded(submission: &Submission) -> bool {
    let Submission { content, kept, replayed_by, .. } = submission;
    let is_one_event = matches!(
        content,
        Content::Events { events, remark: None, .. } if events.len() == 1
    );
    // Lists of requests that count against a share are made of `requests` alone.
    let has_share = kept.as_ref().is_some_and(|kept| kept.share.is_some());
    is_one_event && replayed_by.is_none() && !has_share
}

/// Stored form of an [`IpAddr`].
pub(in crate::store) enum Octets {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl From<IpAddr> for Octets {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6(address.octets()),
        }
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        }
    }
}
