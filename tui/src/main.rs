//! The `lap` program.

fn main() -> std::process::ExitCode {
    lap_tui::cli::main()
}
