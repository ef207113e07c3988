//! The host's side of plugin-api 1.0.0, as a program: `frozen-host [--body TEXT] LIBRARY...`. The
//! program admits each library as the host of that time did, opens it, gives it one request and
//! prints the name of the outcome.

use std::{env, error::Error, fs, process::ExitCode};

use tocsin_plugin_api::{
    Request, VERSION,
    abi::{HEADER_SYMBOL, Module},
    manifest::{FORMAT, Manifest, RECEIVE, UNWIND},
};

fn main() -> ExitCode {
    let mut body = String::from("a body");
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--body" {
            body = args.next().unwrap_or_default();
        } else if let Err(error) = admit(&arg).and_then(|()| receive(&arg, &body)) {
            eprintln!("`{arg}` {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Checks the manifest by the rules of the host of plugin-api 1.0.0.
fn admit(path: &str) -> Result<(), Box<dyn Error>> {
    let manifest = manifest(&fs::read(path)?).ok_or("has no manifest")?;
    if manifest.manifest != FORMAT {
        return Err("has a manifest in a form that is newer than this host".into());
    }
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if major(&manifest.plugin_api) != major(VERSION) {
        let theirs = manifest.plugin_api;
        return Err(format!("built for plugin-api {theirs}; this host has {VERSION}").into());
    }
    if manifest.panic != UNWIND {
        return Err("built with `panic = \"abort\"`".into());
    }
    match manifest.capabilities.iter().find(|capability| *capability != RECEIVE) {
        Some(unknown) => {
            Err(format!("which asks for `{unknown}`; this host has no such thing").into())
        }
        None => Ok(()),
    }
}

/// Finds the manifest by its first key.
fn manifest(bytes: &[u8]) -> Option<Manifest> {
    const START: &[u8] = br#"{"manifest":"#;
    let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(START));
    let mut manifests = starts.filter_map(|at| {
        serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<Manifest>().next()?.ok()
    });
    manifests.next()
}

fn receive(path: &str, body: &str) -> Result<(), Box<dyn Error>> {
    // SAFETY: none is promised: whoever runs this trusts the library.
    let library = unsafe { libloading::Library::new(path) }?;
    let library = Box::leak(Box::new(library));
    // SAFETY: a symbol read as a pointer is its address, which is all that is used.
    let header = unsafe { library.get::<*const ()>(HEADER_SYMBOL.as_bytes()) }?;
    // SAFETY: the address is that of the header symbol, in a library that was leaked above.
    let module = unsafe { Module::open(*header) }?;
    let instance = module.instance(b"{}")?;
    let request = Request::post(body.as_bytes()).with_header("content-type", b"application/json");
    println!("{}", instance.receive(&request)?.name());
    Ok(instance.close()?)
}
