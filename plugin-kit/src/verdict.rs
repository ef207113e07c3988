//! Verdict on the answer of a server, by its status.
//!
//! A status says whether a later attempt can succeed, another delivery can, or none before an operator has
//! changed something. A server that says more in its body needs a verdict of its own.

use tocsin_plugin_api::step::Step;

/// Returns the verdict on an answer with this status.
///
/// Redirects are not followed, since they could lead into a private network. After 401, 403, 404 and 410,
/// the host parks the destination: a wrong credential or address does not pass by itself.
///
/// ```
/// use tocsin_plugin_api::step::Step;
/// use tocsin_plugin_kit::verdict;
///
/// assert_eq!(verdict::by_status(204), Step::delivered());
/// assert_eq!(verdict::by_status(503), Step::retry("the server failed (503)"));
/// ```
pub fn by_status(status: u16) -> Step {
    match status {
        200..=299 => Step::delivered(),
        300..=399 => Step::destination_broken(format!(
            "the server answers with a redirect ({status}), and redirects are not followed; hint: set the \
             address to which it redirects"
        )),
        401 | 403 => Step::destination_broken(format!(
            "the server refuses the credential ({status}); hint: compare the options for authentication \
             with what the server expects"
        )),
        404 => Step::destination_broken(
            "the server knows no such address (404); hint: correct the address",
        ),
        410 => Step::destination_broken(
            "the address is gone for good (410); hint: correct the address, or remove the destination",
        ),
        408 | 425 | 429 => Step::retry(format!("the server asks to try again later ({status})")),
        500.. => Step::retry(format!("the server failed ({status})")),
        _ => Step::rejected(format!(
            "the server refuses the request ({status}); hint: the recorded answer may say why"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(statuses: &[u16]) -> Vec<&'static str> {
        let name = |status: &u16| match by_status(*status) {
            Step::Delivered { .. } => "delivered",
            Step::Retry { in_doubt: false, after_seconds: None, .. } => "retry",
            Step::Rejected { .. } => "rejected",
            Step::DestinationBroken { .. } => "broken",
            other => panic!("{other:?}"),
        };
        statuses.iter().map(name).collect()
    }

    #[test]
    fn only_failures_that_can_pass_by_themselves_are_retried() {
        assert_eq!(names(&[200, 201, 202, 204, 299]), ["delivered"; 5]);
        assert_eq!(names(&[408, 425, 429, 500, 502, 503, 504, 507, 599]), ["retry"; 9]);
    }

    #[test]
    fn a_wrong_address_or_credential_breaks_the_destination() {
        assert_eq!(names(&[301, 302, 304, 307, 308, 401, 403, 404, 410]), ["broken"; 9]);
    }

    #[test]
    fn a_refused_body_is_a_dead_letter() {
        assert_eq!(names(&[400, 402, 405, 409, 413, 415, 422, 451]), ["rejected"; 8]);
        assert_eq!(names(&[0, 199]), ["rejected"; 2]);
    }
}
