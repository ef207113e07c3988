//! Parameters of a page: its length and its cursor.

use std::str::FromStr;

use crate::http::error::ApiError;

const DEFAULT_LIMIT: usize = 50;
const LARGEST_LIMIT: usize = 500;

/// Checks the number of entries on a page: 1 to 500, by default 50.
pub(super) fn limit(wanted: Option<usize>) -> Result<usize, ApiError> {
    let limit = wanted.unwrap_or(DEFAULT_LIMIT);
    if (1..=LARGEST_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::bad_request("`limit` has to be from 1 to 500"))
}

/// Parses a cursor: the `next_cursor` of the page before.
pub(super) fn cursor<T: FromStr>(cursor: Option<&str>) -> Result<Option<T>, ApiError> {
    cursor
        .map(str::parse)
        .transpose()
        .map_err(|_| ApiError::bad_request("`cursor` has to be the `next_cursor` of another page"))
}
