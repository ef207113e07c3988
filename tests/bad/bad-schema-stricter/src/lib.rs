//! Wrong on purpose: its schema requires a range, a pattern and a length that the plugin itself does not
//! check. `tocsin check` must report options that break them; the host must serve all the same.

use tocsin_plugin_api::prelude::*;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What it is called.
    #[schemars(length(max = 4))]
    name: String,
    /// Where it listens.
    #[schemars(range(min = 1, max = 65_535))]
    port: u64,
    /// What it looks after.
    #[serde(default)]
    servers: Vec<Server>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Server {
    /// Where it is.
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
