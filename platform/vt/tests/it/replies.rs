//! What a terminal tells: answers to a program's questions, and calls for attention.

use lap_vt::{
    AgentState, BACKGROUND, DefaultColors, Event, Limits, MouseEncoding, MouseTracking, Progress, Rgb, Size,
    Terminal,
};

fn terminal() -> Terminal {
    Terminal::new(Size { cols: 80, rows: 24 }, Limits::default())
}

fn told(stream: &str) -> Vec<Event> {
    let mut terminal = terminal();
    terminal.feed(stream.as_bytes());
    terminal.events().collect()
}

/// All answers in one string.
fn answer(stream: &str) -> String {
    let replies = told(stream).into_iter().map(|event| match event {
        Event::Reply(bytes) => String::from_utf8(bytes).expect("answers are ASCII"),
        other => panic!("{other:?}"),
    });
    replies.collect()
}

#[test]
fn questions_about_the_terminal_are_answered() {
    for (question, expected) in [
        ("\x1b[c", "\x1b[?62;22;52c"),
        ("\x1bZ", "\x1b[?62;22;52c"),
        ("\x1b[>c", "\x1b[>1;10;0c"),
        ("\x1b[=c", "\x1bP!|00000000\x1b\\"),
        ("\x1b[>0q", concat!("\x1bP>|lap(", env!("CARGO_PKG_VERSION"), ")\x1b\\")),
        ("\x1b[5n", "\x1b[0n"),
        ("\x1b[3;7H\x1b[6n", "\x1b[3;7R"),
        ("\x1b[5;20r\x1b[?6h\x1b[2;3H\x1b[6n", "\x1b[2;3R"),
        ("\x1b[3;7H\x1b[?6n", "\x1b[?3;7;1R"),
        ("\x1b[14t\x1b[16t\x1b[18t", "\x1b[4;480;800t\x1b[6;20;10t\x1b[8;24;80t"),
        ("\x1b]2;secret\x07\x1b[21t", "\x1b]l\x1b\\"),
    ] {
        let answers: String = answer_among_titles(question);
        assert_eq!(answers, expected, "{}", question.escape_debug());
    }
}

fn answer_among_titles(stream: &str) -> String {
    let replies = told(stream).into_iter().filter_map(|event| match event {
        Event::Reply(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    });
    replies.collect()
}

#[test]
fn modes_are_reported_as_they_are() {
    assert_eq!(answer("\x1b[?2026$p\x1b[?2026h\x1b[?2026$p"), "\x1b[?2026;2$y\x1b[?2026;1$y");
    assert_eq!(answer("\x1b[?7$p\x1b[4$p\x1b[?1049$p"), "\x1b[?7;1$y\x1b[4;2$y\x1b[?1049;2$y");
    assert_eq!(
        answer("\x1b[?69$p\x1b[?2027$p\x1b[99$p"),
        "\x1b[?69;0$y\x1b[?2027;0$y\x1b[99;0$y",
        "not to be relied on"
    );
    assert_eq!(answer("\x1b[>5u\x1b[?u\x1b[=8;2u\x1b[?u\x1b[<u\x1b[?u"), "\x1b[?5u\x1b[?13u\x1b[?0u");
    assert_eq!(answer("\x1b[>4;2m\x1b[?4m"), "\x1b[>4;2m");
    assert_eq!(answer("\x1b[?2048h"), "\x1b[48;24;80;480;800t");
}

#[test]
fn colours_are_reported_as_the_question_was_asked() {
    assert_eq!(answer("\x1b]11;?\x07"), "\x1b]11;rgb:0000/0000/0000\x07");
    assert_eq!(
        answer("\x1b]10;?;?\x1b\\"),
        "\x1b]10;rgb:e5e5/e5e5/e5e5\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\"
    );
    assert_eq!(
        answer("\x1b]4;1;?;2;?\x07"),
        "\x1b]4;1;rgb:cdcd/0000/0000\x07\x1b]4;2;rgb:0000/cdcd/0000\x07"
    );
    assert_eq!(answer("\x1b]4;1;#102030\x07\x1b]4;1;?\x07"), "\x1b]4;1;rgb:1010/2020/3030\x07");
    assert_eq!(answer("\x1b]11;#fff\x07\x1b]111\x07\x1b]11;?\x07"), "\x1b]11;rgb:0000/0000/0000\x07");
    let mut light = terminal();
    light.set_default_colors(DefaultColors { background: Rgb(255, 255, 255), ..DefaultColors::default() });
    light.feed(b"\x1b[?996n\x1b]11;?\x07");
    let replies: Vec<Event> = light.events().collect();
    assert_eq!(replies[0], Event::Reply(b"\x1b[?997;2n".to_vec()));
    assert_eq!(replies[1], Event::Reply(b"\x1b]11;rgb:ffff/ffff/ffff\x07".to_vec()));
}

#[test]
fn settings_and_capabilities_are_reported() {
    assert_eq!(answer("\x1b[1;38;2;1;2;3m\x1bP$qm\x1b\\"), "\x1bP1$r0;1;38;2;1;2;3m\x1b\\");
    assert_eq!(
        answer("\x1b[3;9r\x1bP$qr\x1b\\\x1b[4 q\x1bP$q q\x1b\\"),
        "\x1bP1$r3;9r\x1b\\\x1bP1$r4 q\x1b\\"
    );
    assert_eq!(answer("\x1bP$qx\x1b\\"), "\x1bP0$r\x1b\\");
    assert_eq!(answer("\x1bP$qm\x18"), "", "cancelled");
    assert_eq!(answer("\x1bP+q436f;626c6168\x1b\\"), "\x1bP1+r436f=323536\x1b\\\x1bP0+r626c6168\x1b\\");
    assert_eq!(answer("\x1bPq#0;2;0;0;0~-\x1b\\"), "", "a picture is no question");
}

#[test]
fn replies_can_be_left_to_another_terminal() {
    let mut quiet = terminal();
    quiet.set_replies(false);
    quiet.feed(b"\x1b[c\x1b]11;?\x07\x07");
    assert_eq!(quiet.events().collect::<Vec<_>>(), [Event::Bell]);
}

#[test]
fn calls_for_attention_come_as_events() {
    let note = |title: &str, body: &str| Event::Notification { title: title.into(), body: body.into() };
    for (stream, expected) in [
        ("\x07\x07", vec![Event::Bell]),
        ("\x1b]0;a\x07\x1b]2;b;c\x1b\\", vec![Event::Title("b;c".into())]),
        ("\x1b]9;done\x07", vec![note("", "done")]),
        ("\x1b]777;notify;title;body; and more\x07", vec![note("title", "body; and more")]),
        (
            "\x1b]99;i=1:d=0;title\x1b\\\x1b]99;i=1:p=body;text\x1b\\",
            vec![note("title", ""), note("", "text")],
        ),
        ("\x1b]99;e=1;aGVsbG8=\x07", vec![note("hello", "")]),
        (
            "\x1b]9;4;1;40\x07\x1b]9;4;3\x07\x1b]9;4;0\x07",
            [Progress::Running(40), Progress::Indeterminate, Progress::None].map(Event::Progress).into(),
        ),
        (
            "\x1b]7501;state=working\x07\x1b]7501;a=b;state=idle\x1b\\",
            [AgentState::Working, AgentState::Idle].map(Event::State).into(),
        ),
        ("\x1b]52;c;aGVsbG8=\x07", vec![Event::Clipboard { selection: "c".into(), data: b"hello".to_vec() }]),
        ("\x1b]52;c;?\x07\x1b]52;c;!!\x07\x1b]9;2;box\x07\x1b]2;gone\x18\x1b]7501;state=x\x07", vec![]),
    ] {
        assert_eq!(told(stream), expected, "{}", stream.escape_debug());
    }
}

#[test]
fn a_title_has_no_control_characters_and_an_end() {
    let mut titled = terminal();
    titled.feed("\x1b]2;a\u{9c}b\x01c\x07".as_bytes());
    assert_eq!(titled.title(), Some("abc"));
    titled.feed(format!("\x1b]2;{}\x07", "漢".repeat(5000)).as_bytes());
    assert!(titled.title().is_some_and(|title| title.len() <= 1024 && title.len() > 1020));
}

#[test]
fn modes_and_colours_can_be_read() {
    let mut set = terminal();
    set.feed(b"\x1b[?1h\x1b=\x1b[?2004h\x1b[?1002h\x1b[?1006h\x1b[?1004h\x1b[?2026h\x1b[>7u\x1b[>4;1m\x1b[?1049h\x1b[5 q\x1b[?25l\x1b]11;#123456\x07");
    let modes = set.modes();
    assert!(
        modes.application_cursor && modes.application_keypad && modes.bracketed_paste && modes.focus_events
    );
    assert!(modes.synchronized_output && modes.alternate_screen);
    assert_eq!((modes.mouse, modes.mouse_encoding), (MouseTracking::Button, MouseEncoding::Sgr));
    assert_eq!(
        (modes.kitty_keyboard, modes.modify_other_keys),
        (0, 1),
        "each screen has its own keyboard stack"
    );
    assert_eq!(set.colors().dynamic.get(&BACKGROUND), Some(&Rgb(0x12, 0x34, 0x56)));
    assert!(!set.cursor().visible && set.cursor().blinking);
    set.feed(b"\x1b[?1049l");
    assert_eq!(set.modes().kitty_keyboard, 7);
}
