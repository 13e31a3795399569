//! Programs to start.

use std::collections::BTreeMap;

use lap_wire::control::Size;
use lap_wire::keeper::{ProgramIo, ProgramSpec};

fn spec(id: &str, argv: &[&str], io: ProgramIo) -> ProgramSpec {
    let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("TERM", "xterm-256color"), ("LANG", "C.UTF-8")];
    let argv = argv.iter().map(|a| (*a).to_owned()).collect();
    ProgramSpec::new(id, argv, BTreeMap::from(env.map(|(k, v)| (k.to_owned(), v.to_owned()))), "/", io)
}

pub fn pty(id: &str, argv: &[&str]) -> ProgramSpec {
    spec(id, argv, ProgramIo::Pty { size: Size { cols: 80, rows: 24 } })
}

pub fn pipes(id: &str, argv: &[&str]) -> ProgramSpec {
    spec(id, argv, ProgramIo::Pipes)
}

/// A shell script on a terminal that changes nothing on its way out, so that bytes can be counted.
pub fn sh(id: &str, script: &str) -> ProgramSpec {
    pty(id, &["sh", "-c", &format!("stty raw -echo; {script}")])
}

/// What a [`gated`] program prints before it waits.
pub const UP: &[u8] = b"up\n";

/// The same, begun by a line of input; before that it prints [`UP`], when its terminal is as the script wants it.
pub fn gated(id: &str, script: &str) -> ProgramSpec {
    sh(id, &format!("echo up; read x; {script}"))
}

/// What `seq 1 count` prints.
pub fn numbers(count: usize) -> Vec<u8> {
    (1..=count).flat_map(|i| format!("{i}\n").into_bytes()).collect()
}
