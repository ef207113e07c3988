//! The host's side of plugin-api 1.2, as a program: `pretended-host [--body TEXT] LIBRARY...`. The
//! program opens each library, says whether it has the function that 1.2 added, and gives it one
//! request, or one text if the plugin has the capability `echo`. The program admits every library, so
//! it runs the code of every library that it opens.

use std::{env, error::Error, fmt, process::ExitCode};

use tocsin_plugin_api::{
    Request,
    abi::{CallError, HEADER_SYMBOL, Module},
};

fn main() -> ExitCode {
    let mut body = String::from("a body");
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--body" {
            body = args.next().unwrap_or_default();
        } else if let Err(error) = try_out(&arg, &body) {
            eprintln!("`{arg}` {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn try_out(path: &str, body: &str) -> Result<(), Box<dyn Error>> {
    // SAFETY: none is promised: whoever runs this trusts the library.
    let library = unsafe { libloading::Library::new(path) }?;
    let library = Box::leak(Box::new(library));
    // SAFETY: a symbol read as a pointer is its address, which is all that is used.
    let header = unsafe { library.get::<*const ()>(HEADER_SYMBOL.as_bytes()) }?;
    // SAFETY: the address is that of the header symbol, in a library that was leaked above.
    let module = unsafe { Module::open(*header) }?;
    say(if module.describe().is_some() { "described" } else { "not described" });

    let instance = module.instance(b"{}")?;
    match instance.call("echo", br#""disk full""#) {
        Ok(json) if json == br#""disk full""# => say("echoed"),
        Ok(json) => return Err(String::from_utf8_lossy(&json).into()),
        Err(CallError::NoFunction(_)) => {
            let request = Request::post(body.as_bytes());
            let request = request.with_header("content-type", b"application/json");
            say(instance.receive(&request)?.name());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(instance.close()?)
}

fn say(what: impl fmt::Display) {
    println!("{what}");
}
