//! What fuzzing has reached, tried again: the smallest inputs that together cover all of it.
#![allow(clippy::expect_used, reason = "in tests, also outside of test functions")]

use std::path::Path;

#[path = "../fuzz/laws/control.rs"]
mod control;
#[path = "../fuzz/laws/frames.rs"]
mod frames;
#[path = "../fuzz/laws/stream.rs"]
mod stream;

fn try_all(target: &str, holds: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut tried = 0;
    for seed in std::fs::read_dir(&directory).expect("the seeds are part of the source") {
        let path = seed.expect("readable").path();
        let bytes = std::fs::read(&path).expect("readable");
        // Printed only when it fails.
        println!("{}", path.display());
        holds(&bytes);
        tried += 1;
    }
    assert!(tried > 40, "most of the seeds in {} are missing", directory.display());
}

#[test]
fn messages_hold() {
    try_all("frames", frames::holds);
}

#[test]
fn streams_hold() {
    try_all("stream", stream::holds);
}

#[test]
fn control_frames_hold() {
    try_all("control", control::holds);
}
