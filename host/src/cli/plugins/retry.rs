//! `tocsin plugins retry`: tries a plugin again that was set aside because a host died while loading it.
//!
//! The running host loads the plugin, or the next host that starts; this process does not.

use clap::Args;

use super::list::print_plugins;
use crate::{
    api::status::PluginList,
    cli::{
        Connection,
        client::{Client, Unreachable},
        output,
    },
    config::LoadedConfig,
    plugins::journal::LoadJournal,
};

#[derive(Args, Debug)]
pub(super) struct Retry {
    /// Name of the plugin, not of its file
    #[arg(value_name = "NAME", value_parser = plugin_name)]
    name: String,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn retry(retry: &Retry) -> anyhow::Result<()> {
    let Retry { name, connection } = retry;
    let client = Client::new(connection)?;
    match client.get::<serde_json::Value>("/health/live") {
        Ok(_) => ask(&client, name),
        // If the operator named the URL, the command is for that host only.
        Err(error) if error.is::<Unreachable>() && connection.url.is_none() => forget(retry),
        Err(error) => Err(error),
    }
}

fn plugin_name(name: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_name = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
    is_name
        .then(|| name.to_owned())
        .ok_or("no plugin has that name; `tocsin plugins` lists the plugins")
}

fn ask(client: &Client, name: &str) -> anyhow::Result<()> {
    let answer = client.post::<PluginList>(&format!("/api/v1/plugins/{name}/retry"));
    let PluginList { plugins, .. } = answer.map_err(|error| match error.is::<Unreachable>() {
        true => anyhow::anyhow!(
            "the host did not answer while it tried plugin `{name}` again: the plugin may have \
             killed it\n\
             hint: look at the log of the host; when the host starts again, the plugin is set \
             aside as before"
        ),
        false => error,
    })?;
    if plugins.is_empty() {
        return output::print_line(&format!(
            "the failed loads of plugin `{name}` are forgotten; the plugins folder no longer has \
             any of its files"
        ));
    }
    print_plugins(&plugins)
}

/// Removes the plugin's failed attempts from the [`LoadJournal`], so that the next host loads it.
fn forget(Retry { name, connection }: &Retry) -> anyhow::Result<()> {
    let config = LoadedConfig::read(&connection.config.config)?;
    let journal = config.store_config().map(|store| config.load_journal(&store));
    let attempts = match journal.filter(|journal| journal.exists()) {
        Some(journal) => LoadJournal::hold(&journal)?.retry(name)?,
        None => Vec::new(),
    };
    anyhow::ensure!(
        !attempts.is_empty(),
        "no version of plugin `{name}` was set aside\n\
         hint: no host is running; `tocsin plugins` shows what one would find"
    );
    for attempt in attempts {
        let (version, file) = (attempt.version, attempt.file);
        let line = format!("`{file}` ({name} {version}) will be tried when the host starts");
        output::print_line(&line)?;
    }
    Ok(())
}
