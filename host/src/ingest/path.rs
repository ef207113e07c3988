//! The path of a webhook: `/in/{integration}`, with or without a slash at the end.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Returns the name of the integration in a path, without percent-encoding. It may be unknown.
///
/// Returns none for any other path, and for a name that is not UTF-8.
pub(super) fn integration_name(path: &str) -> Option<Cow<'_, str>> {
    let rest = path.strip_prefix("/in/")?;
    let name = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || name.contains('/') {
        return None;
    }
    percent_decode_str(name).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_part_after_in_decoded_once() {
        let names = [
            ("/in/ops", "ops"),
            ("/in/ops/", "ops"),
            ("/in/o%70s", "ops"),
            ("/in/%C3%A9/", "é"),
            ("/in/a%2Fb", "a/b"),
            ("/in/%2570", "%70"),
            ("/in/100%", "100%"),
            ("/in/in", "in"),
            ("/in//", ""),
        ];
        for (path, name) in names {
            assert_eq!(integration_name(path).as_deref(), Some(name), "{path}");
        }
    }

    #[test]
    fn other_paths_name_no_integration() {
        for path in ["", "*", "/", "/in", "/in/", "/IN/ops", "//in/ops", "/in//ops"] {
            assert_eq!(integration_name(path), None, "{path}");
        }
        for path in ["/in/ops//", "/in/ops/more", "/in/ops/more/", "/in/%FF", "/%69n/ops"] {
            assert_eq!(integration_name(path), None, "{path}");
        }
    }
}
