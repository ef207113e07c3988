//! Template of the reply that confirms an alert in the channel (option `reply`).
//!
//! A reply shows nothing of the message that is not in the event, and never begins with a trigger
//! word, which would raise the next alert. Mentions in filled-in values are defused: see
//! [`crate::reply_text`].

use std::borrow::Cow;

use serde_json::json;
use tocsin_plugin_api::{Event, OptionsError, Reply};
use tocsin_plugin_kit::text::is_blank;

use crate::{
    alert::label,
    fields::{Field, Fields},
    product::Product,
    reply_text::{ReplyText, Source},
};

/// Text with placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReplyTemplate(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Text of the operator, never empty.
    Text(String),
    Title,
    Urgency,
    /// Value of the detail with this label.
    Detail(&'static str),
}

impl ReplyTemplate {
    /// Parses the option `reply`.
    ///
    /// # Errors
    ///
    /// If the template is blank, or has an unknown placeholder or a single brace.
    pub(crate) fn parse(template: &str) -> Result<Self, OptionsError> {
        if is_blank(template) {
            return Err(refused("empty\nhint: remove it to post nothing"));
        }
        let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), template);
        while let Some((before, from_brace)) = split_at_brace(rest) {
            text += before;
            rest = if let Some(after) = from_brace.strip_prefix("{{") {
                text.push('{');
                after
            } else if let Some(after) = from_brace.strip_prefix("}}") {
                text.push('}');
                after
            } else {
                let placeholder = from_brace.strip_prefix('{').and_then(|it| it.split_once('}'));
                let Some((name, after)) = placeholder else {
                    return Err(refused(
                        "has a single brace\nhint: write `{{` or `}}` for a brace in the text",
                    ));
                };
                push_text(&mut parts, &mut text);
                parts.push(Part::placeholder(name)?);
                after
            };
        }
        text += rest;
        push_text(&mut parts, &mut text);
        Ok(Self(parts))
    }

    /// Refuses a template if all of its replies would begin with a trigger word.
    ///
    /// # Errors
    ///
    /// If the template begins with one of the words, or with `{trigger}`.
    pub(crate) fn refuse_to_begin_with(&self, words: &[String]) -> Result<(), OptionsError> {
        let begins_with = |what: String| {
            Err(refused(format!(
                "begins with {what}, so every reply would raise the next alert\n\
                 hint: begin with another word"
            )))
        };
        let is_space = |part: &&Part| matches!(part, Part::Text(text) if text.trim().is_empty());
        match self.0.iter().find(|part| !is_space(part)) {
            Some(Part::Detail(label::TRIGGER)) => begins_with("`{trigger}`".into()),
            Some(Part::Text(text)) => match words.iter().find(|word| begins(text, word)) {
                Some(word) => begins_with(format!("the trigger word `{word}`")),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Returns the reply to a message. There is none if the reply would be blank or begin with a
    /// trigger word: that of the message, or one of `trigger_words`.
    pub(crate) fn reply(
        &self,
        product: Product,
        event: &Event,
        fields: &Fields<'_>,
        trigger_words: &[String],
    ) -> Option<Reply> {
        // Slack would resolve a control form in a value, such as `<!channel>`.
        let escape = if product.is_raw() { Cow::Borrowed } else { escaped };
        let mut reply = ReplyText::default();
        for part in &self.0 {
            let (source, text) = part.filled_in(event, escape);
            reply.push(source, &text);
        }
        let (filled_in, text) = (reply.as_str(), reply.defused(product));
        let sent = fields.get(Field::TriggerWord);
        let words = trigger_words.iter().map(String::as_str).chain(sent);
        let mut spellings = words.flat_map(|word| [word.into(), escaped(word)]);
        if is_blank(&text) || spellings.any(|word| begins(filled_in, &word) || begins(&text, &word))
        {
            return None;
        }
        Some(Reply::json(&json!({ "text": text })))
    }
}

impl Part {
    fn placeholder(name: &str) -> Result<Self, OptionsError> {
        match name {
            "title" => Ok(Self::Title),
            "urgency" => Ok(Self::Urgency),
            "channel" => Ok(Self::Detail(label::CHANNEL)),
            "user" => Ok(Self::Detail(label::USER)),
            "trigger" => Ok(Self::Detail(label::TRIGGER)),
            _ => Err(refused(format!(
                "`{{{name}}}` is not a placeholder\n\
                 hint: placeholders are `{{title}}`, `{{urgency}}`, `{{channel}}`, `{{user}}` and \
                 `{{trigger}}`; write `{{{{` for a brace in the text"
            ))),
        }
    }

    /// Returns the text for the part, and the source of that text.
    fn filled_in<'a>(
        &'a self,
        event: &'a Event,
        escape: impl Fn(&'a str) -> Cow<'a, str>,
    ) -> (Source, Cow<'a, str>) {
        match self {
            Self::Text(text) => (Source::Template, text.into()),
            Self::Title => (Source::Message, escape(&event.title)),
            // The value is one of five known words, so it is as safe as the template.
            Self::Urgency => {
                let urgency = event.urgency.map_or("default", |urgency| urgency.as_str());
                (Source::Template, urgency.into())
            }
            Self::Detail(label) => {
                let detail = event.details.iter().find(|detail| detail.label == *label);
                let is_author = *label == label::USER;
                let source = if is_author { Source::Author } else { Source::Message };
                (source, escape(detail.map_or("", |detail| &detail.value)))
            }
        }
    }
}

fn refused(message: impl Into<String>) -> OptionsError {
    OptionsError::at("reply", message)
}

fn split_at_brace(text: &str) -> Option<(&str, &str)> {
    text.find(['{', '}']).and_then(|at| text.split_at_checked(at))
}

fn push_text(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

/// Returns whether a text begins with a word. White space before the word and the case of ASCII
/// letters make no difference: products treat both differently, and a missing reply is better than
/// a loop.
fn begins(text: &str, word: &str) -> bool {
    let start = text.trim_start().get(..word.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Escapes the characters that begin a control form or an entity in Slack's
/// [markup](crate::markup).
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>']) {
        return text.into();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into()
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::Urgency;

    use super::*;
    use crate::form;

    fn parse(template: &str) -> ReplyTemplate {
        ReplyTemplate::parse(template).expect("a template")
    }

    fn parse_error(template: &str) -> String {
        ReplyTemplate::parse(template).expect_err("refused").to_string()
    }

    fn beginning_error(template: &str, words: &[&str]) -> Option<String> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        parse(template).refuse_to_begin_with(&words).err().map(|error| error.to_string())
    }

    /// Returns the text of the reply to a message with the title `<!here> db1`.
    fn text(template: &str, form: &str, words: &[&str]) -> Option<String> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        let event = Event::create("<!here> db1")
            .urgency(Urgency::High)
            .detail("Trigger", "outage")
            .detail("Channel", "ops")
            .detail("User", "bob");
        let fields = form::read(form.as_bytes());
        let reply = parse(template).reply(Product::of(&fields), &event, &fields, &words)?;
        assert_eq!(reply.content_type, "application/json");
        let body: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1));
        body["text"].as_str().map(str::to_owned)
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        let template = "#{channel}: {urgency} alert of {user} ({trigger}): {title}";
        let expected = "#ops: high alert of bob (outage): &lt;!here&gt; db1";
        assert_eq!(text(template, "", &[]).as_deref(), Some(expected));
    }

    #[test]
    fn missing_values_are_empty_and_a_missing_urgency_is_default() {
        let reply = parse("{urgency}:{user}:{channel}:{trigger}.");
        let reply = reply.reply(Product::Slack, &Event::create("t"), &Fields::default(), &[]);
        let reply = reply.expect("a reply");
        assert_eq!(reply.body, r#"{"text":"default:::."}"#);
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(parse("a {{x}} }}{{"), ReplyTemplate(vec![Part::Text("a {x} }{".into())]));
        assert_eq!(
            parse("{{{title}}}"),
            ReplyTemplate(vec![Part::Text("{".into()), Part::Title, Part::Text("}".into())])
        );
    }

    #[test]
    fn values_are_escaped_for_slack_alone_and_the_template_never() {
        let template = "<!here> & {title}";
        assert_eq!(text(template, "", &[]).as_deref(), Some("<!here> & &lt;!here&gt; db1"));
        for raw in ["post_id=p", "message_id=m", "timestamp=1700000100"] {
            let raw = text(template, raw, &[]);
            assert_eq!(raw.as_deref(), Some("<!here> & <!here> db1"));
        }
    }

    #[test]
    fn mentions_in_values_notify_nobody_and_those_in_the_template_do() {
        let event = Event::create("@all <!here>").detail("User", "bob").detail("Trigger", "@here");
        let text = |template: &str, product| {
            let fields = Fields::default();
            let reply = parse(template).reply(product, &event, &fields, &[]).expect("a reply");
            let body: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
            body["text"].as_str().expect("a text").to_owned()
        };
        let template = "@channel, @{user}: {title} {trigger}";
        for product in [Product::Mattermost, Product::Zulip, Product::RocketChat] {
            let expected = "@channel, @bob: @\u{200B}all <!here> @\u{200B}here";
            assert_eq!(text(template, product), expected, "{product:?}");
        }
        let expected = "@channel, @bob: @all &lt;!here&gt; @here";
        assert_eq!(text(template, Product::Slack), expected);
        assert_eq!(text("<!{user}> @{urgency}", Product::Slack), "&lt;!bob> @default");
        assert_eq!(text("x @{urgency}", Product::Zulip), "x @default");
    }

    #[test]
    fn a_trigger_word_that_is_a_mention_prevents_a_reply() {
        let event = Event::create("@pager db1");
        let words = ["@pager".to_owned()];
        let fields = Fields::default();
        let reply = parse("{title}").reply(Product::Mattermost, &event, &fields, &words);
        assert_eq!(reply, None);
    }

    #[test]
    fn an_unknown_placeholder_is_refused() {
        assert_eq!(
            parse_error("alert {severity}"),
            "`reply`: `{severity}` is not a placeholder\n\
             hint: placeholders are `{title}`, `{urgency}`, `{channel}`, `{user}` and `{trigger}`; write \
             `{{` for a brace in the text"
        );
        assert!(parse_error("{}").starts_with("`reply`: `{}` is not a placeholder"));
        assert!(parse_error("{ title }").starts_with("`reply`: `{ title }` is not a placeholder"));
    }

    #[test]
    fn a_single_brace_is_refused() {
        for template in ["{", "}", "a {title", "a } b", "{title}}", "{{title}"] {
            assert_eq!(
                parse_error(template),
                "`reply`: has a single brace\n\
                 hint: write `{{` or `}}` for a brace in the text",
                "{template}"
            );
        }
    }

    #[test]
    fn an_empty_template_is_refused() {
        for template in ["", " \n", "\u{2800}"] {
            assert_eq!(parse_error(template), "`reply`: empty\nhint: remove it to post nothing");
        }
    }

    #[test]
    fn a_template_may_not_begin_with_a_trigger_word() {
        assert_eq!(
            beginning_error(" Outage noted", &["page", "outage"]).as_deref(),
            Some(
                "`reply`: begins with the trigger word `outage`, so every reply would raise the \
                 next alert\nhint: begin with another word"
            )
        );
        assert_eq!(
            beginning_error(" {trigger} noted", &[]).as_deref(),
            Some(
                "`reply`: begins with `{trigger}`, so every reply would raise the next \
                 alert\nhint: begin with another word"
            )
        );
        assert_eq!(beginning_error("noted: outage {trigger}", &["outage"]), None);
        assert_eq!(beginning_error("{title} noted", &["outage"]), None);
    }

    #[test]
    fn there_is_no_reply_that_begins_with_a_trigger_word() {
        assert_eq!(text("noted", "trigger_word=note", &[]), None);
        assert_eq!(text("noted", "", &["NOTE"]), None);
        assert_eq!(text(" {user}!", "trigger_word=bob", &[]), None);
        assert_eq!(text("{title}", "trigger_word=%3C!here%3E", &[]), None);
        assert_eq!(text("{title}", "post_id=p", &["<!here>"]), None);
        assert_eq!(text("noted", "trigger_word=db1", &["page"]).as_deref(), Some("noted"));
    }

    #[test]
    fn there_is_no_blank_reply() {
        for title in ["", " ", "\u{2800}", "\u{200B}\u{3164}"] {
            let event = Event::create(title);
            let template = parse("{user} {trigger}{title}");
            assert_eq!(template.reply(Product::Zulip, &event, &Fields::default(), &[]), None);
        }
    }
}
