//! What fuzzing has reached, tried again: the smallest inputs that together cover all of it.

use std::path::Path;

#[path = "../../fuzz/laws/law.rs"]
mod law;

#[test]
fn the_law_holds_for_what_fuzzing_has_reached() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/law");
    let mut tried = 0;
    for seed in std::fs::read_dir(&directory).expect("the seeds are part of the source") {
        let path = seed.expect("readable").path();
        let bytes = std::fs::read(&path).expect("readable");
        // Printed only when it fails.
        println!("{}", path.display());
        law::holds(&bytes);
        tried += 1;
    }
    assert!(tried > 100, "most of the seeds are missing");
}
