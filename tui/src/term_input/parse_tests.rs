//! Input that arrives in pieces, with pauses between them.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyModifiers};
use proptest::prelude::*;

use super::*;

/// A line on which pieces arrive, and a clock that is turned by hand.
struct Line {
    parser: Parser,
    now: Instant,
    tokens: Vec<Token>,
}

impl Line {
    fn new() -> Line {
        Line { parser: Parser::new(), now: Instant::now(), tokens: Vec::new() }
    }

    fn after(&mut self, pause: Duration) -> &mut Line {
        let until = self.now + pause;
        while let Some(due) = self.parser.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.parser.tick(self.now, &mut self.tokens);
        }
        self.now = until;
        self
    }

    fn ms(&mut self, pause: u64) -> &mut Line {
        self.after(Duration::from_millis(pause))
    }

    fn got(&mut self, bytes: impl AsRef<[u8]>) -> &mut Line {
        self.parser.feed(bytes.as_ref(), self.now, &mut self.tokens);
        self
    }

    /// What the person typed, by the tokens since last asked: keys by name, the rest by kind.
    fn said(&mut self) -> Vec<String> {
        self.tokens.drain(..).map(|token| said(&token.what)).collect()
    }
}

fn said(what: &What) -> String {
    match what {
        What::Event(InputEvent::Key(key)) => crate::panes::key_name(key),
        What::Event(InputEvent::Mouse(_)) => "mouse".into(),
        What::Event(other) => format!("{other:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_sequence_that_comes_in_two_pieces_is_never_typed() {
    // Each cut at every place, with a pause as long as a slow link's between the pieces.
    let sequences: [&[u8]; 14] = [
        b"\x1b[<35;10;5M",
        b"\x1b[<0;120;44m",
        b"\x1b[1;5C",
        b"\x1b[3~",
        b"\x1b[57441;2:3u",
        b"\x1b[27;6;63~",
        b"\x1b[24;80R",
        b"\x1b[?62;22;52c",
        b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\",
        b"\x1b]10;rgb:0000/1111/2222\x07",
        b"\x1bP1$r2 q\x1b\\",
        b"\x1b[200~",
        b"\x1b[I",
        "漢".as_bytes(),
    ];
    for sequence in sequences {
        let whole = Line::new().got(sequence).said();
        for cut in 1..sequence.len() {
            for pause in [5, 40, 300, 1500] {
                let (begin, rest) = sequence.split_at(cut);
                let told = Line::new().got(begin).ms(pause).got(rest).ms(6000).said();
                let shown = format!("{} cut at {cut}, {pause} ms: {told:?}", sequence.escape_ascii());
                // An Escape alone may be the key; what follows is still what it was.
                let key = ["Esc", "Alt-[", "Alt-]", "Alt-P"];
                let told: Vec<String> = match told.split_first() {
                    Some((first, rest)) if cut <= 2 && key.contains(&first.as_str()) => rest.to_vec(),
                    _ => told,
                };
                // One letter after an Escape that was taken for a key is that letter.
                let letter = sequence == b"\x1b[I" && cut <= 2 && pause > 15;
                assert!(told == whole || letter, "{shown}");
            }
        }
    }
}

#[test]
fn the_bytes_of_pieces_are_passed_on_once_and_in_order() {
    for cut in 1..11 {
        let (begin, rest) = b"\x1b[<35;10;5Mx".split_at(cut);
        let mut line = Line::new();
        line.got(begin).ms(50).got(rest).ms(50);
        let raw: Vec<u8> = line.tokens.iter().flat_map(|token| token.raw.clone()).collect();
        assert_eq!(raw, b"\x1b[<35;10;5Mx", "cut at {cut}");
        assert_eq!(line.said().last().map(String::as_str), Some("x"));
    }
}

#[test]
fn escape_and_alt_are_keys_after_a_moment() {
    let cases: [(&[u8], &[&str]); 9] = [
        (b"\x1b", &["Esc"]),
        (b"\x1b\x1b", &["Alt-Esc"]),
        (b"\x1b[", &["Alt-["]),
        (b"\x1b]", &["Alt-]"]),
        (b"\x1bO", &["Alt-O"]),
        (b"\x1bP", &["Alt-P"]),
        (b"\x1b_", &["Alt-_"]),
        (b"\x1bO5", &["Alt-O", "5"]),
        (b"\x1bx", &["Alt-x"]),
    ];
    for (bytes, keys) in cases {
        let mut line = Line::new();
        assert_eq!(line.got(bytes).ms(20).said(), keys, "{}", bytes.escape_ascii());
        assert_eq!(line.parser.deadline(), None);
        // And typing goes on.
        assert_eq!(line.ms(30).got("a").said(), ["a"]);
    }
    // What no answer begins with is no answer, however fast it comes.
    assert_eq!(Line::new().got("\x1b]x").said(), ["Alt-]", "x"]);
    assert_eq!(Line::new().got("\x1bPow").said(), ["Alt-P", "o", "w"]);
    assert_eq!(Line::new().got("\x1b^\x1bX").said(), ["Alt-^", "Alt-X"]);
}

#[test]
fn keys_typed_after_escape_stay_keys() {
    let mut line = Line::new();
    for (key, name) in [("\x1b", "Esc"), ("[", "["), ("5", "5"), ("O", "O"), ("A", "A"), ("]", "]")] {
        assert_eq!(line.got(key).ms(20).said(), [name]);
    }
}

#[test]
fn what_never_ends_is_given_up_as_a_whole_and_not_typed() {
    for begun in ["\x1b[<35;1", "\x1b]11;rgb:ff", "\x1bP1$r2", "\x1b[M1", "\x1b[27;5;9"] {
        let mut line = Line::new();
        assert_eq!(line.got(begun).ms(4000).said(), Vec::<String>::new(), "{begun:?}");
        assert_eq!(line.ms(1500).said(), ["Broken"], "{begun:?}");
        assert_eq!(line.got("q").said(), ["q"], "{begun:?}");
    }
    // A control key does not wait for the end of a string or a sequence.
    for begun in ["\x1b]11;rgb:ff", "\x1b[<35;1", "\x1bP1$r"] {
        assert_eq!(Line::new().got(begun).ms(100).got("\x03").said(), ["Broken", "Ctrl-c"], "{begun:?}");
    }
    let long = [b"\x1b]52;c;".to_vec(), vec![b'A'; 200_000]].concat();
    let mut line = Line::new();
    line.got(long);
    assert_eq!(line.tokens.first().map(|token| token.what.clone()), Some(What::Broken), "it is bounded");
}

#[test]
fn a_paste_in_pieces_is_a_paste() {
    let paste = b"\x1b[200~rm -rf x\rls\r\x1b[201~";
    for cut in 1..paste.len() {
        let (begin, rest) = paste.split_at(cut);
        let mut line = Line::new();
        line.got(begin).ms(700).got(rest).ms(20);
        let mut kinds = line.said();
        kinds.retain(|kind| kind != "Esc" && kind != "Alt-[" && kind != "Pasted");
        assert_eq!(kinds, ["PasteBegin", "PasteEnd"], "cut at {cut}");
    }
    // Also on a line that brings a few bytes at a time, without an end to it.
    let mut line = Line::new();
    line.got("\x1b[200~");
    for _ in 0..1000 {
        line.ms(9).got("ls\r");
    }
    line.ms(9).got("\x1b[201~");
    let mut kinds = line.said();
    kinds.dedup();
    assert_eq!(kinds, ["PasteBegin", "Pasted", "PasteEnd"]);
}

#[test]
fn a_paste_that_never_ends_does_not_take_the_keys() {
    for tail in ["x", "", "echo\r", "\x1b[20", "\x1b"] {
        let mut line = Line::new();
        line.got(format!("\x1b[200~{tail}")).ms(1500).said();
        assert_eq!(line.got("\x1d").said().last().map(String::as_str), Some("Ctrl-]"), "{tail:?}");
        assert_eq!(line.got("d").said(), ["d"], "{tail:?}");
    }
    // Somebody who presses keys all the time gets out as well.
    let mut line = Line::new();
    line.got("\x1b[200~x");
    let mut pressed = 0;
    while !line.said().contains(&"Ctrl-c".to_owned()) {
        line.ms(300).got("\x03");
        pressed += 1;
        assert!(pressed < 10);
    }
    // What is stalled and then goes on in bulk is still a paste.
    let mut line = Line::new();
    line.got("\x1b[200~one\r").ms(10_000).got("two\r".repeat(20)).ms(10).got("\x1b[201~");
    assert_eq!(line.said(), ["PasteBegin", "Pasted", "Pasted", "PasteEnd"]);
}

#[test]
fn a_cursor_report_counts_where_one_was_asked_for() {
    let f3 = |modifiers| InputEvent::Key(Key::new(KeyCode::F(3), modifiers));
    let (none, ctrl) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
    // F3 with locks on, as kitty and foot write it.
    for (bytes, modifiers) in
        [("\x1b[1;129R", none), ("\x1b[1;133R", ctrl), ("\x1b[1;65R", none), ("\x1b[1;5R", ctrl)]
    {
        let mut line = Line::new();
        line.got(bytes);
        let [Token { what: What::Event(InputEvent::Key(key)), .. }] = &line.tokens[..] else {
            panic!("{bytes:?}: {:?}", line.tokens)
        };
        let key = InputEvent::Key(Key { state: crossterm::event::KeyEventState::NONE, ..key.clone() });
        assert_eq!(key, f3(modifiers), "{bytes:?}");
        line.tokens.clear();
        line.parser.expect_report();
        assert_eq!(line.got(bytes).said(), ["Reply"], "{bytes:?}");
        assert_ne!(line.got(bytes).said(), ["Reply"], "{bytes:?}: only once");
    }
    assert_eq!(Line::new().got("\x1b[24;80R").said(), ["Reply"]);
}

#[test]
fn what_rxvt_and_the_console_write_are_keys() {
    let cases = [
        ("\x1b[a", "Shift-Up"),
        ("\x1b[d", "Shift-Left"),
        ("\x1bOd", "Ctrl-Left"),
        ("\x1b\x1b[d", "Alt-Shift-Left"),
        ("\x1b\x1bOa", "Ctrl-Alt-Up"),
        ("\x1b[7~", "Home"),
        ("\x1b[7^", "Ctrl-Home"),
        ("\x1b[8@", "Ctrl-Shift-End"),
        ("\x1b[3$", "Shift-Delete"),
        ("\x1b[5$", "Shift-PageUp"),
        ("\x1b[11^", "Ctrl-F1"),
        ("\x1b\x1b[3$", "Alt-Shift-Delete"),
        ("\x1b[[C", "F3"),
        ("\x1bO5C", "Ctrl-Right"),
        ("\x1bO2P", "Shift-F1"),
    ];
    for (bytes, name) in cases {
        let mut line = Line::new();
        line.got(bytes);
        let [Token { what: What::Event(InputEvent::Key(key)), .. }] = &line.tokens[..] else {
            panic!("{bytes:?}: {:?}", line.tokens)
        };
        let shift = if key.modifiers.contains(KeyModifiers::SHIFT) { "Shift-" } else { "" };
        let named = crate::panes::key_name(&Key { modifiers: KeyModifiers::NONE, ..key.clone() });
        let mods = [(KeyModifiers::CONTROL, "Ctrl-"), (KeyModifiers::ALT, "Alt-")];
        let mods: String =
            mods.iter().filter(|(m, _)| key.modifiers.contains(*m)).map(|(_, name)| *name).collect();
        let named = named.replace("Page Up", "PageUp").replace("Del", "Delete");
        assert_eq!(format!("{mods}{shift}{named}"), name, "{bytes:?}");
    }
}

#[test]
fn a_key_that_is_not_known_is_kept_whole() {
    for bytes in ["\x1b[57500;5u", "\x1b[99~", "\x1b[J", "\x1b[2K", "\x1b[1;2y"] {
        let mut line = Line::new();
        line.got(bytes);
        let [token] = &line.tokens[..] else { panic!("{bytes:?}: {:?}", line.tokens) };
        assert_eq!(token.raw, bytes.as_bytes());
        assert!(matches!(token.what, What::Unknown | What::Reply), "{bytes:?}: {token:?}");
    }
}

proptest! {
    /// However input is cut and however long the pauses are, each of its bytes is given out once and in order, and
    /// nothing waits for longer than the limit.
    #[test]
    fn no_pause_loses_a_byte(
        pieces in prop::collection::vec((
            prop_oneof![
                any::<Vec<u8>>(),
                prop::sample::select(vec![
                    "\x1b", "\x1b[", "[<35;1", "0;5M", "\x1b[200~", "\x1b[201~", "text", "\x1b]11;rgb:f", "f/0/0\x07",
                    "\x1bO", "A", "\x1bP1$r", "\x1b\\", "\x1b[1;129R", "[3~", "]10;rgb:",
                ]).prop_map(|s| s.as_bytes().to_vec()),
            ],
            0..2500u64,
        ), 0..20),
    ) {
        let mut line = Line::new();
        let mut all = Vec::new();
        for (piece, pause) in pieces {
            all.extend_from_slice(&piece);
            line.got(piece).ms(pause);
        }
        line.ms(6000);
        let raw: Vec<u8> = line.tokens.iter().flat_map(|token| token.raw.clone()).collect();
        prop_assert_eq!(raw, all);
        prop_assert_eq!(line.parser.deadline(), None);
    }
}
