//! What emulators send for key chords, recorded from real ones (`tests/keys/record.py`), beside what a program in a pane
//! must get: what it would get from the emulator without lap.

use std::collections::BTreeMap;

use super::*;

const TABLES: [(&str, &str); 7] = [
    ("alacritty", include_str!("recorded/alacritty.txt")),
    ("kitty", include_str!("recorded/kitty.txt")),
    ("konsole", include_str!("recorded/konsole.txt")),
    ("lxterminal", include_str!("recorded/lxterminal.txt")),
    ("st", include_str!("recorded/st.txt")),
    ("urxvt", include_str!("recorded/urxvt.txt")),
    ("xterm", include_str!("recorded/xterm.txt")),
];

/// Where something else is right, per emulator: the chord and what the program gets.
const OTHERWISE: &[(&str, &str, &str)] = &[
    // Kitty writes these to every program as its own protocol has them; a program that asked for nothing knows xterm.
    ("kitty", "ctrl+grave", r"\x00"),
    ("kitty", "ctrl+shift+a", r"\x01"),
    ("kitty", "ctrl+shift+z", r"\x1a"),
    ("kitty", "ctrl+alt+shift+a", r"\x1b\x01"),
    // Rxvt writes these as it does without Ctrl, or as the key ten further with Ctrl.
    ("urxvt", "ctrl+shift+Up", r"\x1b[1;2A"),
    ("urxvt", "ctrl+shift+Down", r"\x1b[1;2B"),
    ("urxvt", "ctrl+shift+Right", r"\x1b[1;2C"),
    ("urxvt", "ctrl+shift+Left", r"\x1b[1;2D"),
    ("urxvt", "ctrl+shift+F1", r"\x1b[23;5~"),
    ("urxvt", "ctrl+shift+F2", r"\x1b[24;5~"),
    ("urxvt", "ctrl+shift+F3", r"\x1b[25;5~"),
    ("urxvt", "ctrl+shift+F4", r"\x1b[26;5~"),
    ("urxvt", "ctrl+shift+F5", r"\x1b[28;5~"),
    // Alt as the eighth bit, which the byte that came with Ctrl in a sequence has no more.
    ("xterm", "ctrl+alt+space", r"\x1b\x00"),
    // St has no modifiers for End.
    ("st", "alt+End", r"\x1b[F"),
    ("st", "alt+shift+End", r"\x1b[F"),
    ("st", "ctrl+alt+End", r"\x1b[F"),
    ("st", "ctrl+shift+End", r"\x1b[F"),
    // This kitty is older than the letter R's being left to cursor reports.
    ("kitty, flags 1,", "F3", r"\x1b[13~"),
    ("kitty, flags 1,", "shift+F3", r"\x1b[13;2~"),
    ("kitty, flags 1,", "ctrl+F3", r"\x1b[13;5~"),
    ("kitty, flags 1,", "alt+F3", r"\x1b[13;3~"),
    ("kitty, flags 1,", "ctrl+shift+F3", r"\x1b[13;6~"),
    ("kitty, flags 1,", "F3 numlock", r"\x1b[13;129~"),
    ("kitty, flags 1,", "shift+F3 numlock", r"\x1b[13;130~"),
    ("kitty, flags 1,", "ctrl+F3 numlock", r"\x1b[13;133~"),
    // Xterm has the same byte for Ctrl-H, whose own sequence this is.
    ("xterm, level 2,", "ctrl+BackSpace", r"\x1b[27;5;104~"),
];

/// The bytes of each chord.
type Rows = BTreeMap<String, Vec<u8>>;

/// The bytes of each chord in a mode; chords the emulator keeps for itself are not there.
fn rows(table: &str, mode: &str) -> Rows {
    let mut rows = Rows::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let [of, chord, bytes] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        if of == mode && !bytes.is_empty() {
            rows.insert(chord.to_owned(), unescape(bytes));
        }
    }
    assert!(!rows.is_empty(), "nothing was recorded in mode {mode}");
    rows
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next().unwrap() {
            b'x' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            b't' => bytes.push(b'\t'),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            other => bytes.push(other),
        }
    }
    bytes
}

/// What a program with these modes gets in a pane when the emulator sends `bytes`.
fn through_a_pane(emulator: &str, bytes: &[u8], modes: &KeyModes) -> Vec<u8> {
    let (mut parser, mut tokens, mut got) = (Parser::new(), Vec::new(), Vec::new());
    let now = std::time::Instant::now();
    parser.set_kitty(emulator.starts_with("kitty"));
    parser.feed(bytes, now, &mut tokens);
    parser.flush(now, &mut tokens);
    for token in tokens {
        match token.what {
            What::Event(InputEvent::Key(key)) => encode_key(&key, modes, &mut got),
            What::Unknown => got.extend(token.raw),
            what => panic!("{} is {what:?}", bytes.escape_ascii()),
        }
    }
    got
}

/// Compares what a program gets with what it must get, over all chords of which both are known; says how many. Where
/// an emulator has a way of its own, xterm's is right as well.
fn compare(emulator: &str, sent: &Rows, own: &Rows, xterms: Option<&Rows>, modes: &KeyModes) -> usize {
    let (mut compared, mut wrong) = (0, Vec::new());
    for (chord, bytes) in sent {
        let otherwise = OTHERWISE.iter().find(|(of, other, _)| *of == emulator && other == chord);
        let wanted = match otherwise {
            Some((.., bytes)) => vec![unescape(bytes)],
            None => [Some(own), xterms]
                .into_iter()
                .flatten()
                .filter_map(|rows| rows.get(chord))
                .cloned()
                .collect(),
        };
        if !own.contains_key(chord) {
            continue;
        }
        let got = through_a_pane(emulator, bytes, modes);
        compared += 1;
        if !wanted.contains(&got) {
            let [sent, got, wanted] = [bytes, &got, &wanted[0]].map(|bytes| bytes.escape_ascii().to_string());
            wrong.push(format!("{emulator} {chord}: sends {sent}, the program gets {got} and not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    compared
}

fn table(name: &str) -> &'static str {
    TABLES.iter().find(|(of, _)| *of == name).map(|(_, table)| *table).unwrap()
}

#[test]
fn a_program_gets_the_bytes_it_would_get_without_lap() {
    for (emulator, table) in TABLES {
        let (own, xterms) = (rows(table, "plain"), rows(self::table("kitty"), "plain"));
        // These write some keys in their own way, which a program that was started for xterm does not know.
        let xterms = Some(&xterms).filter(|_| ["urxvt", "konsole", "st"].contains(&emulator));
        let compared = compare(emulator, &rows(table, "lap"), &own, xterms, &KeyModes::default());
        assert!(compared >= 200, "{emulator}: only {compared} chords");
    }
}

#[test]
fn a_program_that_asks_for_modify_other_keys_gets_what_xterm_writes() {
    let modes = KeyModes { modify_other_keys: 2, ..KeyModes::default() };
    let asked = rows(table("xterm"), "other2");
    compare("xterm, level 2,", &asked, &asked, None, &modes);
    // From what an emulator sends that does not know it.
    let mut told = rows(table("alacritty"), "lap");
    told.retain(|chord, _| chord == "alt+a" || chord == "ctrl+a");
    assert_eq!(compare("alacritty, level 2,", &told, &asked, None, &modes), 2);
}

#[test]
fn a_program_that_asks_for_kittys_protocol_gets_what_kitty_writes() {
    let modes = KeyModes { kitty: kitty::DISAMBIGUATE, ..KeyModes::default() };
    let kitty = table("kitty");
    compare("kitty, flags 1,", &rows(kitty, "lap"), &rows(kitty, "kitty1"), None, &modes);
}
