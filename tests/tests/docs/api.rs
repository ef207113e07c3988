//! Comparison of the page on the API with the OpenAPI description.

use std::collections::BTreeSet;

use tocsin_tests::Site;

use crate::markdown::{Page, code_spans};

#[test]
fn the_page_on_the_api_lists_every_route() {
    let host = Site::new().serve();
    let description = host.api("/openapi.json");
    let paths = description["paths"].as_object().expect("routes");
    let routes = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let routes: BTreeSet<_> = routes.collect();

    let rows = Page::read("docs/api.md").rows();
    let listed = rows.iter().filter_map(|row| code_spans(&row[0]).into_iter().next());
    let listed: BTreeSet<_> = listed.filter(|route| route.contains(" /")).collect();
    assert_eq!(listed, routes);
}
