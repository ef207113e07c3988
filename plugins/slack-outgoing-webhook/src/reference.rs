//! References in raw text: mentions, names of channels and targets of links, as people type them.
//!
//! Slack marks references up instead: see [`crate::markup`]. URLs have a scheme in every product:
//! see [`crate::words`].

use crate::{product::Product, word_boundary::word_len};

/// Returns whether a reference of this product may begin with a character.
pub(crate) fn is_sigil(product: Product, character: char) -> bool {
    match product {
        Product::Slack => false,
        Product::Mattermost => matches!(character, '@' | '~' | ']'),
        Product::Zulip | Product::RocketChat => matches!(character, '@' | '#' | ']'),
    }
}

/// Returns the length in bytes of the reference at the beginning of `text`, if there is one.
/// `before` is the character before `text`.
pub(crate) fn reference_len(product: Product, before: Option<char>, text: &str) -> Option<usize> {
    if text.starts_with(']') {
        return link_target_len(text);
    }
    match product {
        Product::Slack => None,
        Product::Mattermost | Product::RocketChat => named_len(before, text),
        Product::Zulip => starred_len(text),
    }
}

/// Measures `@bob`, `~town-square` or `#general`. Neither the `@` of an address (`bob@example.com`)
/// nor the `~` of `~~struck out~~` begins a reference.
fn named_len(before: Option<char>, text: &str) -> Option<usize> {
    let sigil = text.chars().next()?;
    let is_inside = match before {
        Some('~' | '#') => before == Some(sigil),
        Some(before) => before.is_alphanumeric(),
        None => false,
    };
    let name = word_len(&text[sigil.len_utf8()..]);
    (!is_inside && name > 0).then_some(sigil.len_utf8() + name)
}

/// Measures `@**Othello**`, `@**Othello|12**`, `@*group*` or `#**channel>topic**`. With a `_` after
/// the sigil, a mention notifies nobody.
fn starred_len(text: &str) -> Option<usize> {
    let after_sigil = text.get(1..)?;
    let opened = after_sigil.strip_prefix('_').unwrap_or(after_sigil);
    let stars = if opened.starts_with("**") { "**" } else { "*" };
    let name = opened.strip_prefix(stars)?;
    let end = name.find(['*', '\n']).filter(|end| *end > 0)?;
    let closed = name[end..].strip_prefix(stars)?;
    Some(text.len() - closed.len())
}

/// Measures the target in `[label](target)`, from the bracket that closes the label.
fn link_target_len(text: &str) -> Option<usize> {
    let target = text.strip_prefix("](")?;
    let mut open = 1_usize;
    for (at, character) in target.char_indices() {
        match character {
            // The next label or line begins. Stopping here keeps the time linear.
            ']' | '\n' => return None,
            '(' => open += 1,
            ')' if open == 1 => return Some(text.len() - target.len() + at + 1),
            ')' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the first reference in a text.
    fn first(product: Product, text: &str) -> Option<&str> {
        text.char_indices().find_map(|(at, character)| {
            let rest = &text[at..];
            let before = text[..at].chars().next_back();
            let len = reference_len(product, before, rest);
            len.filter(|_| is_sigil(product, character)).map(|len| &rest[..len])
        })
    }

    #[track_caller]
    fn assert_reference(product: Product, text: &str, reference: &str) {
        assert_eq!(first(product, text), Some(reference), "{product:?} {text}");
    }

    #[track_caller]
    fn assert_none(product: Product, texts: &[&str]) {
        for text in texts {
            assert_eq!(first(product, text), None, "{product:?} {text}");
        }
    }

    #[test]
    fn an_at_sign_begins_the_name_of_a_user_or_group() {
        for product in [Product::Mattermost, Product::RocketChat] {
            for (text, reference) in [
                ("@high", "@high"),
                ("(@high)", "@high"),
                ("cc @high-priority.team: x", "@high-priority.team"),
                ("@high.", "@high"),
                ("@high対応", "@high"),
                ("緊急 @low", "@low"),
                ("_@low_", "@low_"),
                ("@@low", "@low"),
                ("@Élodie", "@Élodie"),
            ] {
                assert_reference(product, text, reference);
            }
            assert_none(product, &["bob@high", "bob@high.example", "@ high", "@", "é@low", "@*a*"]);
        }
    }

    #[test]
    fn each_product_has_its_own_sigil_for_channels() {
        assert_reference(Product::Mattermost, "see ~high-cpu now", "~high-cpu");
        assert_reference(Product::RocketChat, "see #high-cpu now", "#high-cpu");
        assert_none(Product::Mattermost, &["#high", "~~high~~", "~", "~ high", "a~high", "~/high"]);
        assert_none(Product::RocketChat, &["~high", "## high", "##high", "# high", "a#high"]);
        assert_none(Product::Zulip, &["~high", "#high"]);
    }

    #[test]
    fn references_of_zulip_are_between_stars() {
        for reference in [
            "@**Critical Alerts**",
            "@**Critical Alerts|12**",
            "@**|12**",
            "@**all**",
            "@_**Low Ops**",
            "@*high team*",
            "@_*high team*",
            "#**high priority**",
            "#**high priority>critical path**",
            "#**high priority>critical path@12**",
        ] {
            assert_reference(Product::Zulip, reference, reference);
            assert_reference(Product::Zulip, &format!("x{reference}low"), reference);
        }
        assert_none(
            Product::Zulip,
            &[
                "@high", "**high**", "@**high", "@**high*", "@****", "@**", "@*a\nb*", "@ **a**",
                "@_",
            ],
        );
    }

    #[test]
    fn the_target_of_a_link_is_a_reference_and_the_label_is_not() {
        for product in [Product::Mattermost, Product::Zulip, Product::RocketChat] {
            assert_reference(product, "[low](/critical) x", "](/critical)");
            assert_reference(product, "[a](b (c) d)e)", "](b (c) d)");
            assert_none(product, &["[low] (high)", "[a](b", "[a](b\n)", "[a](b]", "]"]);
        }
    }

    #[test]
    fn visible_text_of_slack_has_no_references() {
        assert_none(Product::Slack, &["@high", "#high", "~high", "@**high**", "[a](b)"]);
    }
}
