//! `mkdir -p fuzz/corpus/stream; cargo +nightly fuzz run stream fuzz/{corpus,seeds}/stream` in `platform/wire`.
#![no_main]

#[path = "../laws/stream.rs"]
mod stream;

libfuzzer_sys::fuzz_target!(|data: &[u8]| stream::holds(data));
