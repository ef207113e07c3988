//! `tocsin plugins lock`: writes the hashes of the plugins in the folder into the [`LockFile`].
//!
//! No plugin is loaded, and no running host is asked.

use anyhow::Context;
use clap::Args;

use crate::{
    cli::{ConfigFile, output},
    config::LoadedConfig,
    plugin_user::plugins_folder::read_catalog_with,
    plugins::{
        Catalog,
        verification::{Policy, lock_file::LockFile},
    },
};

#[derive(Args, Debug)]
pub(super) struct Lock {
    #[command(flatten)]
    config: ConfigFile,
    /// Write nothing; exit with 1 if the lock file differs from what would be written
    #[arg(long)]
    check: bool,
}

pub(super) fn lock(args: &Lock) -> anyhow::Result<()> {
    let config = LoadedConfig::read(&args.config.config)?;
    let new = LockFile::of(&admitted(&config)?);
    let path = config.resolve(&config.config.plugins.lock);
    let shown = path.display();
    let old = LockFile::read(&path).unwrap_or_else(|problem| {
        output::print_error(&format!(
            "warning: cannot read `{shown}`, which counts as empty: {problem}"
        ));
        None
    });
    let changes =
        new.changes_since(&old.as_ref().map_or_else(LockFile::default, |(old, _)| old.clone()));
    for change in &changes {
        output::print_line(&change.to_string())?;
    }
    if args.check {
        anyhow::ensure!(
            old.is_some_and(|(old, _)| old == new),
            "`{shown}` differs from the contents of the plugins folder\n\
             hint: if you trust what does, run `tocsin plugins lock`",
        );
    } else {
        new.write(&path, &args.config.config).with_context(|| format!("cannot write `{shown}`"))?;
    }
    let plugins = if new.len() == 1 { "plugin" } else { "plugins" };
    output::print_line(&format!("`{shown}` has {} {plugins}", new.len()))
}

/// Reads the plugins folder, and prints a warning for each file that is left out.
fn admitted(config: &LoadedConfig) -> anyhow::Result<Catalog> {
    let catalog = read_catalog_with(config, Policy::Off, &Catalog::default())?;
    for file in &catalog.files {
        if let Err(refusal) = &file.admission {
            output::print_error(&format!("warning: left out: `{}` {refusal}", file.file_name));
        }
    }
    Ok(catalog)
}
