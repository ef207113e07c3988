//! Texts of shared statements, as PostgreSQL understands them.

/// Returns a shared statement with `$1` for `?1`, and without the hints for SQLite's planner: `INDEXED BY name`,
/// and `+` before a column. No text of a shared statement has these characters in a string.
pub(super) fn translated(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(place) = rest.find(['?', '+', 'I']) {
        let (before, found) = rest.split_at(place);
        text.push_str(before);
        let (mark, after) = found.split_at(1);
        rest = after;
        let is_before_name = after.starts_with(|c: char| c.is_ascii_lowercase());
        match mark {
            "?" => text.push('$'),
            "+" if is_before_name => {}
            "I" => match after.strip_prefix("NDEXED BY ") {
                Some(index) => {
                    rest = index.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                }
                None => text.push_str(mark),
            },
            other => text.push_str(other),
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn parameters_are_renamed_and_hints_left_out() {
        for (sql, expected) in [
            (
                "SELECT a FROM t INDEXED BY t_a WHERE a = ?1 AND +t.b = ?12 ORDER BY a + ?2",
                "SELECT a FROM t  WHERE a = $1 AND t.b = $12 ORDER BY a + $2",
            ),
            ("UPDATE t INDEXED BY t_a SET a = a + 1", "UPDATE t  SET a = a + 1"),
            ("INSERT INTO t VALUES (?1)", "INSERT INTO t VALUES ($1)"),
        ] {
            assert_eq!(translated(sql), expected);
        }
    }
}
