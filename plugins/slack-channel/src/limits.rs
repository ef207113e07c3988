//! Limits of a message.
//!
//! Slack documents the limits of blocks at <https://docs.slack.dev/reference/block-kit/blocks>. It documents
//! no limit for all blocks together and refuses about 13,200 characters with `msg_blocks_too_long`
//! (<https://github.com/slackapi/bolt-js/issues/2509>).
//!
//! Lengths are counted in UTF-16 code units, the largest of the usual counts of characters. Sizes are those
//! of JSON whose other than ASCII characters are escaped (`\u00e9`), the longest form of a message.

use serde_json::Value;

/// Most blocks of a message.
pub(crate) const BLOCKS: usize = 50;

/// Longest text of a section.
pub(crate) const SECTION: usize = 3000;

/// Longest text of a header.
pub(crate) const HEADER: usize = 150;

/// Most fields of a section.
pub(crate) const FIELDS: usize = 10;

/// Longest text of a field. Slack allows 2,000; a longer value is unreadable in half a column.
pub(crate) const FIELD: usize = 600;

/// Largest size of an attachment. A request stays below 12,000 with the parts around the attachment:
/// channel, text with mentions, metadata.
const ATTACHMENT_BYTES: usize = 10_000;

/// Returns the size of JSON.
pub(crate) fn size(json: &Value) -> usize {
    // JSON has no control characters outside of escapes.
    json.to_string().chars().map(plain_size).sum()
}

/// Returns the [`size`] of a character inside a JSON string.
pub(crate) fn character_size(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => plain_size(character),
    }
}

fn plain_size(character: char) -> usize {
    if character.is_ascii() { 1 } else { 6 * character.len_utf16() }
}

/// Part of [`ATTACHMENT_BYTES`] that is still free.
pub(crate) struct Room(usize);

impl Room {
    /// The room that the fixed parts of an attachment leave.
    pub(crate) fn beside(fixed: &Value) -> Self {
        Self(ATTACHMENT_BYTES.saturating_sub(size(fixed)))
    }

    /// Returns the free size.
    pub(crate) fn bytes(&self) -> usize {
        self.0
    }

    /// Takes the size of a part, if there is room for it.
    pub(crate) fn take(&mut self, part: &Value) -> bool {
        // A comma or a line separates the part from its neighbour.
        let left = self.0.checked_sub(size(part) + 2);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_those_of_escaped_json() {
        assert_eq!(size(&json!({"a": "b"})), r#"{"a":"b"}"#.len());
        assert_eq!(size(&json!("é🔥")), r#""\u00e9\ud83d\udd25""#.len());
        for character in ['\0', '\n', '"', '\\', '\u{7f}', 'a', 'é', '🔥', '\u{2028}'] {
            assert_eq!(size(&json!(character.to_string())), character_size(character) + 2);
        }
    }

    #[test]
    fn a_part_without_room_takes_none() {
        let mut room = Room(10);
        assert!(!room.take(&json!("1234567")));
        assert!(room.take(&json!("123456")));
        assert_eq!(room.bytes(), 0);
    }
}
