//! Lists of the API that come in pages.

use serde::de::DeserializeOwned;

use super::client::Client;

/// Largest page that the API gives.
const LARGEST_PAGE: usize = 500;

/// A list of the API that comes in pages.
pub(super) trait PagedList: DeserializeOwned {
    /// Returns the number of entries.
    fn count(&self) -> usize;

    /// Returns the cursor of the next page; none on the last page.
    fn next_cursor(&self) -> Option<&String>;

    /// Appends the next page, and takes over its cursor.
    fn append(&mut self, page: Self);
}

/// Fetches pages of a list until `limit` entries are there, or all.
pub(super) fn fetch<L: PagedList>(
    client: &Client,
    path: &str,
    filters: &[(&str, Option<String>)],
    limit: usize,
) -> anyhow::Result<L> {
    let page = |count: usize, cursor: Option<&String>| -> anyhow::Result<L> {
        let size = (limit - count).min(LARGEST_PAGE);
        let of_page = [("limit", Some(size.to_string())), ("cursor", cursor.cloned())];
        client.get_with(path, &[&of_page, filters].concat())
    };
    let mut list = page(0, None)?;
    while list.count() < limit && list.next_cursor().is_some() {
        let next = page(list.count(), list.next_cursor())?;
        list.append(next);
    }
    Ok(list)
}
