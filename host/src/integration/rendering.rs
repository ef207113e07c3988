//! Applies an integration's templates for title and description to the events of its plugin.
//!
//! If a template fails, the alert still opens, with the plugin's own text.

use std::time::{Duration, Instant};

use tocsin_plugin_api::Action;

use super::Integration;
use crate::{
    alert::{Event, PluginId},
    events::{LONGEST_TEXT, LONGEST_TITLE},
    template::{RenderError, Template, TemplateContext},
};

/// The time that the templates of one request may take together. The remaining events keep their own
/// text.
const RENDERING_BUDGET: Duration = Duration::from_millis(200);

impl Integration {
    /// Applies the [`Template`]s to the events that open alerts. Returns one sentence about the first
    /// template that failed.
    pub(crate) fn apply_templates(&self, events: &mut [Event]) -> Option<String> {
        let section = &self.settings.section;
        if section.title.is_none() && section.description.is_none() {
            return None;
        }
        let (plugin, started) = (self.plugin()?, Instant::now());
        let mut remark = None;
        for event in events.iter_mut().filter(|event| event.action == Action::Create) {
            if started.elapsed() > RENDERING_BUDGET {
                remark.get_or_insert_with(|| {
                    format!("the templates took longer than {RENDERING_BUDGET:?} for all events together")
                });
                break;
            }
            let rendered = self.render(event, plugin);
            for (part, text) in [("title", rendered.0), ("description", rendered.1)] {
                match text {
                    None => {}
                    Some(Ok(text)) if part == "title" => event.title = text,
                    Some(Ok(text)) => event.description = Some(text),
                    Some(Err(error)) => {
                        self.metrics.template_errors.inc();
                        remark.get_or_insert_with(|| {
                            format!(
                                "the plugin's own {part} is used, since its template failed: \
                                 {error}"
                            )
                        });
                    }
                }
            }
        }
        if let Some(remark) = &remark
            && let Some(left_out) = self.role.rates.lines.admit("template", Instant::now())
        {
            tracing::warn!(
                event = "template_failed",
                integration = &*self.name,
                remark,
                left_out,
                "a template failed",
            );
        }
        remark
    }

    fn render(&self, event: &Event, plugin: &PluginId) -> (Rendered, Rendered) {
        let section = &self.settings.section;
        let urgency = event.urgency.unwrap_or(section.urgency);
        let context = TemplateContext::new(event, urgency, &self.name, plugin);
        let title = |template: &Template| template.title(&context, LONGEST_TITLE);
        let text = |template: &Template| template.description(&context, LONGEST_TEXT);
        (section.title.as_ref().map(title), section.description.as_ref().map(text))
    }
}

/// The result of a [`Template`], if there is one.
type Rendered = Option<Result<String, RenderError>>;
