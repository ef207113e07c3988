//! Link from an alert to the message that raised it.
//!
//! Only messages of Slack have a link, because the other products do not send the address of their
//! server. If a field has unexpected characters, the alert has no link. The characters are not
//! escaped, because the fields of genuine messages have none.

use crate::{
    fields::{Field, Fields},
    product::Product,
};

/// Returns the permanent link to a message of [`Product::Slack`].
pub(crate) fn permalink(product: Product, fields: &Fields<'_>) -> Option<String> {
    if product != Product::Slack {
        return None;
    }
    let team = fields.get(Field::TeamDomain).filter(|team| is_subdomain(team))?;
    let channel = fields.get(Field::ChannelId).filter(|channel| is_alphanumeric(channel))?;
    let (seconds, micros) = timestamp(fields.get(Field::Timestamp)?)?;
    let mut link = format!("https://{team}.slack.com/archives/{channel}/p{seconds}{micros}");
    if let Some((seconds, micros)) = fields.get(Field::ThreadTs).and_then(timestamp) {
        link += &format!("?thread_ts={seconds}.{micros}&cid={channel}");
    }
    Some(link)
}

/// Splits a timestamp of Slack into seconds and microseconds. The timestamp is also the id of the
/// message, so both parts keep all of their digits.
fn timestamp(text: &str) -> Option<(&str, &str)> {
    let (seconds, micros) = text.split_once('.')?;
    (is_number(seconds) && is_number(micros) && micros.len() == 6).then_some((seconds, micros))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_subdomain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form;

    const MESSAGE: &str = "team_domain=my-team&channel_id=C1&timestamp=1355517523.000005";

    fn link(form: &str) -> Option<String> {
        let fields = form::read(form.as_bytes());
        permalink(Product::of(&fields), &fields)
    }

    #[test]
    fn a_message_of_slack_has_a_link() {
        let expected = "https://my-team.slack.com/archives/C1/p1355517523000005";
        assert_eq!(link(MESSAGE).as_deref(), Some(expected));
        assert_eq!(link(&format!("{MESSAGE}&post_id=")).as_deref(), Some(expected));
    }

    #[test]
    fn the_link_to_a_reply_names_its_thread() {
        let expected = "https://my-team.slack.com/archives/C1/p1355517523000005\
                        ?thread_ts=1355517000.000100&cid=C1";
        let threaded = format!("{MESSAGE}&thread_ts=1355517000.000100");
        assert_eq!(link(&threaded).as_deref(), Some(expected));
        for other in ["", "1355517000", "1.000100%26x"] {
            assert_eq!(link(&format!("{MESSAGE}&thread_ts={other}")), link(MESSAGE), "{other}");
        }
    }

    #[test]
    fn messages_of_other_products_have_no_link() {
        assert_eq!(link(&format!("{MESSAGE}&post_id=p")), None);
        assert_eq!(link(&format!("{MESSAGE}&message_id=m")), None);
        assert_eq!(link("team_domain=chat.example.com&channel_id=C1&timestamp=1.000005"), None);
        assert_eq!(link("team_domain=team&channel_id=C1&timestamp=1532078950"), None);
    }

    #[test]
    fn fields_with_unexpected_characters_make_no_link() {
        for odd in [
            "team_domain=a%2F&channel_id=C1&timestamp=1.000005",
            "team_domain=evil.example%23&channel_id=C1&timestamp=1.000005",
            "team_domain=%C3%A9&channel_id=C1&timestamp=1.000005",
            "team_domain=team&channel_id=C1%2F..&timestamp=1.000005",
            "team_domain=team&channel_id=&timestamp=1.000005",
            "channel_id=C1&timestamp=1.000005",
            "team_domain=team&channel_id=C1",
        ] {
            assert_eq!(link(odd), None, "{odd}");
        }
        for timestamp in ["1.00000", "1.0000005", ".000005", "1.", "1.00000a", "-1.000005", "1.2.3"]
        {
            let form = format!("team_domain=team&channel_id=C1&timestamp={timestamp}");
            assert_eq!(link(&form), None, "{timestamp}");
        }
    }
}
