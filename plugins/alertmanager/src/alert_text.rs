//! Title and description of an alert, from the annotations that the author of the rule wrote.
//!
//! Annotations that are neither title nor description become details: see [`crate::event`].

use tocsin_plugin_api::OptionsError;
use tocsin_plugin_kit::text::{TITLE_LIMIT_CHARS, one_line, several_lines, truncated};

use crate::{labels::Pairs, notification::Alert};

/// Label with the name of the rule.
pub(crate) const ALERTNAME: &str = "alertname";
/// Label with the name of the monitored target.
const INSTANCE: &str = "instance";

/// Names of the annotations for each part of [`AlertText`], in order of preference.
pub(crate) struct TextSources {
    title: Vec<String>,
    description: Vec<String>,
}

/// Title and description of an [`Alert`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AlertText<'a> {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    /// Names of the annotations that title and description show in full.
    shown: [Option<&'a str>; 2],
}

impl AlertText<'_> {
    /// Returns whether title or description shows all of an annotation.
    pub(crate) fn shows_in_full(&self, annotation: &str) -> bool {
        self.shown.contains(&Some(annotation))
    }
}

impl TextSources {
    /// Takes the options `title_annotations` and `description_annotations`.
    ///
    /// # Errors
    ///
    /// If a name is empty.
    pub(crate) fn new(title: Vec<String>, description: Vec<String>) -> Result<Self, OptionsError> {
        refuse_empty("title_annotations", &title)?;
        refuse_empty("description_annotations", &description)?;
        Ok(Self { title, description })
    }

    /// Returns title and description of an alert.
    pub(crate) fn text(&self, alert: &Alert<'_>) -> AlertText<'_> {
        let (name, whole_title) = match first(&self.title, &alert.annotations, one_line) {
            Some((name, title)) => (Some(name), title),
            None => (None, title_of_labels(alert)),
        };
        let title = truncated(&whole_title, TITLE_LIMIT_CHARS).to_owned();
        let title_from = name.filter(|_| title.len() == whole_title.len());
        let description = first(&self.description, &alert.annotations, several_lines);
        let (description_from, description) = description.unzip();
        AlertText { title, description, shown: [title_from, description_from] }
    }
}

/// Returns the first of several annotations whose cleaned text is not blank, with that text.
fn first<'a>(
    names: &'a [String],
    annotations: &Pairs<'_>,
    clean: fn(&str) -> Option<String>,
) -> Option<(&'a str, String)> {
    names.iter().find_map(|name| Some((name.as_str(), clean(annotations.get(name)?)?)))
}

fn title_of_labels(alert: &Alert<'_>) -> String {
    let label = |name: &str| one_line(alert.labels.get(name)?);
    match (label(ALERTNAME), label(INSTANCE)) {
        (Some(name), Some(instance)) => format!("{name} on {instance}"),
        (Some(name), None) => name,
        (None, _) => match one_line(&alert.key) {
            Some(key) => format!("alert {key}"),
            None => "alert".into(),
        },
    }
}

fn refuse_empty(option: &str, names: &[String]) -> Result<(), OptionsError> {
    match names.iter().position(String::is_empty) {
        None => Ok(()),
        Some(index) => Err(OptionsError::at(
            format!("{option}[{index}]"),
            "empty\nhint: remove it; no annotation has an empty name",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::Status;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs<'static> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string().into())).collect()
    }

    fn alert(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Alert<'static> {
        Alert {
            status: Status::Firing,
            key: "c0ffee".into(),
            labels: pairs(labels),
            annotations: pairs(annotations),
            started: None,
            generator_url: None,
        }
    }

    fn sources() -> TextSources {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        TextSources::new(names(&["headline", "summary"]), names(&["description", "message"]))
            .expect("names of annotations")
    }

    fn title(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> String {
        sources().text(&alert(labels, annotations)).title
    }

    #[test]
    fn the_first_annotation_that_is_not_blank_makes_the_text() {
        let annotations = [("headline", " \n"), ("summary", "db1\n is  down"), ("message", "m")];
        let alert = alert(&[], &annotations);
        let sources = sources();
        let text = sources.text(&alert);
        assert_eq!(text.title, "db1 is down");
        assert_eq!(text.description.as_deref(), Some("m"));
        assert!(
            text.shows_in_full("summary")
                && text.shows_in_full("message")
                && !text.shows_in_full("headline")
        );
    }

    #[test]
    fn without_an_annotation_the_labels_make_the_title() {
        let labels = [("alertname", "DiskFull"), ("instance", "db1:9100")];
        assert_eq!(title(&labels, &[("description", "d")]), "DiskFull on db1:9100");
        assert_eq!(title(&labels[..1], &[("summary", "\0")]), "DiskFull");
        assert_eq!(title(&labels[1..], &[]), "alert c0ffee");
        assert_eq!(title(&[("alertname", " \u{202E} ")], &[]), "alert c0ffee");
    }

    #[test]
    fn an_annotation_that_is_cut_is_not_shown_in_full() {
        let alert = alert(&[], &[("summary", &"x".repeat(1025))]);
        let sources = sources();
        let text = sources.text(&alert);
        assert_eq!(text.title, "x".repeat(1024));
        assert!(!text.shows_in_full("summary"));
    }

    #[test]
    fn a_long_title_made_of_labels_is_cut() {
        assert_eq!(title(&[("alertname", &"é".repeat(2000))], &[]), "é".repeat(1024));
    }

    #[test]
    fn annotations_of_invisible_characters_are_blank() {
        for invisible in ["\u{2800}", "\u{70F}", "\u{13430}", "\u{13441}", "\u{16FE4}"] {
            let annotations = [("headline", invisible), ("summary", "db1 is down")];
            assert_eq!(title(&[], &annotations), "db1 is down", "{invisible:?}");
        }
    }

    #[test]
    fn a_blank_annotation_is_no_description() {
        assert_eq!(sources().text(&alert(&[], &[("description", "\r\n")])).description, None);
    }

    #[test]
    fn an_empty_name_of_an_annotation_is_refused() {
        let error = |title: &[&str], description: &[&str]| {
            let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            TextSources::new(names(title), names(description)).err().expect("refused").path
        };
        assert_eq!(error(&["a", ""], &[]), "title_annotations[1]");
        assert_eq!(error(&[], &[""]), "description_annotations[0]");
        assert!(TextSources::new(Vec::new(), Vec::new()).is_ok());
    }
}
