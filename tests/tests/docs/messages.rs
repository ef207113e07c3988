//! Comparison of the troubleshooting page with the messages in the sources.

use std::collections::BTreeSet;

use regex::Regex;

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

#[test]
fn every_event_of_the_log_is_explained() {
    let sources = sources::joined(&sources::read(&["host/src"]));
    let event = Regex::new(r#"\bevent = "([a-z0-9_]+)""#).expect("a pattern");
    let events: BTreeSet<_> =
        event.captures_iter(&sources).map(|found| found[1].to_owned()).collect();

    let page = Page::read("docs/operator/troubleshooting.md");
    let (_, chapter) = page.text.split_once("## Log lines\n").expect("its chapter");
    let rows = chapter.lines().filter(|line| line.starts_with("| `") && !line.contains("---"));
    let explained = rows.skip(1).filter_map(|row| row.split('|').nth(1)).flat_map(code_spans);
    assert_eq!(explained.collect::<BTreeSet<_>>(), events, "the page first");
}
