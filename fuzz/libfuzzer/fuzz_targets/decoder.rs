//! Hands libFuzzer's inputs to the target that the variable `SQUAD_FUZZ_TARGET` names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use squad_fuzz::targets::{ALL, Target};
use std::sync::OnceLock;

fn target() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("SQUAD_FUZZ_TARGET").unwrap_or_default();
        ALL.iter().find(|target| target.name == name).unwrap_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|target| target.name).collect();
            panic!("set SQUAD_FUZZ_TARGET to one of {}", names.join(", "))
        })
    })
}

fuzz_target!(|data: &[u8]| (target().run)(data));
