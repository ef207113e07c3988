//! Set-up that the tests of every store share.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tocsin_plugin_api::{Event, Urgency};
use ulid::Ulid;

use super::{
    Store,
    request::{Content, Submission},
};
use crate::alert::PluginId;

/// Place of a store's data, where the store can be opened, closed and opened again.
pub(super) trait StoreFixture {
    /// Opens the store.
    fn open(&self) -> Arc<dyn Store>;
}

/// Returns a submission of events as a sender's request makes it.
pub(super) fn submission(integration: &str, events: Vec<Event>) -> Submission {
    let now = Timestamp::now().as_millisecond();
    Submission {
        request_id: Ulid::generate(),
        received_at: Timestamp::from_millisecond(now).unwrap(),
        integration: integration.into(),
        plugin: Some(Arc::new(PluginId { name: "test".into(), version: "1.0.0".into() })),
        sender: Some([192, 0, 2, 1].into()),
        size_bytes: Some(4),
        plugin_time: Some(Duration::from_micros(17)),
        content: Content::Events { events, terms: Urgency::Medium.into(), remark: None },
        kept: None,
        replayed_by: None,
    }
}
