//! Keys and their bytes, by the specifications, and laws over all keys.

use crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyEventState, KeyModifiers, MediaKeyCode, ModifierKeyCode,
};
use proptest::prelude::*;

use super::*;

const NONE: KeyModifiers = KeyModifiers::NONE;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;
const ALT: KeyModifiers = KeyModifiers::ALT;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;
const SUPER: KeyModifiers = KeyModifiers::SUPER;

fn encoded(key: &Key, modes: KeyModes) -> String {
    let mut out = Vec::new();
    encode_key(key, &modes, &mut out);
    String::from_utf8(out).unwrap().replace('\x1b', "␛")
}

fn kitty_modes(flags: u8) -> KeyModes {
    KeyModes { kitty: flags, ..KeyModes::default() }
}

/// Key, then plain, application modes, modifyOtherKeys 1 and 2, kitty 1.
type Row = (KeyCode, KeyModifiers, [&'static str; 5]);

#[test]
fn keys_are_written_as_xterm_and_kitty_write_them() {
    let char = KeyCode::Char;
    #[rustfmt::skip]
    let table: &[Row] = &[
        (char('a'), NONE, ["a", "a", "a", "a", "a"]),
        (char('A'), SHIFT, ["A", "A", "A", "␛[27;2;65~", "A"]),
        (char('!'), SHIFT, ["!", "!", "!", "!", "!"]),
        (char('?'), CTRL | SHIFT, ["\x7f", "\x7f", "␛[27;6;63~", "␛[27;6;63~", "␛[63;6u"]),
        (char('@'), CTRL | SHIFT, ["\0", "\0", "\0", "␛[27;6;64~", "␛[64;6u"]),
        (char('a'), CTRL | SHIFT, ["\x01", "\x01", "\x01", "␛[27;6;65~", "␛[97;6u"]),
        (char('é'), NONE, ["é", "é", "é", "é", "é"]),
        (char('a'), ALT, ["␛a", "␛a", "␛a", "␛[27;3;97~", "␛[97;3u"]),
        (char('a'), CTRL, ["\x01", "\x01", "\x01", "␛[27;5;97~", "␛[97;5u"]),
        (char('a'), CTRL | ALT, ["␛\x01", "␛\x01", "␛\x01", "␛[27;7;97~", "␛[97;7u"]),
        (char('c'), CTRL, ["\x03", "\x03", "\x03", "␛[27;5;99~", "␛[99;5u"]),
        (char('d'), CTRL, ["\x04", "\x04", "\x04", "␛[27;5;100~", "␛[100;5u"]),
        (char('z'), CTRL, ["\x1a", "\x1a", "\x1a", "␛[27;5;122~", "␛[122;5u"]),
        (char('\\'), CTRL, ["\x1c", "\x1c", "\x1c", "␛[27;5;92~", "␛[92;5u"]),
        (char(']'), CTRL, ["\x1d", "\x1d", "\x1d", "␛[27;5;93~", "␛[93;5u"]),
        (char(' '), CTRL, ["\0", "\0", "\0", "␛[27;5;32~", "␛[32;5u"]),
        (char('1'), CTRL, ["1", "1", "␛[27;5;49~", "␛[27;5;49~", "␛[49;5u"]),
        (char('a'), SUPER, ["a", "a", "␛[27;9;97~", "␛[27;9;97~", "␛[97;9u"]),
        (KeyCode::Enter, NONE, ["\r", "\r", "\r", "\r", "\r"]),
        (KeyCode::Enter, SHIFT, ["\r", "\r", "␛[27;2;13~", "␛[27;2;13~", "␛[13;2u"]),
        (KeyCode::Enter, ALT, ["␛\r", "␛\r", "␛\r", "␛[27;3;13~", "␛[13;3u"]),
        (KeyCode::Enter, CTRL, ["\r", "\r", "␛[27;5;13~", "␛[27;5;13~", "␛[13;5u"]),
        (KeyCode::Tab, NONE, ["\t", "\t", "\t", "\t", "\t"]),
        (KeyCode::BackTab, SHIFT, ["␛[Z", "␛[Z", "␛[Z", "␛[Z", "␛[9;2u"]),
        (KeyCode::Tab, CTRL, ["\t", "\t", "␛[27;5;9~", "␛[27;5;9~", "␛[9;5u"]),
        (KeyCode::Backspace, NONE, ["\x7f", "\x7f", "\x7f", "\x7f", "\x7f"]),
        (KeyCode::Backspace, CTRL, ["\x08", "\x08", "\x08", "\x08", "␛[127;5u"]),
        (KeyCode::Backspace, ALT, ["␛\x7f", "␛\x7f", "␛\x7f", "␛[27;3;127~", "␛[127;3u"]),
        (KeyCode::Esc, NONE, ["␛", "␛", "␛", "␛", "␛[27u"]),
        (KeyCode::Esc, ALT, ["␛␛", "␛␛", "␛␛", "␛[27;3;27~", "␛[27;3u"]),
        (KeyCode::Up, NONE, ["␛[A", "␛OA", "␛[A", "␛[A", "␛[A"]),
        (KeyCode::Left, CTRL, ["␛[1;5D", "␛[1;5D", "␛[1;5D", "␛[1;5D", "␛[1;5D"]),
        (KeyCode::Home, NONE, ["␛[H", "␛OH", "␛[H", "␛[H", "␛[H"]),
        (KeyCode::End, SHIFT, ["␛[1;2F", "␛[1;2F", "␛[1;2F", "␛[1;2F", "␛[1;2F"]),
        (KeyCode::Insert, NONE, ["␛[2~", "␛[2~", "␛[2~", "␛[2~", "␛[2~"]),
        (KeyCode::Delete, CTRL | SHIFT, ["␛[3;6~", "␛[3;6~", "␛[3;6~", "␛[3;6~", "␛[3;6~"]),
        (KeyCode::PageUp, NONE, ["␛[5~", "␛[5~", "␛[5~", "␛[5~", "␛[5~"]),
        (KeyCode::PageDown, ALT, ["␛[6;3~", "␛[6;3~", "␛[6;3~", "␛[6;3~", "␛[6;3~"]),
        (KeyCode::F(1), NONE, ["␛OP", "␛OP", "␛OP", "␛OP", "␛[P"]),
        (KeyCode::F(3), NONE, ["␛OR", "␛OR", "␛OR", "␛OR", "␛[13~"]),
        (KeyCode::F(3), SHIFT, ["␛[1;2R", "␛[1;2R", "␛[1;2R", "␛[1;2R", "␛[13;2~"]),
        (KeyCode::F(5), NONE, ["␛[15~", "␛[15~", "␛[15~", "␛[15~", "␛[15~"]),
        (KeyCode::F(12), CTRL, ["␛[24;5~", "␛[24;5~", "␛[24;5~", "␛[24;5~", "␛[24;5~"]),
        (KeyCode::F(13), NONE, ["␛[25~", "␛[25~", "␛[25~", "␛[25~", "␛[57376u"]),
    ];
    let application = KeyModes { application_cursor: true, application_keypad: true, ..KeyModes::default() };
    let other = |level| KeyModes { modify_other_keys: level, ..KeyModes::default() };
    let modes = [KeyModes::default(), application, other(1), other(2), kitty_modes(kitty::DISAMBIGUATE)];
    for (code, modifiers, expected) in table {
        let key = Key::new(*code, *modifiers);
        let got = modes.map(|modes| encoded(&key, modes));
        assert_eq!(got, expected.map(str::to_owned), "{code:?} with {modifiers:?}");
    }
}

#[test]
fn kittys_further_flags_tell_more() {
    let key = |code, modifiers, kind| Key { kind, ..Key::new(code, modifiers) };
    let (press, repeat, release) = (KeyEventKind::Press, KeyEventKind::Repeat, KeyEventKind::Release);
    let a = KeyCode::Char('a');
    #[rustfmt::skip]
    let table = [
        // The specification's own examples, and what follows from its rules.
        (key(a, NONE, press), 3, "a"),
        (key(a, NONE, repeat), 3, "a"),
        (key(a, NONE, release), 3, "␛[97;1:3u"),
        (key(a, CTRL, repeat), 3, "␛[97;5:2u"),
        (key(KeyCode::Up, NONE, repeat), 3, "␛[1;1:2A"),
        (key(KeyCode::Up, NONE, release), 1, ""),
        (key(KeyCode::Enter, NONE, release), 3, ""),
        (key(KeyCode::Enter, NONE, release), 11, "␛[13;1:3u"),
        (key(KeyCode::Enter, SHIFT, press), 7, "␛[13;2u"),
        (key(a, NONE, press), 8, "␛[97u"),
        (key(a, SHIFT, press), 12, "␛[97:65;2u"),
        (key(a, SHIFT, press), 24, "␛[97;2;65u"),
        (key(a, NONE, press), 24, "␛[97;;97u"),
        (key(KeyCode::Modifier(ModifierKeyCode::LeftShift), SHIFT, press), 1, ""),
        (key(KeyCode::Modifier(ModifierKeyCode::LeftShift), SHIFT, press), 8, "␛[57441;2u"),
        (key(KeyCode::Tab, NONE, press), 8, "␛[9u"),
        (key(KeyCode::Media(MediaKeyCode::Play), NONE, press), 1, "␛[57428u"),
        (key(KeyCode::Esc, NONE, release), 3, "␛[27;1:3u"),
    ];
    for (key, flags, expected) in table {
        assert_eq!(encoded(&key, kitty_modes(flags)), expected, "{key:?} under {flags}");
    }
    let cyrillic = Key { base: Some('c'), ..Key::new(KeyCode::Char('с'), CTRL) };
    assert_eq!(encoded(&cyrillic, kitty_modes(5)), "␛[1089::99;5u");
}

#[test]
fn ctrl_and_alt_count_by_places_on_keyboards_without_latin_letters() {
    let key = |c, base, modifiers| Key { base: Some(base), ..Key::new(KeyCode::Char(c), modifiers) };
    for (key, expected) in [
        (key('с', 'c', CTRL), "\x03"),
        (key('в', 'd', CTRL), "\x04"),
        (key('ъ', ']', CTRL), "\x1d"),
        (key('ζ', 'z', CTRL), "\x1a"),
        (key('ש', 'a', CTRL), "\x01"),
        (key('é', '2', CTRL), "\0"),
        (key('с', 'c', ALT), "␛c"),
        (key('с', 'c', CTRL | ALT), "␛\x03"),
        (key('с', 'c', NONE), "с"),
        // A keyboard with Latin letters in other places means its letters.
        (key('j', 'c', CTRL), "\n"),
    ] {
        assert_eq!(encoded(&key, KeyModes::default()), expected, "{key:?}");
    }
}

#[test]
fn the_keypad_is_told_apart_where_the_program_asked() {
    let five = Key { state: KeyEventState::KEYPAD, ..Key::new(KeyCode::Char('5'), NONE) };
    let application = KeyModes { application_keypad: true, ..KeyModes::default() };
    assert_eq!(encoded(&five, KeyModes::default()), "5");
    assert_eq!(encoded(&five, application), "␛Ou");
    assert_eq!(encoded(&five, kitty_modes(8)), "␛[57404u");
    let locked = Key { state: KeyEventState::KEYPAD | KeyEventState::NUM_LOCK, ..five };
    assert_eq!(encoded(&locked, application), "5");
}

#[test]
fn enter_is_two_bytes_in_newline_mode() {
    let newline = KeyModes { newline: true, ..KeyModes::default() };
    assert_eq!(encoded(&Key::new(KeyCode::Enter, NONE), newline), "\r\n");
}

fn any_code() -> impl Strategy<Value = KeyCode> {
    prop_oneof![
        // Kitty keeps a private area for keys without text.
        6 => any::<char>()
            .prop_filter("text", |c| !c.is_control() && !functional::KITTY_AREA.contains(&u32::from(*c)))
            .prop_map(KeyCode::Char),
        4 => prop::char::range(' ', '~').prop_map(KeyCode::Char),
        2 => (1..=35u8).prop_map(KeyCode::F),
        6 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Tab, KeyCode::Backspace, KeyCode::Esc, KeyCode::Up, KeyCode::Down, KeyCode::Left,
            KeyCode::Right, KeyCode::Home, KeyCode::End, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Insert,
            KeyCode::Delete, KeyCode::CapsLock, KeyCode::Menu, KeyCode::Pause, KeyCode::PrintScreen,
            KeyCode::Modifier(ModifierKeyCode::RightAlt), KeyCode::Media(MediaKeyCode::PlayPause),
        ]),
    ]
}

fn any_key() -> impl Strategy<Value = Key> {
    let kinds = prop::sample::select(vec![KeyEventKind::Press, KeyEventKind::Repeat, KeyEventKind::Release]);
    (any_code(), 0..64u8, kinds).prop_map(|(code, modifiers, kind)| {
        let modifiers = KeyModifiers::from_bits_truncate(modifiers);
        Key::from(KeyEvent { code, modifiers, kind, state: KeyEventState::NONE })
    })
}

fn parse(bytes: &[u8]) -> Vec<Token> {
    let (mut parser, mut tokens) = (Parser::new(), Vec::new());
    let now = std::time::Instant::now();
    parser.feed(bytes, now, &mut tokens);
    parser.flush(now, &mut tokens);
    tokens
}

proptest! {
    /// Under all of kitty's flags nothing about a key is lost on the way to the program.
    #[test]
    fn what_is_written_is_the_key_that_is_read(key in any_key()) {
        let mut bytes = Vec::new();
        encode_key(&key, &kitty_modes(15), &mut bytes);
        let tokens = parse(&bytes);
        prop_assert_eq!(tokens.len(), 1, "{:?}", bytes);
        let What::Event(InputEvent::Key(read)) = &tokens[0].what else { panic!("{:?} for {key:?}", tokens[0]) };
        prop_assert_eq!(read.kind, key.kind);
        // Shift is told apart from the letter.
        let same = match (key.code, read.code) {
            (KeyCode::Char(c), KeyCode::Char(read)) => read == c || c.to_lowercase().eq([read]),
            (KeyCode::Tab | KeyCode::BackTab, KeyCode::Tab | KeyCode::BackTab) => true,
            (written, read) => written == read,
        };
        prop_assert!(same, "{:?} read as {:?}", key, read);
        prop_assert_eq!(read.modifiers, key.modifiers);
    }

    /// No key a person presses disappears or breaks the stream, whatever the modes; a release never makes text.
    #[test]
    fn every_key_press_reaches_the_program_in_one_sequence(
        key in any_key(), cursor in any::<bool>(), keypad in any::<bool>(), other in 0..3u16, flags in 0..32u8,
    ) {
        let modes = KeyModes {
            application_cursor: cursor,
            application_keypad: keypad,
            newline: false,
            kitty: flags,
            modify_other_keys: other,
        };
        let mut bytes = Vec::new();
        encode_key(&key, &modes, &mut bytes);
        if key.kind == KeyEventKind::Release {
            prop_assert!(bytes.is_empty() || bytes.starts_with(b"\x1b["), "{:?}", bytes);
        } else if matches!(key.code, KeyCode::Char(_) | KeyCode::Enter | KeyCode::Up | KeyCode::F(1..=12)) {
            prop_assert!(!bytes.is_empty());
        }
        prop_assert!(parse(&bytes).len() <= 1, "{:?} makes {:?}", key, bytes);
    }

    /// Whatever arrives, in whatever pieces, every byte is passed on once, and the pieces make no difference.
    #[test]
    fn no_byte_of_input_is_lost_and_pieces_do_not_matter(
        items in prop::collection::vec(prop_oneof![
            any::<Vec<u8>>(),
            Just(b"\x1b[200~pasted\x1b[31m text\x1b[201~".to_vec()),
            Just(b"\x1b]11;rgb:1111/2222/3333\x1b\\".to_vec()),
            Just(b"\x1b[<0;10;20M\x1b[24;80R\x1b[?62;22c".to_vec()),
            any_key().prop_map(|key| {
                let mut bytes = Vec::new();
                encode_key(&key, &kitty_modes(15), &mut bytes);
                bytes
            }),
        ], 0..8),
        cuts in prop::collection::vec(1..9usize, 1..20),
    ) {
        let bytes = items.concat();
        let whole = parse(&bytes);
        let raw: Vec<u8> = whole.iter().flat_map(|token| token.raw.clone()).collect();
        let (mut parser, mut tokens, mut rest, mut i) = (Parser::new(), Vec::new(), &bytes[..], 0);
        let now = std::time::Instant::now();
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(cuts[i % cuts.len()].min(rest.len()));
            parser.feed(piece, now, &mut tokens);
            (rest, i) = (left, i + 1);
        }
        parser.flush(now, &mut tokens);
        prop_assert_eq!(&raw, &bytes);
        // Pasted bytes may come in other pieces.
        let join = |tokens: &[Token]| tokens.iter().fold(Vec::<Token>::new(), |mut joined, token| {
            match joined.last_mut() {
                Some(last) if last.what == What::Pasted && token.what == What::Pasted => {
                    last.raw.extend_from_slice(&token.raw);
                }
                _ => joined.push(token.clone()),
            }
            joined
        });
        prop_assert_eq!(join(&tokens), join(&whole));
    }
}

#[test]
fn answers_are_told_from_keys() {
    let replies: [&[u8]; 9] = [
        b"\x1b[?62;22;52c",
        b"\x1b[>1;10;0c",
        b"\x1b[24;80R",
        b"\x1b[0n",
        b"\x1b[?2026;2$y",
        b"\x1b[8;24;80t",
        b"\x1b]11;rgb:ffff/ffff/ffff\x07",
        b"\x1bP>|XTerm(390)\x1b\\",
        b"\x1b[?1u",
    ];
    for reply in replies {
        let tokens = parse(reply);
        assert_eq!(tokens.len(), 1, "{tokens:?}");
        assert_eq!(tokens[0].what, What::Reply, "{:?}", String::from_utf8_lossy(reply));
    }
    for key in [&b"\x1b[1;2R"[..], b"\x1bOR", b"\x1b[13;2u", b"\x1b[A", b"x", b"\x1b", b"\x1b[", b"\x1b]"] {
        assert!(matches!(parse(key)[..], [Token { what: What::Event(InputEvent::Key(_)), .. }]), "{key:?}");
    }
}

#[test]
fn the_mouse_and_the_focus_are_read() {
    use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
    let event = |bytes: &[u8]| parse(bytes).remove(0).what;
    let mouse = |kind, column, row, modifiers| {
        What::Event(InputEvent::Mouse(MouseEvent { kind, column, row, modifiers }))
    };
    let down = MouseEventKind::Down(MouseButton::Left);
    for bytes in [&b"\x1b[<0;10;20M"[..], b"\x1b[32;10;20M", b"\x1b[M \x2a\x34"] {
        assert_eq!(event(bytes), mouse(down, 9, 19, NONE));
    }
    assert_eq!(event(b"\x1b[<2;1;1m"), mouse(MouseEventKind::Up(MouseButton::Right), 0, 0, NONE));
    assert_eq!(event(b"\x1b[<65;3;4M"), mouse(MouseEventKind::ScrollDown, 2, 3, NONE));
    assert_eq!(event(b"\x1b[<36;3;4M"), mouse(MouseEventKind::Drag(MouseButton::Left), 2, 3, SHIFT));
    assert_eq!(event(b"\x1b[I"), What::Event(InputEvent::Focus(true)));
    assert_eq!(event(b"\x1b[O"), What::Event(InputEvent::Focus(false)));
}
