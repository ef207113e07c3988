//! Answers to wrong tokens and unknown integrations: at times that reveal nothing, and with a limit for each
//! address.
//!
//! Requests with a correct token never come here, so they never wait.

use std::{net::IpAddr, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::refusal::RequestRefusal;
use crate::{host::Host, limits::reached::Limit};

/// Refusals are answered at multiples of this time after their body was read. A call of a plugin takes less
/// time. A commit may take more, but precedes both kinds of answer.
const BEAT: Duration = Duration::from_millis(10);

/// Refuses a wrong token, with 429 if its address has sent too many. `read_at` is the time at which the body
/// was read.
pub(super) async fn answer(
    host: &Host,
    sender: IpAddr,
    read_at: Instant,
    refusal: RequestRefusal,
) -> RequestRefusal {
    let checked = host.wrong_tokens.check(sender);
    even_out(read_at).await;
    let Err(over) = checked else { return refusal };
    host.metrics.limits.reached(Limit::WrongTokens, sender);
    RequestRefusal::too_many_wrong_tokens(over.retry_after)
}

/// Waits for the next multiple of [`BEAT`], so that the time of an answer does not reveal the checks before
/// it.
pub(super) async fn even_out(read_at: Instant) {
    let waited = read_at.elapsed().as_millis() / BEAT.as_millis();
    let beats = u32::try_from(waited).unwrap_or(u32::MAX).saturating_add(1);
    sleep_until(read_at + BEAT * beats).await;
}
