//! The functions of capabilities cross the boundary, and every failure in a function comes back as
//! an error. The capability `echo` exists only in this test.

#![cfg(feature = "host")]

use tocsin_plugin_api::{
    Exported, OptionsError, Request,
    abi::{CallError, Instance, LibraryHeader, Module, library_header},
    capability::{Capability, Plugin},
    manifest::PackageManifest,
};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Options {}

/// A plugin that receives nothing.
struct Echo;

impl Plugin for Echo {
    type Options = Options;

    fn new(_: Options) -> Result<Self, OptionsError> {
        Ok(Self)
    }
}

impl Exported for Echo {
    const MANIFEST: PackageManifest = PackageManifest {
        name: "echo",
        version: "1.0.0",
        description: "",
        license: "",
        panic: "unwind",
        capabilities: &["echo"],
        largest_body_bytes: Capability::largest_body_bytes(Self::CAPABILITIES),
    };

    const CAPABILITIES: &'static [Capability<Self>] = &[Capability::json("echo", |_, input| {
        let text: String = serde_json::from_slice(input)?;
        assert_ne!(text, "panic", "asked to panic");
        serde_json::to_vec(&text)
    })];
}

#[expect(unsafe_code, reason = "a module is opened by the address of its header")]
fn echo() -> Instance {
    static HEADER: LibraryHeader = library_header::<Echo>();
    // SAFETY: the address is that of a header, in a program that stays mapped.
    let module = unsafe { Module::open((&raw const HEADER).cast()) }.expect("a module");
    module.instance(b"{}").expect("an instance")
}

#[test]
fn a_function_takes_json_and_gives_json() {
    assert_eq!(echo().call("echo", br#""disk full""#), Ok(br#""disk full""#.to_vec()));
}

#[test]
fn input_that_the_plugin_cannot_read_is_an_error_that_says_why() {
    let error = echo().call("echo", b"7").expect_err("no text");
    assert!(matches!(error, CallError::BadInput(_)), "{error:?}");
    assert!(error.to_string().contains("expected a string"), "{error}");
}

#[test]
fn a_panic_in_a_function_comes_back_with_its_place() {
    match echo().call("echo", br#""panic""#) {
        Err(CallError::Panicked(message)) => {
            assert!(message.contains("asked to panic"), "{message}");
            assert!(message.contains("capabilities.rs:"), "{message}");
        }
        other => panic!("expected a panic, got {other:?}"),
    }
}

#[test]
fn a_capability_that_the_plugin_does_not_have_is_named() {
    let missing = |name: &str| Err(CallError::NoFunction(name.into()));
    assert_eq!(echo().call("notify", b"{}"), missing("notify"));
    assert_eq!(echo().call("receive", b"{}"), missing("receive"));
    let received = echo().receive(&Request::post(b"disk full")).map(drop);
    assert_eq!(received, Err(CallError::NoFunction("receive".into())));
}
