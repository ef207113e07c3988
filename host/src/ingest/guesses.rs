//! Wrong tokens and unknown integrations: answers whose time says nothing, and a limit for each address
//! that sends many.
//!
//! A right token is never held up: only what was found to be wrong comes here.

use std::{net::IpAddr, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::refusal::RequestRefusal;
use crate::{host::Host, limits_reached::Limit};

/// Refusals are answered at multiples of this time after their body was read. A call of a plugin takes
/// less; the commit of a record, which may take more, comes before either answer.
const BEAT: Duration = Duration::from_millis(10);

/// Refuses a wrong token, with 429 if its address has sent too many. Its body was read at that time.
pub(super) async fn answer(
    host: &Host,
    sender: Option<IpAddr>,
    read_at: Instant,
    refusal: RequestRefusal,
) -> RequestRefusal {
    let over = sender.and_then(|sender| host.wrong_tokens.check(sender).err().zip(Some(sender)));
    even_out(read_at).await;
    let Some((over, sender)) = over else { return refusal };
    host.metrics.limits.reached(Limit::WrongTokens, sender);
    RequestRefusal::too_many_wrong_tokens(over.retry_after)
}

/// Waits for the next beat, so that the time of an answer does not say what was looked at.
pub(super) async fn even_out(read_at: Instant) {
    let waited = read_at.elapsed().as_millis() / BEAT.as_millis();
    let beats = u32::try_from(waited).unwrap_or(u32::MAX).saturating_add(1);
    sleep_until(read_at + BEAT * beats).await;
}
