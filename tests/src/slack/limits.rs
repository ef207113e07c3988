//! Limits of a message, as Slack documents them.
//!
//! Blocks: <https://docs.slack.dev/reference/block-kit/blocks>. Attachments:
//! <https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments>. Metadata:
//! <https://docs.slack.dev/messaging/message-metadata>. The limit of all blocks together is not documented;
//! its value is from <https://github.com/slackapi/bolt-js/issues/2509>.

use serde_json::Value;

const BLOCKS: usize = 50;
const ATTACHMENTS: usize = 100;
const TEXT: usize = 40_000;
const ALL_BLOCKS: usize = 13_200;

/// Checks a message, and returns the name of the error with which Slack refuses it.
pub(super) fn check(message: &Value) -> Result<(), &'static str> {
    let text = message["text"].as_str().unwrap_or_default();
    let attachments = list(message, "attachments").ok_or("invalid_attachments")?;
    let blocks = list(message, "blocks").ok_or("invalid_blocks_format")?;
    if text.trim().is_empty() && attachments.is_empty() && blocks.is_empty() {
        return Err("no_text");
    }
    if text.chars().count() > TEXT {
        return Err("msg_too_long");
    }
    if attachments.len() > ATTACHMENTS {
        return Err("too_many_attachments");
    }
    check_blocks(blocks).ok_or("invalid_blocks")?;
    attachments.iter().try_for_each(|it| check_attachment(it).ok_or("invalid_attachments"))?;
    let all = [blocks].into_iter().chain(attachments.iter().filter_map(|it| list(it, "blocks")));
    if all.flatten().map(|block| block.to_string().chars().count()).sum::<usize>() > ALL_BLOCKS {
        return Err("msg_blocks_too_long");
    }
    check_metadata(message.get("metadata")).ok_or("invalid_metadata_format")
}

/// Returns a list, which is empty if the key is missing; `None` if the value is no list.
fn list<'a>(message: &'a Value, key: &str) -> Option<&'a [Value]> {
    message.get(key).map_or(Some(&[]), |value| value.as_array().map(Vec::as_slice))
}

fn check_attachment(attachment: &Value) -> Option<()> {
    let keys = attachment.as_object()?.keys();
    if attachment.get("blocks").is_some() {
        // Beside blocks, no key of the old format is allowed.
        let mut others =
            keys.filter(|key| !["blocks", "color", "fallback"].contains(&key.as_str()));
        let blocks = attachment["blocks"].as_array().filter(|blocks| !blocks.is_empty())?;
        (others.next().is_none()).then_some(())?;
        check_blocks(blocks)?;
    }
    let color = attachment.get("color").map_or(Some("good"), Value::as_str)?;
    let is_name = ["good", "warning", "danger"].contains(&color);
    let digits = color.strip_prefix('#').unwrap_or_default();
    let is_number = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_name || is_number).then_some(())
}

fn check_blocks(blocks: &[Value]) -> Option<()> {
    (blocks.len() <= BLOCKS).then_some(())?;
    blocks.iter().try_for_each(check_block)
}

fn check_block(block: &Value) -> Option<()> {
    match block["type"].as_str()? {
        "divider" => Some(()),
        "header" => {
            (block["text"]["type"] == "plain_text").then_some(())?;
            check_text(&block["text"], 150)
        }
        "section" => {
            let fields = block.get("fields");
            if let Some(text) = block.get("text") {
                check_text(text, 3000)?;
            } else {
                fields?;
            }
            check_texts(fields, 10, 2000)
        }
        "context" => {
            block.get("elements")?;
            check_texts(block.get("elements"), 10, 3000)
        }
        _ => None,
    }
}

fn check_texts(texts: Option<&Value>, most: usize, longest: usize) -> Option<()> {
    let Some(texts) = texts else { return Some(()) };
    let texts = texts.as_array().filter(|texts| (1..=most).contains(&texts.len()))?;
    texts.iter().try_for_each(|text| check_text(text, longest))
}

fn check_text(text: &Value, longest: usize) -> Option<()> {
    let kind = text["type"].as_str()?;
    ["plain_text", "mrkdwn"].contains(&kind).then_some(())?;
    let length = text["text"].as_str()?.encode_utf16().count();
    (1..=longest).contains(&length).then_some(())
}

fn check_metadata(metadata: Option<&Value>) -> Option<()> {
    let Some(metadata) = metadata else { return Some(()) };
    let kind = metadata["event_type"].as_str().filter(|kind| !kind.is_empty())?;
    let payload = metadata["event_payload"].as_object()?;
    let is_flat = payload.values().all(|value| !value.is_null());
    let is_name = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_flat && is_name).then_some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Value {
        json!({"type": "mrkdwn", "text": text})
    }

    fn in_attachment(blocks: impl Into<Value>) -> Value {
        let blocks = blocks.into();
        json!({"attachments": [{"color": "#d32f2f", "fallback": "f", "blocks": blocks}]})
    }

    fn section(characters: usize) -> Value {
        json!({"type": "section", "text": text(&"x".repeat(characters))})
    }

    #[test]
    fn messages_at_the_limits_pass() {
        let header =
            json!({"type": "header", "text": {"type": "plain_text", "text": "x".repeat(150)}});
        let fields = vec![text("x"); 10];
        let blocks = json!([
            header,
            section(3000),
            {"type": "section", "fields": fields},
            {"type": "context", "elements": [text("x")]},
            {"type": "divider"},
        ]);
        assert_eq!(check(&in_attachment(blocks.clone())), Ok(()));
        assert_eq!(check(&json!({"blocks": blocks})), Ok(()));
        assert_eq!(check(&in_attachment(vec![section(1); 50])), Ok(()));
        assert_eq!(check(&json!({"text": "x"})), Ok(()));
        let metadata = json!({"event_type": "tocsin_alert", "event_payload": {"a": "b", "c": 1}});
        assert_eq!(check(&json!({"text": "x", "metadata": metadata})), Ok(()));
    }

    #[test]
    fn messages_beyond_a_limit_are_refused_by_name() {
        let header =
            json!({"type": "header", "text": {"type": "plain_text", "text": "x".repeat(151)}});
        let markup = json!({"type": "header", "text": text("x")});
        let fields = json!({"type": "section", "fields": vec![text("x"); 11]});
        for block in [header, markup, fields, section(3001), section(0), json!({"type": "video"})] {
            assert_eq!(
                check(&in_attachment(json!([block]))),
                Err("invalid_attachments"),
                "{block}"
            );
            assert_eq!(check(&json!({"blocks": [block]})), Err("invalid_blocks"), "{block}");
        }
        let blocks = vec![section(1); 51];
        assert_eq!(check(&in_attachment(blocks)), Err("invalid_attachments"));
        let long = in_attachment(vec![section(2900); 5]);
        assert_eq!(check(&long), Err("msg_blocks_too_long"));
        let many = json!({"attachments": vec![json!({"text": "x"}); 101]});
        assert_eq!(check(&many), Err("too_many_attachments"));
        assert_eq!(check(&json!({"text": "x".repeat(40_001)})), Err("msg_too_long"));
        assert_eq!(check(&json!({"text": " "})), Err("no_text"));
    }

    #[test]
    fn old_keys_beside_blocks_and_wrong_metadata_are_refused() {
        for key in ["text", "title", "fields", "footer", "ts", "mrkdwn_in"] {
            let mut message = in_attachment(json!([section(1)]));
            message["attachments"][0][key] = "x".into();
            assert_eq!(check(&message), Err("invalid_attachments"), "{key}");
        }
        let red = json!({"attachments": [{"color": "red", "text": "x"}]});
        assert_eq!(check(&red), Err("invalid_attachments"));
        for metadata in
            [json!({}), json!({"event_type": "a"}), json!({"event_type": "", "event_payload": {}})]
        {
            let message = json!({"text": "x", "metadata": metadata});
            assert_eq!(check(&message), Err("invalid_metadata_format"));
        }
    }
}
