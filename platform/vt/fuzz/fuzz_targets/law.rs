//! `mkdir -p fuzz/corpus/law; cargo +nightly fuzz run law fuzz/{corpus,seeds}/law` in `platform/vt`.
#![no_main]

#[path = "../laws/law.rs"]
mod law;

libfuzzer_sys::fuzz_target!(|data: &[u8]| law::holds(data));
