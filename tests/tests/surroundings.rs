//! The dashboard in the terminals people have: under a shell with job control, in GNU screen, with and without a desktop's
//! clipboard, on a ground that is known or not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

mod cli_support;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use cli_support::Machine;
use cli_support::terminal::OnTerminal;

/// What the dashboard shows first, and what it asks of a terminal for that.
const UP: &str = "first session";
const MOUSE: &str = "\x1b[?1000h";

fn dashboard(machine: &Machine, variables: &[(&str, &str)]) -> Command {
    let mut command = machine.command(Vec::<&str>::new());
    command.envs(variables.iter().copied());
    command
}

#[test]
fn ctrl_z_goes_back_to_the_shell_and_fg_to_the_dashboard() {
    let machine = Machine::new();
    let lap = machine.command(Vec::<&str>::new());
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "sh$ ").env("PATH", "/usr/bin:/bin");
    for (name, value) in lap.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let mut terminal = OnTerminal::start(&shell);
    terminal.shows("sh$ ");
    // From the list, and from a box over it.
    for open in ["", "?", "/"] {
        terminal.types(&format!("{}\r", lap.get_program().to_str().unwrap()));
        terminal.shows(UP);
        terminal.types(open);
        terminal.types("\x1a");
        let left = terminal.shows("Stopped");
        assert!(left.contains("\x1b[?1049l"), "the shell has its screen: {left:?}");
        terminal.shows("sh$ ");
        terminal.types("echo st''ill the shell\r");
        terminal.shows("still the shell");
        terminal.shows("sh$ ");
        terminal.types("fg\r");
        terminal.shows("\x1b[?1049h");
        terminal.shows("gents");
        terminal.types("\x1a");
        terminal.shows("sh$ ");
        terminal.types("kill -KILL %%\r");
        terminal.shows("sh$ ");
    }
}

#[test]
fn ctrl_z_where_no_shell_waits_does_nothing() {
    let machine = Machine::new();
    let mut terminal = OnTerminal::start(&dashboard(&machine, &[]));
    terminal.shows(UP);
    terminal.types("\x1aq");
    assert_eq!(terminal.is_over(), 0);
}

#[test]
fn in_gnu_screen_the_mouse_is_left_alone() {
    let machine = Machine::new();
    for (variables, reports) in [(&[][..], true), (&[("STY", "1.pts-0.host")][..], false)] {
        let mut terminal = OnTerminal::start(&dashboard(&machine, variables));
        let begun = terminal.shows(UP);
        assert_eq!(begun.contains(MOUSE), reports, "{variables:?}");
        terminal.types("q");
        assert_eq!(terminal.is_over(), 0);
    }
}

#[test]
fn what_was_not_changed_is_not_set_and_a_terminal_without_a_second_screen_is_left_empty() {
    let machine = Machine::new();
    let mut terminal = OnTerminal::start(&dashboard(&machine, &[]));
    let begun = terminal.shows(UP);
    let (_, own) = begun.split_once("\x1b[?1049h").unwrap();
    assert!(own.contains("\x1b[H\x1b[2J"), "what was there does not shine through: {own:?}");
    assert!(!begun.contains("\x1b[0 q"), "the cursor has its form: {begun:?}");
    terminal.types("q");
    let left = terminal.shows("\x1b[?1049l");
    assert!(left.contains("\x1b[H\x1b[2J") && !left.contains("\x1b[0 q"), "{left:?}");
}

#[test]
fn the_ground_is_what_the_terminal_or_its_variable_says() {
    let machine = Machine::new();
    // The selected list's name has another colour in each theme.
    let accents = [("15;0", "38;2;138;180;248"), ("0;15", "38;2;31;95;191")];
    for (said, accent) in accents {
        let variables = [("COLORFGBG", said), ("COLORTERM", "truecolor")];
        let mut terminal = OnTerminal::start(&dashboard(&machine, &variables));
        let shown = terminal.shows(UP);
        assert!(shown.contains(accent), "{said}: {shown:?}");
        terminal.types("q");
        assert_eq!(terminal.is_over(), 0);
    }
    let mut terminal = OnTerminal::start(&dashboard(&machine, &[("COLORTERM", "truecolor")]));
    let shown = terminal.shows(UP);
    assert!(!shown.contains("48;2;"), "no ground of our own under the terminal's letters: {shown:?}");
}

#[test]
fn what_is_selected_is_copied_by_the_desktops_program_and_that_is_said() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    machine.lap(["sessions", "create", "one", "--wait"]).succeeds();
    let bin = machine.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let taken = machine.path("taken");
    let script = format!("#!/bin/sh\n/bin/cat > {}.new; /bin/mv {0}.new {0}\n", taken.display());
    std::fs::write(bin.join("xclip"), script).unwrap();
    std::fs::set_permissions(bin.join("xclip"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut terminal = OnTerminal::start(&dashboard(&machine, &[("DISPLAY", ":7"), ("PATH", &path)]));
    terminal.shows("ready");
    terminal.types("\r");
    terminal.shows("\x1b[?25h");
    // Written out to the edge, as programs do that clear with blanks.
    terminal.types("clear; printf 'a%s%50s\\n' word ''\r");
    // Below it the prompt stands again.
    terminal.shows("\x1b[3;1H");
    // Pressed on its first letter, drawn far beyond the last.
    terminal.types("\x1b[<0;1;2M\x1b[<32;40;2M\x1b[<0;40;2m");
    terminal.shows("(xclip)");
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "aword");
}

#[test]
fn a_program_that_copies_without_end_into_a_clipboard_that_hangs_holds_nobody_up() {
    let machine = Machine::new();
    machine.lap(["agents", "create", "one", "--harness", "shell", "--model", "m"]).succeeds();
    machine.lap(["sessions", "create", "one", "--wait"]).succeeds();
    let bin = machine.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("xclip"), "#!/bin/sh\nexec /bin/sleep 1021\n").unwrap();
    std::fs::set_permissions(bin.join("xclip"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut terminal = OnTerminal::start(&dashboard(&machine, &[("DISPLAY", ":7"), ("PATH", &path)]));
    terminal.shows("ready");
    terminal.types("\r");
    terminal.shows("\x1b[?25h");
    // Each would take the clipboard's whole patience, and all together minutes.
    terminal.types("for i in $(seq 500); do printf '\\033]52;c;YQ==\\a'; done; clear; printf 'af%s' ter\r");
    terminal.shows("fter");
    terminal.types("printf 'e%s' nd\r");
    terminal.shows("end");
}
