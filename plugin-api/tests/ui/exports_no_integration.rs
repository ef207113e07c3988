//! The exported type is not an integration.

struct Plain;

tocsin_plugin_api::export_plugin!(Plain);

fn main() {}
