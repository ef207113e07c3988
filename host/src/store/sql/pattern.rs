//! Patterns of `LIKE`.

/// Returns the pattern for texts that contain a text. `\` escapes in it.
pub(in crate::store) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
