//! `lap-keeper`: the keeper as a program of its own, as sandboxes carry it.

fn main() {
    std::process::exit(lap_keeper::main(std::env::args_os().skip(1)));
}
