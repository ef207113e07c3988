//! Title and description, from the annotations that a rule's author wrote.
//!
//! Annotations that make neither are not lost: `event.rs` shows them as details.

use tocsin_plugin_api::OptionsError;

use crate::{
    notification::{Alert, Pairs},
    text,
};

/// The label that names the rule.
pub(crate) const ALERTNAME: &str = "alertname";
/// The label that names what is watched.
const INSTANCE: &str = "instance";

/// Which annotations make which text.
pub(crate) struct Wording {
    title: Vec<String>,
    description: Vec<String>,
}

/// The texts of an alert, and the annotations that are told in full by them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Words<'a> {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    told: [Option<&'a str>; 2],
}

impl Words<'_> {
    /// Whether nothing of that annotation is missing from title and description.
    pub(crate) fn tell(&self, annotation: &str) -> bool {
        self.told.contains(&Some(annotation))
    }
}

impl Wording {
    /// From the options `title_annotations` and `description_annotations`.
    pub(crate) fn new(title: Vec<String>, description: Vec<String>) -> Result<Self, OptionsError> {
        refuse_empty("title_annotations", &title)?;
        refuse_empty("description_annotations", &description)?;
        Ok(Self { title, description })
    }

    /// The texts of an alert.
    pub(crate) fn of(&self, alert: &Alert<'_>) -> Words<'_> {
        let (title, title_from) = match first(&self.title, &alert.annotations, text::on_one_line) {
            Some((name, title)) => match text::cut_title(title) {
                (title, true) => (title, None),
                (title, false) => (title, Some(name)),
            },
            None => (text::cut_title(title_of_labels(alert)).0, None),
        };
        let description = first(&self.description, &alert.annotations, text::on_many_lines);
        let (description_from, description) = description.unzip();
        Words { title, description, told: [title_from, description_from] }
    }
}

/// The first of several annotations in which there is something to see, as `shown` shows it.
fn first<'a>(
    names: &'a [String],
    annotations: &Pairs<'_>,
    shown: fn(&str) -> Option<String>,
) -> Option<(&'a str, String)> {
    names.iter().find_map(|name| Some((name.as_str(), shown(annotations.get(name)?)?)))
}

fn title_of_labels(alert: &Alert<'_>) -> String {
    let label = |name: &str| text::on_one_line(alert.labels.get(name)?);
    match (label(ALERTNAME), label(INSTANCE)) {
        (Some(name), Some(instance)) => format!("{name} on {instance}"),
        (Some(name), None) => name,
        (None, _) => match text::on_one_line(&alert.key) {
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
            "empty\nhint: remove it; it would name no annotation",
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

    fn wording() -> Wording {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Wording::new(names(&["headline", "summary"]), names(&["description", "message"]))
            .expect("names of annotations")
    }

    fn title(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> String {
        wording().of(&alert(labels, annotations)).title
    }

    #[test]
    fn the_first_annotation_that_says_something_makes_the_text() {
        let annotations = [("headline", " \n"), ("summary", "db1\n is  down"), ("message", "m")];
        let alert = alert(&[], &annotations);
        let wording = wording();
        let words = wording.of(&alert);
        assert_eq!(words.title, "db1 is down");
        assert_eq!(words.description.as_deref(), Some("m"));
        assert!(words.tell("summary") && words.tell("message") && !words.tell("headline"));
    }

    #[test]
    fn without_such_an_annotation_the_labels_make_the_title() {
        let labels = [("alertname", "DiskFull"), ("instance", "db1:9100")];
        assert_eq!(title(&labels, &[("description", "d")]), "DiskFull on db1:9100");
        assert_eq!(title(&labels[..1], &[("summary", "\0")]), "DiskFull");
        assert_eq!(title(&labels[1..], &[]), "alert c0ffee");
        assert_eq!(title(&[("alertname", " \u{202E} ")], &[]), "alert c0ffee");
    }

    #[test]
    fn an_annotation_that_is_cut_is_not_told_in_full() {
        let alert = alert(&[], &[("summary", &"x".repeat(1025))]);
        let wording = wording();
        let words = wording.of(&alert);
        assert_eq!(words.title, "x".repeat(1024));
        assert!(!words.tell("summary"));
    }

    #[test]
    fn a_title_made_of_labels_is_cut_too() {
        assert_eq!(title(&[("alertname", &"é".repeat(2000))], &[]), "é".repeat(1024));
    }

    #[test]
    fn nothing_to_say_is_no_description() {
        assert_eq!(wording().of(&alert(&[], &[("description", "\r\n")])).description, None);
    }

    #[test]
    fn an_annotation_without_a_name_is_an_error() {
        let error = |title: &[&str], description: &[&str]| {
            let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            Wording::new(names(title), names(description)).err().expect("refused").path
        };
        assert_eq!(error(&["a", ""], &[]), "title_annotations[1]");
        assert_eq!(error(&[], &[""]), "description_annotations[0]");
        assert!(Wording::new(Vec::new(), Vec::new()).is_ok());
    }
}
