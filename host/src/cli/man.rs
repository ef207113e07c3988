//! `tocsin man`: writes the manual pages.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::{Cli, output};

#[derive(Args, Debug)]
pub(super) struct Man {
    /// Folder for the pages, which is created if it is missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn write(options: &Man) -> anyhow::Result<()> {
    let folder = &options.to;
    let write = || {
        fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    write().with_context(|| format!("cannot write to `{}`", folder.display()))?;
    output::print_line(&format!("wrote the pages to `{}`", folder.display()))
}
