//! Labels and annotations of an alert.

use std::{borrow::Cow, collections::BTreeMap};

use tocsin_plugin_kit::json::{self, JsonError, Object};

/// Labels or annotations by their names. No value is empty: to Prometheus, an empty label is the
/// same as none.
pub(crate) type Pairs<'a> = BTreeMap<String, Cow<'a, str>>;

/// Label of the alerts that this plugin sends to Alertmanager, with the id of the Tocsin alert, or of
/// the delivery of a digest.
pub(crate) const SENT: &str = "tocsin_alert";

/// Reads the labels or annotations under a key of an alert as [`Pairs`]. If a name comes twice, the
/// last value counts.
pub(crate) fn pairs<'a>(alert: &Object<'a>, key: &str) -> Result<Pairs<'a>, JsonError> {
    let Some(object) = alert.object(key)? else { return Ok(Pairs::new()) };
    let mut raw: BTreeMap<_, _> = object.members().collect();
    raw.retain(|_, value| value.get() != "null");
    let mut pairs = Pairs::new();
    for (name, value) in raw {
        let text = json::string(value).map_err(|error| error.at_key(name).at_key(key))?;
        if !text.is_empty() {
            pairs.insert(name.to_owned(), text);
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(json: &str) -> Result<Vec<(String, String)>, String> {
        let alert = Object::from_body(json.as_bytes()).expect("an object");
        let pairs = pairs(&alert, "labels").map_err(|error| error.to_string())?;
        Ok(pairs.into_iter().map(|(name, value)| (name, value.into_owned())).collect())
    }

    #[test]
    fn empty_values_and_null_are_left_out() {
        assert_eq!(labels(r#"{"labels": {"a": "", "b": null, "c": "x"}}"#), Ok(pair("c", "x")));
        assert_eq!(labels(r#"{"labels": null}"#), Ok(vec![]));
        assert_eq!(labels("{}"), Ok(vec![]));
    }

    #[test]
    fn the_last_value_of_a_repeated_name_counts() {
        assert_eq!(labels(r#"{"labels": {"a": "1", "a": "2"}}"#), Ok(pair("a", "2")));
        assert_eq!(labels(r#"{"labels": {"a": 1, "\u0061": "2"}}"#), Ok(pair("a", "2")));
    }

    #[test]
    fn a_value_that_is_no_string_is_an_error_with_its_path() {
        let error = "`labels.a`: expected a string, found a number";
        assert_eq!(labels(r#"{"labels": {"a": 1}}"#), Err(error.into()));
    }

    fn pair(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.into(), value.into())]
    }
}
