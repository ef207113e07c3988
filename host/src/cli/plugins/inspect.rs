//! `tocsin plugins inspect`: shows an [`Inspection`] of a file, without running its code.
//!
//! No host is needed, and a configuration only to verify the file's signature or checksum.

use std::path::{Path, PathBuf};

use clap::Args;
use tocsin_plugin_api::manifest::Manifest;

use crate::{
    cli::output,
    config::{ConfigErrors, LoadedConfig},
    plugin_user::plugins_folder::open_verifier,
    plugins::{
        inspection::{ElfFacts, Inspection, Signature},
        verification::Policy,
    },
};

#[derive(Args, Debug)]
pub(super) struct Inspect {
    /// Library of the plugin, a `.so` file
    file: PathBuf,
    /// Configuration file: verify the signature with its keys, and show if its host would load the file from
    /// the plugins folder
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn inspect(args: &Inspect) -> anyhow::Result<()> {
    let mut inspection = Inspection::of(&args.file).map_err(|refusal| {
        anyhow::anyhow!("`{}` {}", args.file.display(), first_line(&refusal.problem.message))
    })?;
    if let Some(config) = &args.config {
        ask_for_trust(&mut inspection, &LoadedConfig::read(config)?, &args.file)?;
    }
    if args.json {
        output::print_json(&inspection)?;
    } else {
        print(&inspection)?;
    }
    let Some(refusal) = inspection.refusal else { return Ok(()) };
    let hint = refusal.problem.hint.map_or(String::new(), |hint| format!("hint: {hint}"));
    anyhow::bail!("this host would not load `{}`\n{hint}", args.file.display())
}

/// Judges the file as a host with this configuration would.
fn ask_for_trust(
    inspection: &mut Inspection,
    config: &LoadedConfig,
    file: &Path,
) -> anyhow::Result<()> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let admit = |policy| -> Result<_, ConfigErrors> {
        Ok(open_verifier(config, folder, policy)?.admit(file))
    };
    let settings = &config.config.plugins;
    if let Some(signature) = &mut inspection.signature
        && !settings.public_keys.is_empty()
        && inspection.refusal.is_none()
    {
        let admitted = admit(Policy::Signature)?;
        signature.is_good = Some(admitted.is_ok());
    }
    if inspection.refusal.is_none() {
        inspection.refusal = admit(settings.verify)?.err();
    }
    Ok(())
}

fn print(inspection: &Inspection) -> anyhow::Result<()> {
    let Inspection { file, size_bytes, sha256, signature, manifest, elf, refusal } = inspection;
    let mut lines = vec![
        ("file", file.clone()),
        ("size", format!("{size_bytes} bytes")),
        ("sha256", sha256.clone()),
        ("signature", signature.as_ref().map_or("none".into(), said_by)),
    ];
    match manifest {
        Some(manifest) => lines.extend(manifest_lines(manifest)),
        None => lines.push(("manifest", "none".into())),
    }
    lines.extend(elf.iter().flat_map(elf_lines));
    lines.push((
        "loads here",
        match refusal {
            None => "yes, as far as this can be known without running the file".into(),
            Some(refusal) => {
                format!("no, it {}", first_line(&refusal.problem.message))
            }
        },
    ));
    for (what, text) in lines {
        output::print_line(&format!("{what:<13} {}", text.replace('\n', " ")))?;
    }
    Ok(())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn said_by(signature: &Signature) -> String {
    match &signature.trusted_comment {
        Some(comment) => {
            let verdict = match signature.is_good {
                Some(true) => "good",
                Some(false) => "not one that the configuration trusts",
                None => "not verified",
            };
            format!("{verdict}, says \"{comment}\"")
        }
        None => format!("`{}` is no minisign signature", signature.file),
    }
}

fn manifest_lines(manifest: &Manifest) -> [(&'static str, String); 8] {
    let said = |text: &str| if text.is_empty() { "not stated".into() } else { text.to_owned() };
    [
        ("name", manifest.name.clone()),
        ("version", manifest.version.clone()),
        ("description", said(&manifest.description)),
        ("licence", said(&manifest.license)),
        ("plugin-api", manifest.plugin_api.clone()),
        ("rustc", said(manifest.rustc.trim_start_matches("rustc "))),
        ("panics", manifest.panic.clone()),
        ("capabilities", said(&manifest.capabilities.join(", "))),
    ]
}

fn elf_lines(elf: &ElfFacts) -> [(&'static str, String); 4] {
    let none = || "none".to_owned();
    let needs = if elf.needs.is_empty() { none() } else { elf.needs.join(", ") };
    [
        ("target", format!("{}, {}-bit, {}", elf.machine, elf.bits, elf.byte_order)),
        ("soname", elf.soname.clone().unwrap_or_else(none)),
        ("needs", needs),
        ("glibc", elf.glibc.as_ref().map_or_else(none, |version| format!("{version} or later"))),
    ]
}
