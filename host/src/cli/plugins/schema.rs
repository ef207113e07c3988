//! `tocsin plugins schema`: prints the options of a plugin as a JSON Schema or a table.
//!
//! The plugin runs in a child process, see [`Sandbox`].

use std::{path::Path, time::Duration};

use anyhow::bail;
use clap::Args;
use semver::VersionReq;

use crate::{
    cli::{ConfigFile, UsageError, output},
    config::LoadedConfig,
    plugin_user::plugins_folder::read_catalog,
    plugins::{Catalog, reference},
    sandbox::Sandbox,
};

/// Timeout of the child process. A plugin needs some milliseconds to return its schema.
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(in crate::cli) struct PrintSchema {
    /// Plugin in the plugins folder, as `NAME` (the highest version) or `NAME@VERSION`; or the path of a
    /// `.so` file
    #[arg(value_name = "NAME")]
    plugin: String,
    /// Print a table of the options in Markdown instead of JSON
    #[arg(long)]
    markdown: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn print(args: &PrintSchema) -> anyhow::Result<()> {
    let sandbox = sandbox(&args.plugin, &args.config.config)?;
    match sandbox.schema() {
        Ok(schema) if args.markdown => output::print_lines(reference::markdown(&schema).trim_end()),
        Ok(schema) => output::print_json(&schema),
        Err(why) => bail!("`{}` {why}", sandbox.library.display()),
    }
}

fn sandbox(plugin: &str, config: &Path) -> anyhow::Result<Sandbox> {
    let of = |library: &Path| Sandbox::new(library, DEADLINE, DEADLINE);
    // Names of plugins contain no dot and no slash.
    let is_path = plugin.contains('/') || plugin.ends_with(".so");
    if is_path {
        return Ok(of(Path::new(plugin)));
    }
    let (name, version) = match plugin.split_once('@') {
        Some((name, version)) => (name, exactly(version)?),
        None => (plugin, VersionReq::STAR),
    };
    let catalog = read_catalog(&LoadedConfig::read(config)?, &Catalog::default())?;
    match catalog.candidates(name, &version).first() {
        Some(candidate) => {
            // Only the bytes that were verified are run.
            let sha256 = Some(candidate.plugin.sha256.clone());
            Ok(Sandbox { sha256, ..of(&candidate.plugin.path) })
        }
        None => {
            let missing = catalog.why_missing(name, &version);
            bail!(UsageError(missing.to_string()))
        }
    }
}

fn exactly(version: &str) -> anyhow::Result<VersionReq> {
    VersionReq::parse(&format!("={version}")).map_err(|error| {
        let hint = "write it as in `slack-outgoing-webhook@1.0.0`";
        UsageError(format!("`{version}` is not a version: {error}\nhint: {hint}")).into()
    })
}
