//! Suggestions for misspelt names: "did you mean `enabled`?"

/// Returns a question that suggests the most similar of the known names, or `None` if none is similar enough
/// to be meant.
pub(crate) fn did_you_mean<'n>(
    written: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<String> {
    nearest(written, known).map(|name| format!("did you mean `{name}`?"))
}

/// Returns the known names after an introduction such as `the known routes are`, and before them the one that
/// was probably meant.
pub(crate) fn known_names(written: &str, introduction: &str, known: &[&str]) -> String {
    let list = format!("{introduction} `{}`", known.join("`, `"));
    match (did_you_mean(written, known.iter().copied()), known) {
        (Some(meant), [_]) => meant,
        (Some(meant), _) => format!("{meant} {list}"),
        (None, _) => list,
    }
}

/// Returns a question as [`did_you_mean`] does, for serde's message about an unknown name, such as ``unknown
/// field `lisen`, expected `listen` or `dir` ``.
pub(crate) fn suggestion(message: &str) -> Option<String> {
    let (unknown, expected) = message.strip_prefix("unknown ")?.split_once(", expected ")?;
    let written = unknown.split('`').nth(1)?;
    did_you_mean(written, expected.split('`').skip(1).step_by(2))
}

/// Returns the most similar of the known names, or `None` if none is similar enough to be meant.
pub(crate) fn nearest<'n>(
    written: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let written = plain(written);
    let judged =
        known.into_iter().filter_map(|name| Some((distance(&written, &plain(name))?, name)));
    judged.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Shortest beginning of a name by which the whole name is recognised.
const SHORTEST_PREFIX: usize = 4;

/// Returns the number of typing mistakes between two names, or `None` if there are too many.
fn distance(written: &str, known: &str) -> Option<usize> {
    let (mistakes, length) =
        (strsim::osa_distance(written, known), written.chars().count().max(known.chars().count()));
    let is_prefix = written.len() >= SHORTEST_PREFIX && known.starts_with(written)
        || known.len() >= SHORTEST_PREFIX && written.starts_with(known);
    // A name that was cut short counts as one mistake.
    let mistakes = if is_prefix { mistakes.min(1) } else { mistakes };
    (mistakes <= length.max(3) / 3).then_some(mistakes)
}

/// Returns a name without the differences that nobody means: capitals, and the kind of dash.
fn plain(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_name_that_was_probably_meant() {
        let known = ["listen", "public_url", "body_limit_bytes", "body_timeout", "enabled"];
        for (written, meant) in [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("public-url", Some("public_url")),
            ("body_limit", Some("body_limit_bytes")),
            ("body_timeuot", Some("body_timeout")),
            ("enabeld", Some("enabled")),
            ("token", None),
            ("", None),
            ("l", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
        let message = "unknown field `lisen`, expected one of `dir`, `listen`";
        assert_eq!(suggestion(message).as_deref(), Some("did you mean `listen`?"));
        assert_eq!(suggestion("unknown variant, expected `a`"), None);
        let names = |written: &str, known: &[&str]| known_names(written, "there are", known);
        assert_eq!(names("ops", &["ops-a", "b"]), "there are `ops-a`, `b`");
        assert_eq!(
            names("prod", &["prod-a", "b"]),
            "did you mean `prod-a`? there are `prod-a`, `b`"
        );
        assert_eq!(names("prod", &["prod-a"]), "did you mean `prod-a`?");
        assert_eq!(did_you_mean("lisen", known).as_deref(), Some("did you mean `listen`?"));
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn suggests_no_word_for_one_of_another_length() {
        for (written, known) in [("all", "some"), ("slack", "server"), ("urgent", "high")] {
            assert_eq!(nearest(written, [known]), None, "{written}");
        }
    }
}
