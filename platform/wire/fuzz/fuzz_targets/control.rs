//! `mkdir -p fuzz/corpus/control; cargo +nightly fuzz run control fuzz/{corpus,seeds}/control` in `platform/wire`.
#![no_main]

#[path = "../laws/control.rs"]
mod control;

libfuzzer_sys::fuzz_target!(|data: &[u8]| control::holds(data));
