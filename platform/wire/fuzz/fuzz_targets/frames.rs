//! `mkdir -p fuzz/corpus/frames; cargo +nightly fuzz run frames fuzz/{corpus,seeds}/frames` in `platform/wire`.
#![no_main]

#[path = "../laws/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frames::holds(data));
