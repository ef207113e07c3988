//! Verdict on an answer by its status.
//!
//! [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
//! asks a sender to retry after every answer other than 2xx, and to stop at 410. This plugin retries what
//! can pass by itself. A wrong credential or address does not: the host parks the destination then, loses
//! nothing, and tells an operator at once instead of after three days.

use tocsin_plugin_api::step::Step;

/// Returns the verdict on an answer with this status.
pub(crate) fn of(status: u16) -> Step {
    match status {
        200..=299 => Step::delivered(),
        300..=399 => Step::destination_broken(format!(
            "the endpoint answers with a redirect ({status}), and redirects are not followed; hint: set \
             the address to which it redirects"
        )),
        401 | 403 => Step::destination_broken(format!(
            "the endpoint refuses the credential or the signature ({status}); hint: compare `bearer`, \
             `basic`, `secrets` and `secret_headers` with what the endpoint expects"
        )),
        404 => {
            Step::destination_broken("the endpoint does not exist (404); hint: correct the address")
        }
        410 => Step::destination_broken(
            "the endpoint is gone for good (410); hint: correct the address, or remove the destination",
        ),
        408 | 425 | 429 => Step::retry(format!("the endpoint asks to try again later ({status})")),
        508 => Step::rejected(
            "the receiver refuses news that has passed through too many Tocsin hosts (508); hint: hosts \
             notify each other in a loop, take one of them out of the other's routes",
        ),
        500.. => Step::retry(format!("the endpoint failed ({status})")),
        _ => Step::rejected(format!(
            "the endpoint refuses the request ({status}); the recorded answer may say why"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(statuses: &[u16]) -> Vec<&'static str> {
        let name = |status: &u16| match of(*status) {
            Step::Delivered { .. } => "delivered",
            Step::Retry { in_doubt: false, after_seconds: None, .. } => "retry",
            Step::Rejected { .. } => "rejected",
            Step::DestinationBroken { .. } => "broken",
            other => panic!("{other:?}"),
        };
        statuses.iter().map(name).collect()
    }

    #[test]
    fn only_what_can_pass_by_itself_is_retried() {
        assert_eq!(names(&[200, 201, 202, 204, 299]), ["delivered"; 5]);
        assert_eq!(names(&[408, 425, 429, 500, 502, 503, 504, 507, 599]), ["retry"; 9]);
    }

    #[test]
    fn a_wrong_address_or_credential_breaks_the_destination() {
        assert_eq!(names(&[301, 302, 304, 307, 308, 401, 403, 404, 410]), ["broken"; 9]);
    }

    #[test]
    fn a_refused_body_and_a_loop_are_dead_letters() {
        assert_eq!(names(&[400, 402, 405, 409, 413, 415, 422, 451, 508]), ["rejected"; 9]);
        assert_eq!(names(&[0, 199]), ["rejected"; 2]);
    }
}
