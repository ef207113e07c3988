//! Wrong on purpose: its schema requires a range, a pattern and a length that the plugin itself does not
//! check. `tocsin check` must report options that violate the schema; the host must serve the plugin
//! nevertheless.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Name of the monitored service.
    #[schemars(length(max = 4))]
    name: String,
    /// Port on which the monitored service listens.
    #[schemars(range(min = 1, max = 65_535))]
    port: u64,
    /// Servers of the monitored service.
    #[serde(default)]
    servers: Vec<Server>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Server {
    /// Address of the server.
    #[schemars(regex(pattern = r"^https?://"))]
    url: String,
}

struct SchemaStricter {
    options: Options,
}

impl Integration for SchemaStricter {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        Ok(Self { options })
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let Options { name, port, servers } = &self.options;
        let urls: Vec<_> = servers.iter().map(|server| server.url.as_str()).collect();
        let body = String::from_utf8_lossy(request.body());
        Ok(Event::create(format!("{name}:{port} {urls:?}: {body}")).into())
    }
}

tocsin_plugin_api::export_plugin!(SchemaStricter);
