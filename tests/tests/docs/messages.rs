//! Comparison of the troubleshooting page with the messages in the sources.

use crate::{
    markdown::{Page, code_spans},
    sources,
};

#[test]
fn every_message_that_is_explained_is_in_the_sources() {
    let sources = sources::joined(&sources::read(&["host/src", "plugin-api/src"]));
    let page = Page::read("docs/operator/troubleshooting.md");
    let mut count = 0;
    for row in page.rows() {
        for message in code_spans(&row[0]) {
            count += 1;
            for part in message.split('…') {
                let is_there = sources.contains(part.trim());
                assert!(is_there, "no message of the program has `{part}`: {row:?}");
            }
        }
    }
    assert!(count > 90, "the page explains {count} messages");
}
