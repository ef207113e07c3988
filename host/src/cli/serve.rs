//! `tocsin serve`: prepares the process and runs the host in it.

use std::path::Path;

use anyhow::Context;

use crate::{config::LoadedConfig, log, run::run, system::process_limits};

pub(super) fn serve(config: &Path) -> anyhow::Result<()> {
    process_limits::share_arena();
    let config = LoadedConfig::read(config)?;
    log::start(&config.config.log).context("cannot start the log")?;
    process_limits::harden();
    run(config)
}
