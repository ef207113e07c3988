//! A type is exported that is no integration.

struct Plain;

tocsin_plugin_api::export_plugin!(Plain);

fn main() {}
