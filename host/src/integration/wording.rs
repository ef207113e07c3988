//! An integration's own words for the title and the description of what its plugin found.
//!
//! A template that gives nothing good costs nobody an alert: the plugin's own text stays.

use std::time::{Duration, Instant};

use tocsin_plugin_api::{Action, Event};

use super::Integration;
use crate::{
    alert::PluginId,
    events::{LONGEST_TEXT, LONGEST_TITLE},
    template::{RenderError, Template, TemplateContext},
};

/// What the templates of one request may take together; the events after that keep their own text.
const LONGEST: Duration = Duration::from_millis(200);

impl Integration {
    /// Has the templates word the events that open alerts. What went wrong with them is one sentence.
    pub fn word(&self, events: &mut [Event]) -> Option<String> {
        let section = &self.settings.section;
        if section.title.is_none() && section.description.is_none() {
            return None;
        }
        let (plugin, started) = (self.plugin()?, Instant::now());
        let mut remark = None;
        for event in events.iter_mut().filter(|event| event.action == Action::Create) {
            if started.elapsed() > LONGEST {
                remark.get_or_insert_with(|| {
                    format!("the templates took longer than {LONGEST:?} for all events together")
                });
                break;
            }
            let worded = self.words_for(event, plugin);
            for (part, text) in [("title", worded.0), ("description", worded.1)] {
                match text {
                    None => {}
                    Some(Ok(text)) if part == "title" => event.title = text,
                    Some(Ok(text)) => event.description = Some(text),
                    Some(Err(error)) => {
                        self.metrics.template_errors.inc();
                        remark.get_or_insert_with(|| {
                            format!(
                                "the {part} is the plugin's own, since its template failed: {error}"
                            )
                        });
                    }
                }
            }
        }
        if let Some(remark) = &remark
            && let Some(left_out) = self.rates.lines.admit("template", Instant::now())
        {
            tracing::warn!(
                event = "template_failed",
                integration = &*self.name,
                remark,
                left_out,
                "a template gave nothing",
            );
        }
        remark
    }

    fn words_for(&self, event: &Event, plugin: &PluginId) -> (Worded, Worded) {
        let section = &self.settings.section;
        let urgency = event.urgency.unwrap_or(self.urgency);
        let context = TemplateContext::new(event, urgency, &self.name, plugin);
        let title = |template: &Template| template.title(&context, LONGEST_TITLE);
        let text = |template: &Template| template.description(&context, LONGEST_TEXT);
        (section.title.as_ref().map(title), section.description.as_ref().map(text))
    }
}

/// What a template gave, if there is one.
type Worded = Option<Result<String, RenderError>>;
