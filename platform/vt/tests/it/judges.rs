//! Other terminals as judges: what they show after a snapshot and the rest of a stream is what they show after
//! the whole stream.
//!
//! xterm.js (with the addon for Unicode 11) is judged by all it tells: both buffers with scrollback and colours,
//! cursor, modes, title. alacritty by the text it shows and its cursor (its scrollback is
//! another: erasing the screen fills it).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::term::{Config, Term};
use alacritty_terminal::vte::ansi::Processor;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lap_vt::Size;
use serde_json::{Value, json};

use crate::random::{Random, cases, seed};
use crate::recordings::{SETTING, all, cuts};

/// Set where the judges have to be there (in continuous integration): a test without its judge fails.
const REQUIRED: &str = "LAP_REQUIRE_JUDGES";

/// Cuts of each recording given to a judge.
const CUTS_EACH: usize = 6;

/// Where xterm.js takes a sequence differently from xterm, and a recording is judged only so far: scrolling down
/// (SD) without the background; wrap marks that stay when lines are inserted between the wrapped ones.
const JUDGED_BY_XTERM_JS: [(&str, usize); 2] = [("demo-worm", 195_600), ("vttest", 51_100)];

/// A snapshot of a recording cut somewhere, and what followed.
fn continued(stream: &[u8], cut: usize) -> Vec<u8> {
    let mut terminal = SETTING.terminal();
    terminal.feed(&stream[..cut]);
    let mut continued = terminal.snapshot(usize::MAX);
    continued.extend_from_slice(&stream[cut..]);
    continued
}

#[test]
fn xterm_js_shows_the_same_after_a_snapshot() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge");
    if !directory.join("node_modules/@xterm/headless").exists() {
        let required = std::env::var_os(REQUIRED).is_some_and(|value| value == "1");
        assert!(!required, "the judge is not installed: run `npm ci` in {}", directory.display());
        eprintln!("not judged: run `npm ci` in {}", directory.display());
        return;
    }
    let mut judge = Command::new("node")
        .arg(directory.join("judge.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut requests = judge.stdin.take().expect("piped");
    let mut answers = BufReader::new(judge.stdout.take().expect("piped"));

    let seed = seed();
    let random = &mut Random::new(seed);
    let recordings = all();
    let cuts_each = cases(CUTS_EACH * recordings.len()).div_ceil(recordings.len());
    let mut wrong = Vec::new();
    for (name, stream) in &recordings {
        let until =
            JUDGED_BY_XTERM_JS.iter().find(|entry| entry.0 == name).map_or(stream.len(), |entry| entry.1);
        let stream = &stream[..until.min(stream.len())];
        let cuts = cuts(random, stream, cuts_each);
        let continued = cuts.iter().map(|cut| continued(stream, *cut));
        let streams: Vec<String> =
            std::iter::once(stream.to_vec()).chain(continued).map(|stream| BASE64.encode(stream)).collect();
        let Size { cols, rows } = SETTING.size;
        writeln!(requests, "{}", json!({ "cols": cols, "rows": rows, "streams": streams })).expect("sent");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("answered");
        let answer: Value = serde_json::from_str(&answer).expect("an answer in JSON");
        let screens = answer["screens"].as_array().expect("screens");
        assert_eq!(screens.len(), cuts.len() + 1, "{name}");
        for (cut, screen) in cuts.iter().zip(&screens[1..]) {
            if *screen != screens[0] {
                wrong.push(format!("{name} cut at {cut}: {}", difference("", &screens[0], screen)));
            }
        }
    }
    drop(requests);
    judge.wait().expect("node ends when its input does");
    assert!(wrong.is_empty(), "LAP_VT_SEED={seed}\n{}", wrong.join("\n"));
}

/// The first place where two answers differ.
fn difference(path: &str, a: &Value, b: &Value) -> String {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a
            .iter()
            .find(|(key, value)| b.get(*key) != Some(value))
            .map(|(key, value)| difference(&format!("{path}.{key}"), value, &b[key])),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find(|(_, (a, b))| a != b)
            .map(|(index, (a, b))| difference(&format!("{path}[{index}]"), a, b)),
        _ => None,
    }
    .unwrap_or_else(|| format!("{path}\n   {a}\n   {b}"))
}

struct Window;

impl Dimensions for Window {
    fn total_lines(&self) -> usize {
        self.screen_lines()
    }
    fn screen_lines(&self) -> usize {
        SETTING.size.rows.into()
    }
    fn columns(&self) -> usize {
        SETTING.size.cols.into()
    }
}

/// The lines shown, and the cursor.
fn in_alacritty(stream: &[u8]) -> Vec<String> {
    let config = Config { scrolling_history: 1000, kitty_keyboard: true, ..Config::default() };
    let mut terminal = Term::new(config, &Window, VoidListener);
    let mut parser: Processor = Processor::new();
    parser.advance(&mut terminal, stream);
    parser.stop_sync(&mut terminal);
    let grid = terminal.grid();
    let mut lines: Vec<String> = (0..grid.screen_lines() as i32)
        .map(|y| {
            let mut text = String::new();
            for x in 0..grid.columns() {
                let cell = &grid[Line(y)][Column(x)];
                if !cell.flags.intersects(Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER) {
                    // A tab moves the cursor; alacritty leaves a mark of it for copying.
                    text.push(if cell.c == '\t' { ' ' } else { cell.c });
                    text.extend(cell.zerowidth().unwrap_or_default());
                }
            }
            text.truncate(text.trim_end().len());
            text
        })
        .collect();
    let point = grid.cursor.point;
    lines.push(format!("{} {}", point.column.0, point.line.0));
    lines
}

fn in_ours(stream: &[u8]) -> Vec<String> {
    let mut terminal = SETTING.terminal();
    terminal.feed(stream);
    let mut lines: Vec<String> =
        terminal.screen_text().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.push(format!("{} {}", terminal.cursor().x, terminal.cursor().y));
    lines
}

#[test]
fn alacritty_shows_the_same_after_a_snapshot() {
    let seed = seed();
    let random = &mut Random::new(seed);
    let recordings = all();
    let cuts_each = cases(4 * CUTS_EACH * recordings.len()).div_ceil(recordings.len());
    let (mut wrong, mut judged, mut apart) = (Vec::new(), 0, 0);
    for (name, stream) in &recordings {
        let whole = in_alacritty(stream);
        for cut in cuts(random, stream, cuts_each) {
            judged += 1;
            if in_alacritty(&stream[..cut]) != in_ours(&stream[..cut]) {
                // The two take a sequence differently (leaving the alternate screen twice, for one).
                apart += 1;
                continue;
            }
            let shown = in_alacritty(&continued(stream, cut));
            if shown != whole {
                let differing = whole.iter().zip(&shown).find(|(a, b)| a != b);
                wrong.push(format!("{name} cut at {cut}: {differing:?}"));
            }
        }
    }
    println!("{judged} cuts, apart at {apart}");
    assert!(apart * 10 < judged, "apart at {apart} of {judged} cuts: nothing is judged any more");
    assert!(wrong.is_empty(), "LAP_VT_SEED={seed}\n{}", wrong.join("\n"));
}
