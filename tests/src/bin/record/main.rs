//! Records what coding agents write on their terminals, for the tests of lap-vt to cut anywhere: each agent runs on a
//! terminal whose model answers its queries, is typed into as by a person, and talks to a model on loopback
//! (`gateway.py`). Everything is kept, byte by byte.
//!
//! ```text
//! cargo run -p lap-tests --bin lap-record -- --path /tmp/agents/node_modules/.bin [--out DIR] [--show] [claude ...]
//! ```

mod agents;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lap_tests::terminal::TestTerminal;
use lap_vt::Size;
use portable_pty::CommandBuilder;

use crate::agents::{AGENTS, Agent, Step};

/// As all recordings.
const SIZE: Size = Size { cols: 100, rows: 30 };
/// What a recording may have; a longer one is cut off at its end.
const MOST: usize = 300_000;
/// Without output for this long, an agent waits for the next key.
const QUIET: Duration = Duration::from_millis(700);
/// An agent that animates is never quiet.
const LONGEST: Duration = Duration::from_secs(6);
/// A home and a project that tell nothing of the machine. They are emptied before each recording.
const HOME: &str = "/tmp/home";
const PROJECT: &str = "/tmp/project";

#[derive(Parser)]
struct Arguments {
    /// Where the agents are installed (and the Node they need).
    #[arg(long)]
    path: String,
    /// Where the recordings go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../platform/vt/tests/recordings"))]
    out: PathBuf,
    /// Print the screen after each step.
    #[arg(long)]
    show: bool,
    /// Which agents; all when none is named.
    agents: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let gateway = Gateway::start()?;
    for agent in AGENTS {
        if !arguments.agents.is_empty() && !arguments.agents.iter().any(|name| name == agent.name) {
            continue;
        }
        let recorded = record(agent, &arguments, &gateway).with_context(|| agent.name.to_owned())?;
        let kept = recorded.get(..MOST).unwrap_or(&recorded);
        fs::write(arguments.out.join(format!("agent-{}.bin", agent.name)), kept)?;
        println!("{}: {} bytes, {} kept", agent.name, recorded.len(), kept.len());
    }
    Ok(())
}

fn record(agent: &Agent, arguments: &Arguments, gateway: &Gateway) -> Result<Vec<u8>> {
    for directory in [HOME, PROJECT] {
        if Path::new(directory).exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir(directory)?;
    }
    let fill = |text: &str| text.replace("{gateway}", &gateway.url).replace("{project}", PROJECT);
    fs::write(format!("{PROJECT}/README.md"), "# Project\n\nA project to talk about.\n")?;
    fs::write(format!("{PROJECT}/main.rs"), "fn main() {\n    println!(\"hello\");\n}\n")?;
    for (path, contents) in agent.seed {
        let path = Path::new(HOME).join(path);
        fs::create_dir_all(path.parent().context("a file in a home")?)?;
        fs::write(path, fill(contents))?;
    }
    fs::create_dir(format!("{HOME}/tmp"))?;
    let mut terminal = TestTerminal::start(command(agent, arguments, &fill), SIZE)?;
    for step in agent.steps {
        if let Err(error) = take(step, &terminal) {
            eprintln!("{}: {step:?}: {error:#}", agent.name);
            break;
        }
        if arguments.show {
            println!(
                "--- {} after {step:?}, {} bytes\n{}",
                agent.name,
                terminal.raw().len(),
                terminal.text()
            );
        }
    }
    match terminal.wait_end() {
        Ok(status) => println!("{}: {status}", agent.name),
        Err(error) => eprintln!("{}: {error:#}", agent.name),
    }
    Ok(terminal.raw())
}

fn take(step: &Step, terminal: &TestTerminal) -> Result<()> {
    match *step {
        Step::Until(text) => terminal.wait_text(text)?,
        Step::Type(text) => terminal.type_in(text)?,
        Step::Paste(text) => terminal.type_in(format!("\x1b[200~{text}\x1b[201~"))?,
        Step::Resize(cols, rows) => terminal.resize(Size { cols, rows })?,
    }
    settle(terminal);
    Ok(())
}

/// Until the agent has said what it has to say.
fn settle(terminal: &TestTerminal) {
    let started = Instant::now();
    let (mut length, mut since) = (terminal.raw().len(), started);
    while since.elapsed() < QUIET && started.elapsed() < LONGEST {
        std::thread::sleep(Duration::from_millis(20));
        let now = terminal.raw().len();
        if now != length {
            (length, since) = (now, Instant::now());
        }
    }
}

/// The agent with a host name and a process list of its own: a recording tells nothing of where it was made.
fn command(agent: &Agent, arguments: &Arguments, fill: &impl Fn(&str) -> String) -> CommandBuilder {
    let mut command = CommandBuilder::new("unshare");
    command.args([
        "--uts",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        "hostname terminal; exec \"$@\"",
        "sh",
    ]);
    command.args(agent.command);
    command.env_clear();
    command.cwd(PROJECT);
    for (name, value) in [
        ("HOME", HOME),
        ("PATH", &format!("{}:/usr/bin:/bin", arguments.path)),
        ("TERM", "xterm-256color"),
        ("COLORTERM", "truecolor"),
        ("LANG", "C.UTF-8"),
        ("SHELL", "/bin/bash"),
        ("USER", "user"),
        // Codex mistrusts a home that is in the directory of temporary files.
        ("TMPDIR", &format!("{HOME}/tmp")),
    ] {
        command.env(name, value);
    }
    for (name, value) in agent.environment {
        command.env(name, fill(value));
    }
    command
}

/// The model on loopback, ended when dropped.
struct Gateway {
    process: Child,
    url: String,
}

impl Gateway {
    fn start() -> Result<Gateway> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/record/gateway.py");
        let mut process =
            Command::new("python3").arg(script).stdout(Stdio::piped()).spawn().context("python3")?;
        let mut port = String::new();
        BufReader::new(process.stdout.take().context("piped")?).read_line(&mut port)?;
        ensure!(!port.is_empty(), "the gateway has not started");
        Ok(Gateway { process, url: format!("http://127.0.0.1:{}", port.trim()) })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
