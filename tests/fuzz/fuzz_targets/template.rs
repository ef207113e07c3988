//! Any text as a template is refused or rendered without a panic, and a rendered text is not longer
//! than its limit. libFuzzer's `-timeout` limits the time.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tocsin::{
    alert::PluginId,
    template::{Template, TemplateContext},
};
use tocsin_plugin_api::{Event, Urgency};

const LONGEST_TITLE: usize = 1024;
const LONGEST_TEXT: usize = 64 * 1024;

static USUAL: LazyLock<TemplateContext> = LazyLock::new(|| {
    context(
        &Event::create("db1 is down")
            .description("outage: db1 is down\nsince 10:00")
            .link("https://example.com/1")
            .dedup_key("db1")
            .detail("User", "steve")
            .detail("Channel", "ops"),
    )
});

/// An event with the longest title, description and labels that a host keeps.
static LONGEST: LazyLock<TemplateContext> = LazyLock::new(|| {
    let labels = (0..100).map(|number| format!("{}{number:02}", "x".repeat(1022)));
    let event = Event::create("t".repeat(LONGEST_TITLE)).description("é".repeat(LONGEST_TEXT));
    context(&labels.fold(event, |event, label| event.detail(label, "v")))
});

fn context(event: &Event) -> TemplateContext {
    let plugin = PluginId { name: "slack-outgoing-webhook".into(), version: "1.2.3".into() };
    TemplateContext::new(&event.clone().into(), Urgency::High, "ops-slack", &plugin)
}

fuzz_target!(|source: &str| {
    let template = match Template::parse(source) {
        Ok(template) => template,
        Err(error) => return is_a_line(&error.to_string()),
    };
    for context in [&*USUAL, &*LONGEST] {
        match template.title(context, LONGEST_TITLE) {
            Ok(title) => is_a_line(&title),
            Err(error) => is_a_line(&error.to_string()),
        }
        match template.description(context, LONGEST_TEXT) {
            Ok(text) => assert!((1..=LONGEST_TEXT).contains(&text.chars().count())),
            Err(error) => is_a_line(&error.to_string()),
        }
    }
});

fn is_a_line(said: &str) {
    assert!(
        (1..=LONGEST_TITLE).contains(&said.chars().count()) && !said.contains('\n'),
        "{said:?}"
    );
}
