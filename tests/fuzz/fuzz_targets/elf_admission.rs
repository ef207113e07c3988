//! Examining any file of the plugins folder does not panic: the file is admitted with a name and a
//! version, or refused with a sentence of one line.
#![no_main]

use std::{fs::File, io::Write, os::fd::AsRawFd, path::Path};

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};
use tocsin::plugins::inspection::Inspection;

fuzz_target!(|bytes: &[u8]| {
    let memory = memfd_create("plugin", MemfdFlags::CLOEXEC).expect("there is memory");
    let mut file = File::from(memory);
    file.write_all(bytes).expect("there is memory");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // This call also examines the file as the host does before it loads a plugin.
    match Inspection::of(Path::new(&path)) {
        Ok(Inspection { refusal: None, manifest, .. }) => {
            assert!(manifest.is_some_and(|manifest| !manifest.name.is_empty()));
        }
        Ok(Inspection { refusal: Some(refusal), .. }) | Err(refusal) => {
            let sentence = refusal.to_string();
            assert!(!sentence.is_empty() && !sentence.contains(['\n', '\r']), "{sentence:?}");
        }
    }
});
