//! The TOML of a configuration file: all of its errors, and both places of a key or a table that is written
//! twice.

use std::ops::Range;

use toml::{Spanned, de::DeTable};

use super::{ConfigError, ConfigErrors, Document, document::find_key, parse_error::parse_error};

/// Parses a text.
///
/// # Errors
///
/// The first error of every line: the parser often stumbles again over the rest of a line.
pub(super) fn parse<'t>(
    document: &Document,
    text: &'t str,
) -> Result<Spanned<DeTable<'t>>, ConfigErrors> {
    let (root, found) = DeTable::parse_recoverable(text);
    let mut errors: Vec<ConfigError> = Vec::new();
    for error in &found {
        let error = duplicate(document, error).unwrap_or_else(|| parse_error(document, error));
        if errors.iter().all(|known| known.line != error.line) {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(root) } else { Err(ConfigErrors(errors)) }
}

/// Returns the error of a key or a table that is written twice, with the line of the first. `None` if the
/// error is another one, or the first place cannot be told.
fn duplicate(document: &Document, error: &toml::de::Error) -> Option<ConfigError> {
    let second = error.span().filter(|_| error.message().starts_with("duplicate key"))?;
    let (key, first) = first_place(&document.text, &second)?;
    let line = line_of(&document.text, first.start);
    let parts: Vec<_> = key.iter().map(String::as_str).collect();
    let header = document.text[..second.start].lines().next_back().unwrap_or_default();
    let (message, hint) = if header.trim_start().starts_with('[') {
        (
            format!("the table is written twice, first in line {line}"),
            format!("move the keys below the header in line {line}, and remove this header"),
        )
    } else {
        (
            format!("the key is written twice, first in line {line}"),
            format!("keep one of the two, in line {line} or here"),
        )
    };
    Some(document.error_with_key(second, &parts, message).hint(hint))
}

/// Finds the first of two equal keys, of which the parser names only the second: gives the second another
/// name, so that both are in the tree.
fn first_place(text: &str, second: &Range<usize>) -> Option<(Vec<String>, Range<usize>)> {
    let names = ('a'..='z').map(|letter| letter.to_string().repeat(second.len()));
    for name in names {
        let renamed = [&text[..second.start], &name, &text[second.end..]].concat();
        let (root, errors) = DeTable::parse_recoverable(&renamed);
        let still_twice = errors.iter().any(|error| error.span().as_ref() == Some(second));
        if still_twice {
            continue;
        }
        let mut path = Vec::new();
        find_key(root.get_ref(), second, &mut path);
        *path.last_mut()? = written_name(&text[second.clone()]);
        let first = place_of(root.get_ref(), &path)?;
        return (first.start < second.start).then_some((path, first));
    }
    None
}

/// Returns the name that a key in quotes or without quotes stands for.
fn written_name(key: &str) -> String {
    key.trim_matches(['"', '\'']).to_owned()
}

/// Returns the place of a key's name, through tables only.
fn place_of(root: &DeTable<'_>, path: &[String]) -> Option<Range<usize>> {
    let (last, tables) = path.split_last()?;
    let mut table = root;
    for name in tables {
        let (name, place) = super::document::split_places(name);
        let mut value = table.get(name)?.get_ref();
        for place in place {
            value = value.as_array()?.get(place)?.get_ref();
        }
        table = value.as_table()?;
    }
    Some(table.get_key_value(last.as_str())?.0.span())
}

fn line_of(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn errors(text: &str) -> String {
        let document = Document::new(Path::new("tocsin.toml"), text.into());
        parse(&document, text).expect_err("it is broken").to_string()
    }

    #[test]
    fn names_both_places_of_a_key_or_a_table_that_is_written_twice() {
        for (text, first_line, key) in [
            ("[server]\nlisten = 'a'\nlisten = 'b'\n", 2, "server.listen"),
            ("[server]\n\n[server]\n", 1, "server"),
            ("[integrations.a]\n[integrations.b]\n[integrations.'a']\n", 1, "integrations.a"),
            ("a = 1\n[s]\na = 1\n'a' = 2\n", 3, "s.a"),
            ("s = { a = 1, a = 2 }\n", 1, "s.a"),
            ("[[routes]]\nto = []\n[[routes]]\nto = []\nto = []\n", 4, "routes[1].to"),
        ] {
            let errors = errors(text);
            let first = errors.lines().next().unwrap_or_default();
            let what = format!("`{key}`: the ");
            assert!(first.contains(&what), "{text}{errors}");
            let place = format!("is written twice, first in line {first_line}");
            assert!(first.ends_with(&place), "{text}{errors}");
        }
    }

    #[test]
    fn reports_the_errors_of_all_lines() {
        let errors = errors("[server]\nlisten = 127.0.0.1:8080\n[log]\nlevel = info\n");
        let places: Vec<_> =
            errors.lines().filter(|line| line.starts_with("tocsin.toml:")).collect();
        assert_eq!(places.len(), 2, "{errors}");
        assert!(places[0].starts_with("tocsin.toml:2:15: "), "{errors}");
        assert!(places[1].starts_with("tocsin.toml:4:9: "), "{errors}");
    }
}
