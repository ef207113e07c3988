//! The source of a plugin that was written for plugin-api 1.0 compiles with this version, unchanged.

#![cfg(feature = "host")]

#[path = "../../tests/frozen/heartbeat/src/lib.rs"]
mod heartbeat;

use tocsin_plugin_api::{Request, abi::Module};

#[expect(unsafe_code, reason = "a module is opened by the address of its header")]
fn module() -> Module {
    unsafe extern "C" {
        #[link_name = "_1as_0lib_1header_0root_bmodule_bloader"]
        static HEADER: u8;
    }
    // SAFETY: `export_plugin!` put the header there, in a program that stays mapped.
    unsafe { Module::open((&raw const HEADER).cast()) }.expect("a module")
}

#[test]
fn a_plugin_written_for_1_0_compiles_and_works() {
    let instance = module().instance(br#"{"token": "s3cret"}"#).expect("an instance");
    let request = Request::post(br#"{"service": "disk", "up": false}"#)
        .with_header("content-type", b"application/json")
        .with_header("x-token", b"s3cret");
    assert_eq!(instance.receive(&request).expect("an outcome").name(), "events");
}
