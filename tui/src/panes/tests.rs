//! Panes as their user meets them: events in, effects and a screen out.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lap_platform::client::attach::{ChannelEvent, Command, Event, Link, Opened};
use lap_wire::control::{ExitStatus, How, Mode, Size, Viewer};
use lap_wire::{ChannelId, Epoch};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::*;
use crate::term_input::{InputEvent, Key};

const AREA: Rect = Rect { x: 0, y: 0, width: 61, height: 12 };
const NONE: KeyModifiers = KeyModifiers::NONE;

pub(super) struct Stage {
    pub(super) panes: Panes,
    pub(super) now: Instant,
    effects: Vec<Effect>,
}

impl Stage {
    pub(super) fn new() -> Stage {
        let mut panes = Panes::new(PanesConfig::default());
        let effects = panes.set_area(AREA);
        Stage { panes, now: Instant::now(), effects }
    }

    /// A pane whose terminal has taken the size that was asked for.
    pub(super) fn open(&mut self, name: &str, place: Place) -> ChannelId {
        let session = PaneSession { id: name.into(), name: name.into() };
        let effects = self.panes.open(session, Mode::Interact, place);
        let opened = effects.iter().find_map(|effect| match effect {
            Effect::Attach(Command::Open { channel, spec }) => Some((*channel, spec.size.unwrap())),
            _ => None,
        });
        self.effects.extend(effects);
        let (channel, size) = opened.unwrap();
        self.opened(channel, size, 0);
        self.snapshot(channel, 0, "");
        channel
    }

    pub(super) fn opened(&mut self, channel: ChannelId, size: Size, head: u64) {
        let opened = Opened {
            epoch: Epoch(1),
            offset: 0,
            head,
            how: How::Snapshot,
            size,
            mode: Mode::Interact,
            title: None,
        };
        self.event(channel, ChannelEvent::Opened(opened));
    }

    pub(super) fn snapshot(&mut self, channel: ChannelId, offset: u64, bytes: &str) {
        self.event(channel, ChannelEvent::Snapshot { offset, bytes: bytes.to_owned().into() });
    }

    pub(super) fn output(&mut self, channel: ChannelId, offset: u64, bytes: &str) {
        self.event(channel, ChannelEvent::Output { offset, bytes: bytes.to_owned().into() });
    }

    pub(super) fn event(&mut self, channel: ChannelId, event: ChannelEvent) {
        self.handle(PaneEvent::Attach(Event::Channel(channel, event)));
    }

    pub(super) fn handle(&mut self, event: PaneEvent) {
        let effects = self.panes.handle(event, self.now);
        self.effects.extend(effects);
    }

    pub(super) fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.handle(PaneEvent::Input(InputEvent::Key(Key::new(code, modifiers))));
    }

    /// The prefix, then a key.
    pub(super) fn command(&mut self, c: char) {
        self.press(KeyCode::Char(']'), KeyModifiers::CONTROL);
        self.press(KeyCode::Char(c), NONE);
    }

    pub(super) fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16, modifiers: KeyModifiers) {
        self.handle(PaneEvent::Input(InputEvent::Mouse(MouseEvent { kind, column, row, modifiers })));
    }

    /// What was typed into a channel since last asked.
    pub(super) fn typed(&mut self, into: ChannelId) -> String {
        let mut typed = String::new();
        self.effects.retain(|effect| match effect {
            Effect::Attach(Command::Input { channel, bytes, .. }) if *channel == into => {
                typed.push_str(std::str::from_utf8(bytes).unwrap());
                false
            }
            _ => true,
        });
        typed
    }

    pub(super) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn screen(&self) -> Vec<String> {
        let mut buf = Buffer::empty(AREA);
        self.panes.render(&mut buf, &PaneStyle::default());
        (0..AREA.height)
            .map(|y| (0..AREA.width).map(|x| buf[(x, y)].symbol()).collect::<String>().trim_end().to_owned())
            .collect()
    }

    pub(super) fn cursor(&self) -> Option<(u16, u16)> {
        let shown = self.panes.render(&mut Buffer::empty(AREA), &PaneStyle::default());
        shown.map(|cursor| (cursor.position.x, cursor.position.y))
    }
}

#[test]
fn every_key_but_the_prefix_reaches_the_program_as_it_asked_for_it() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    for (code, modifiers) in
        [('c', KeyModifiers::CONTROL), ('d', KeyModifiers::CONTROL), ('\\', KeyModifiers::CONTROL)]
    {
        stage.press(KeyCode::Char(code), modifiers);
    }
    stage.press(KeyCode::Up, NONE);
    stage.press(KeyCode::Enter, KeyModifiers::SHIFT);
    assert_eq!(stage.typed(a), "\x03\x04\x1c\x1b[A\r");
    stage.output(a, 0, "\x1b[?1h\x1b[>1u");
    stage.press(KeyCode::Up, NONE);
    stage.press(KeyCode::Enter, KeyModifiers::SHIFT);
    assert_eq!(stage.typed(a), "\x1bOA\x1b[13;2u");
    stage.press(KeyCode::Char(']'), KeyModifiers::CONTROL);
    assert_eq!(stage.typed(a), "", "the prefix is ours");
    assert!(!stage.panes.hints().is_empty());
    stage.press(KeyCode::Char(']'), KeyModifiers::CONTROL);
    assert_eq!(stage.typed(a), "\x1b[93;5u", "pressed twice it is the program's");
    stage.press(KeyCode::Char('d'), NONE);
    assert_eq!(stage.typed(a), "d");
    stage.command('d');
    assert!(stage.take().contains(&Effect::Leave));
}

#[test]
fn a_split_shares_the_room_and_both_terminals_are_told() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.command('%');
    assert!(stage.take().contains(&Effect::Choose(Place::Right)));
    let b = stage.open("b", Place::Right);
    let size = Size { cols: 30, rows: 11 };
    let effects = stage.take();
    assert!(effects.contains(&Effect::Attach(Command::Resize { channel: a, size })), "{effects:?}");
    stage.event(a, ChannelEvent::Resized { size });
    stage.snapshot(a, 0, "left");
    stage.output(b, 0, "right\r\n$ ");
    let screen = stage.screen();
    assert!(screen[0].starts_with("─ a ──") && screen[0].contains("│─ b ──"), "{}", screen[0]);
    assert_eq!(screen[1], format!("{:30}│right", "left"));
    assert_eq!(stage.cursor(), Some((33, 2)));
    stage.command('h');
    assert_eq!(stage.panes.focused().unwrap().id, "a");
    stage.press(KeyCode::Char('x'), NONE);
    assert_eq!((stage.typed(a), stage.typed(b)), ("x".into(), String::new()));
}

#[test]
fn a_pane_that_is_not_seen_is_sent_nothing() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let b = stage.open("b", Place::Down);
    stage.take();
    stage.command('z');
    let visible = |channel, visible| Effect::Attach(Command::Visible { channel, visible });
    let effects = stage.take();
    assert!(effects.contains(&visible(a, false)) && !effects.contains(&visible(b, false)), "{effects:?}");
    assert!(stage.screen()[0].contains("zoomed, 1 more"));
    stage.command('z');
    assert!(stage.take().contains(&visible(a, true)));
    let effects = stage.panes.set_shown(false);
    assert!(effects.contains(&visible(a, false)) && effects.contains(&visible(b, false)));
}

#[test]
fn closing_panes_ends_their_channels_and_leaves_the_rest_the_room() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let b = stage.open("b", Place::Right);
    stage.take();
    stage.command('x');
    let effects = stage.take();
    assert!(effects.contains(&Effect::Attach(Command::Close { channel: b })));
    assert_eq!(stage.panes.focused().unwrap().id, "a");
    stage.command('x');
    let effects = stage.take();
    assert!(
        effects.contains(&Effect::Attach(Command::Close { channel: a })) && effects.contains(&Effect::Empty)
    );
    assert!(stage.panes.is_empty());
}

#[test]
fn only_queries_newer_than_the_opening_are_answered() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.opened(a, Size { cols: 61, rows: 11 }, 8);
    stage.snapshot(a, 0, "\x1b[6n");
    assert_eq!(stage.typed(a), "", "a snapshot asks nothing");
    stage.output(a, 0, "\x1b[6n\x1b[6n\x1b[6n");
    let replies: Vec<Effect> =
        stage.take().into_iter().filter(|e| matches!(e, Effect::Attach(Command::Input { .. }))).collect();
    let expected = Command::Input { channel: a, bytes: "\x1b[1;1R".into(), reply: true };
    assert_eq!(replies, [Effect::Attach(expected)]);
}

#[test]
fn what_was_read_is_acknowledged_when_it_is_in_the_model() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.take();
    stage.snapshot(a, 100, "x");
    stage.output(a, 100, "abcde");
    let offsets: Vec<u64> = stage
        .take()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Attach(Command::Processed { offset, .. }) => Some(offset),
            _ => None,
        })
        .collect();
    assert_eq!(offsets, [100, 105]);
}

#[test]
fn a_terminal_of_another_size_is_shown_as_it_is_and_said_so() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.event(a, ChannelEvent::Resized { size: Size { cols: 40, rows: 5 } });
    stage.snapshot(a, 0, "small");
    let ana = Viewer {
        id: 3,
        name: "ana".into(),
        person: String::new(),
        mode: Mode::Interact,
        size: None,
        active: true,
        you: false,
    };
    stage.event(a, ChannelEvent::Presence(vec![ana]));
    let screen = stage.screen();
    assert!(screen[0].contains("40×5, ana's size"), "{}", screen[0]);
    assert_eq!(screen[1], format!("small{}{}", " ".repeat(35), "·".repeat(21)));
    assert_eq!(screen[6], "·".repeat(61));
    stage.event(a, ChannelEvent::Resized { size: Size { cols: 61, rows: 30 } });
    stage.snapshot(a, 0, "\x1b[30;1Hlast row");
    assert_eq!(stage.screen()[11], "last row", "of a larger one the rows around the cursor");
}

#[test]
fn a_lost_connection_is_counted_down_and_a_key_ends_the_wait() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.output(a, 0, "still here");
    let retry_in = Duration::from_millis(2500);
    let link = Link::Reconnecting { attempt: 3, retry_in, reason: "nothing answers at the server".into() };
    stage.handle(PaneEvent::Attach(Event::Link(link)));
    let screen = stage.screen();
    assert!(screen[0].contains("reconnecting in 3 s"), "{}", screen[0]);
    assert_eq!(screen[1], "still here");
    assert!(screen[10].contains("nothing answers"), "{}", screen[10]);
    assert!(
        screen[11].contains("r reconnects now"),
        "what does not fit in a row goes on below: {}",
        screen[11]
    );
    let due = stage.panes.deadline().unwrap();
    assert!(due > stage.now && due <= stage.now + Duration::from_secs(1));
    stage.now = due;
    stage.panes.take_dirty();
    stage.handle(PaneEvent::Tick);
    assert!(
        stage.panes.take_dirty() && stage.screen()[0].contains("reconnecting in 2 s"),
        "{}",
        stage.screen()[0]
    );
    stage.command('r');
    assert!(stage.take().contains(&Effect::Reconnect));
    let link = Link::Connected { server: "lap".into(), restarted: true };
    stage.handle(PaneEvent::Attach(Event::Link(link)));
    assert!(!stage.screen()[0].contains("reconnecting"));
    assert_eq!(stage.panes.deadline(), None, "nothing wakes an idle pane");
}

#[test]
fn an_ended_program_leaves_its_screen_and_a_way_on() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.output(a, 0, "last words");
    stage.event(a, ChannelEvent::Exit(ExitStatus { code: Some(3), signal: None, at_ms: 0 }));
    stage.event(a, ChannelEvent::Closed { reason: "the program has ended".into() });
    let screen = stage.screen();
    assert_eq!(screen[1], "last words");
    assert!(screen[0].contains("exited with status 3") && screen.concat().contains("r starts it again"));
    stage.press(KeyCode::Char('r'), NONE);
    let session = PaneSession { id: "a".into(), name: "a".into() };
    assert!(stage.take().contains(&Effect::Restart(session)));
    assert_eq!(stage.typed(a), "", "nobody is there to take keys");
    stage.press(KeyCode::Char('x'), NONE);
    assert!(stage.take().contains(&Effect::Empty));
}

#[test]
fn a_session_that_was_started_again_is_back_in_its_pane() {
    let mut stage = Stage::new();
    let old = stage.open("a", Place::Anywhere);
    let other = stage.open("b", Place::Right);
    stage.output(old, 0, "first life");
    assert_eq!(stage.panes.reopen("a"), [], "it is there");
    let status = ExitStatus { code: Some(0), signal: None, at_ms: 0 };
    stage.event(old, ChannelEvent::Exit(status));
    let effects = stage.panes.reopen("a");
    let Some(Effect::Attach(Command::Open { channel, spec })) =
        effects.iter().find(|effect| matches!(effect, Effect::Attach(Command::Open { .. })))
    else {
        panic!("{effects:?}")
    };
    assert!(effects.contains(&Effect::Attach(Command::Close { channel: old })));
    let (channel, size) = (*channel, spec.size.unwrap());
    stage.opened(channel, size, 0);
    stage.snapshot(channel, 0, "second life");
    let screen = stage.screen().join("\n");
    assert!(screen.contains("second life") && !screen.contains("first life"), "{screen}");
    stage.output(other, 0, "untouched");
    assert!(stage.screen().join("\n").contains("untouched"));
}

#[test]
fn an_update_is_shown_whole_or_after_a_tenth_of_a_second() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.output(a, 0, "before");
    assert_eq!(stage.screen()[1], "before");
    stage.panes.take_dirty();
    stage.output(a, 6, "\x1b[?2026h\x1b[2J\x1b[Hhalf");
    assert!(!stage.panes.take_dirty());
    assert_eq!(stage.screen()[1], "before", "whatever else is painted");
    stage.output(a, 30, " and whole\x1b[?2026l");
    assert!(stage.panes.take_dirty());
    assert_eq!(stage.screen()[1], "half and whole");
    stage.output(a, 60, "\x1b[?2026h\x1b[2J\x1b[Hnever ended");
    stage.now = stage.panes.deadline().unwrap();
    stage.handle(PaneEvent::Tick);
    assert!(stage.panes.take_dirty());
    assert_eq!(stage.screen()[1], "never ended");
}

#[test]
fn the_middle_button_pastes_what_was_copied_last() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.output(a, 0, "first line\r\nsecond");
    let middle = MouseEventKind::Down(MouseButton::Middle);
    stage.mouse(middle, 2, 5, NONE);
    assert_eq!(stage.typed(a), "", "nothing was copied yet");
    stage.mouse(MouseEventKind::Down(MouseButton::Left), 0, 1, NONE);
    stage.mouse(MouseEventKind::Up(MouseButton::Left), 4, 1, NONE);
    stage.mouse(middle, 2, 5, NONE);
    assert_eq!(stage.typed(a), "first");
}

#[test]
fn the_mouse_is_the_programs_at_its_own_places_unless_shift_is_held() {
    let mut stage = Stage::new();
    let _ = stage.open("a", Place::Right);
    let b = stage.open("b", Place::Right);
    stage.output(b, 0, "\x1b[?1002;1006hfirst line\r\nsecond");
    let left = MouseButton::Left;
    stage.mouse(MouseEventKind::Down(left), 33, 2, NONE);
    stage.mouse(MouseEventKind::Up(left), 33, 2, NONE);
    assert_eq!(stage.typed(b), "\x1b[<0;3;2M\x1b[<0;3;2m");
    let shift = KeyModifiers::SHIFT;
    stage.mouse(MouseEventKind::Down(left), 31, 1, shift);
    stage.mouse(MouseEventKind::Drag(left), 35, 2, shift);
    stage.mouse(MouseEventKind::Up(left), 35, 2, shift);
    assert_eq!(stage.typed(b), "");
    assert!(stage.take().contains(&Effect::Copy("first line\nsecon".into(), CopiedBy::Person)));
    stage.mouse(MouseEventKind::Down(left), 2, 5, NONE);
    assert_eq!(stage.panes.focused().unwrap().id, "a", "a click gives the focus");
    stage.mouse(MouseEventKind::Up(left), 2, 5, NONE);
    stage.take();
    stage.mouse(MouseEventKind::Down(left), 30, 5, NONE);
    stage.mouse(MouseEventKind::Drag(left), 20, 5, NONE);
    stage.mouse(MouseEventKind::Up(left), 20, 5, NONE);
    let narrower = Command::Resize { channel: b, size: Size { cols: 40, rows: 11 } };
    assert!(stage.take().contains(&Effect::Attach(narrower)), "the line between moves");
}

#[test]
fn the_wheel_scrolls_back_and_typing_comes_back() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let lines: String = (0..40).map(|i| format!("line {i}\r\n")).collect();
    stage.output(a, 0, &lines);
    stage.mouse(MouseEventKind::ScrollUp, 5, 5, NONE);
    assert_eq!(stage.screen()[1], "line 27");
    assert!(stage.screen()[0].contains("↑ 3/30"), "{}", stage.screen()[0]);
    stage.output(a, lines.len() as u64, "more\r\n");
    assert_eq!(stage.screen()[1], "line 27", "what is read stays");
    stage.press(KeyCode::Char('a'), NONE);
    assert_eq!(stage.typed(a), "a");
    assert_eq!(stage.screen()[1], "line 31");
    stage.output(a, 1000, "\x1b[?1049h");
    stage.mouse(MouseEventKind::ScrollUp, 5, 5, NONE);
    assert_eq!(stage.typed(a), "\x1b[A".repeat(3), "a pager scrolls itself");
}

#[test]
fn looking_back_brings_the_scrollback_that_a_resize_left_out() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.output(a, 0, "one\r\n".repeat(20).as_str());
    let asked = |stage: &mut Stage| {
        stage.mouse(MouseEventKind::ScrollUp, 5, 5, NONE);
        let asks = |effect: &Effect| matches!(effect, Effect::Attach(Command::Snapshot { channel, .. }) if *channel == a);
        stage.take().iter().filter(|effect| asks(effect)).count()
    };
    assert_eq!((asked(&mut stage), asked(&mut stage)), (1, 0), "once");
    let history: String = (0..40).map(|i| format!("line {i}\r\n")).collect();
    stage.snapshot(a, 100, &history);
    assert_eq!(stage.screen()[1], "line 24", "six rows up, as before");
    stage.event(a, ChannelEvent::Resized { size: Size { cols: 61, rows: 11 } });
    stage.snapshot(a, 100, "short");
    assert_eq!(asked(&mut stage), 1, "again, since it is gone again");
}

#[test]
fn what_is_looked_at_stays_over_a_resize_and_the_history_that_comes_after_it() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let story = |n: usize| (0..n).map(|i| format!("{i}: {}\r\n", "word ".repeat(i % 19))).collect::<String>();
    stage.output(a, 0, &story(300));
    for _ in 0..40 {
        stage.mouse(MouseEventKind::ScrollUp, 5, 5, NONE);
    }
    stage.take();
    let (before, size) = (stage.screen()[1].clone(), Size { cols: 44, rows: 11 });
    assert!(before.contains(": word"), "{before}");
    stage.event(a, ChannelEvent::Resized { size });
    // First the screen alone, then, as asked, with what came before it, and with what was printed meanwhile.
    stage.snapshot(a, 9000, &story(5));
    let asks = |effect: &Effect| matches!(effect, Effect::Attach(Command::Snapshot { .. }));
    assert_eq!(stage.take().iter().filter(|effect| asks(effect)).count(), 1);
    stage.snapshot(a, 9500, &story(320));
    let after = stage.screen()[1].trim_end_matches('·').to_owned();
    assert!(before.starts_with(&after) && after.len() > 20, "{before:?} and {after:?}");
}

#[test]
fn scrollback_is_searched_and_copied_from_the_keyboard() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let lines: String = (0..40).map(|i| format!("line {i}\r\n")).collect();
    stage.output(a, 0, &lines);
    stage.command('/');
    for c in "line 7".chars() {
        stage.press(KeyCode::Char(c), NONE);
    }
    stage.press(KeyCode::Enter, NONE);
    assert_eq!(stage.cursor(), Some((0, 1)));
    assert_eq!(stage.screen()[1], "line 7");
    for c in ['v', '$', 'y'] {
        stage.press(KeyCode::Char(c), NONE);
    }
    assert!(stage.take().contains(&Effect::Copy("line 7".into(), CopiedBy::Person)));
    assert_eq!(stage.screen()[1], "line 30", "back at the program");
    stage.command('p');
    assert_eq!(stage.typed(a), "line 7");
}

#[test]
fn a_page_of_scrollback_is_a_page_at_once() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let lines: String = (0..60).map(|i| format!("line {i}\r\n")).collect();
    stage.output(a, 0, &lines);
    let first = |stage: &Stage| stage.screen()[1].strip_prefix("line ").unwrap().parse::<usize>().unwrap();
    let (newest, rows) = (first(&stage), 60 - first(&stage) + 1);
    stage.command('[');
    stage.press(KeyCode::PageUp, NONE);
    assert_eq!(first(&stage), newest - rows);
    stage.press(KeyCode::PageUp, NONE);
    assert_eq!(first(&stage), newest - 2 * rows);
    stage.press(KeyCode::PageDown, NONE);
    assert_eq!(first(&stage), newest - rows);
    (0..9).for_each(|_| stage.press(KeyCode::PageUp, NONE));
    assert_eq!((first(&stage), stage.cursor().unwrap().1), (0, 1));
}

#[test]
fn a_paste_is_marked_where_the_program_asked_for_it() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let paste = |stage: &mut Stage, bytes: &[u8]| {
        stage.handle(PaneEvent::Input(InputEvent::Paste(bytes.to_vec())));
    };
    paste(&mut stage, b"one\ntwo");
    assert_eq!(stage.typed(a), "one\rtwo");
    stage.output(a, 0, "\x1b[?2004h");
    paste(&mut stage, b"one\ntwo");
    assert_eq!(stage.typed(a), "\x1b[200~one\ntwo\x1b[201~");
    paste(&mut stage, &vec![b'x'; 3 << 20]);
    assert_eq!(stage.typed(a), "");
    assert!(stage.take().iter().any(|effect| matches!(effect, Effect::Notice(_))));
}

#[test]
fn viewers_that_only_look_type_nothing() {
    let mut stage = Stage::new();
    let session = PaneSession { id: "a".into(), name: "a".into() };
    let effects = stage.panes.open(session, Mode::View, Place::Right);
    let Some(Effect::Attach(Command::Open { channel, spec })) = effects.first().cloned() else { panic!() };
    assert_eq!((spec.mode, spec.input), (Mode::View, None));
    stage.opened(channel, Size { cols: 61, rows: 11 }, 0);
    stage.output(channel, 0, "\x1b[c");
    stage.press(KeyCode::Char('x'), NONE);
    assert_eq!(stage.typed(channel), "");
    assert!(stage.screen()[0].contains("view only"));
}

#[test]
fn a_preview_has_no_size_and_shows_the_rows_around_the_cursor() {
    let session = PaneSession { id: "a".into(), name: "a".into() };
    let (mut preview, effects) = Preview::open(session, ColorDepth::True);
    let Some(Effect::Attach(Command::Open { channel, spec })) = effects.first().cloned() else { panic!() };
    assert_eq!((spec.mode, spec.size), (Mode::View, None));
    let now = Instant::now();
    let opened = Opened {
        epoch: Epoch(1),
        offset: 0,
        head: 0,
        how: How::Snapshot,
        size: Size { cols: 80, rows: 24 },
        mode: Mode::View,
        title: None,
    };
    preview.handle(&Event::Channel(channel, ChannelEvent::Opened(opened)), now);
    let bytes = "\x1b[23;1Hnear the end\x1b[24;1H$ \x07".to_owned().into();
    let effects = preview.handle(&Event::Channel(channel, ChannelEvent::Output { offset: 0, bytes }), now);
    assert!(
        effects.is_empty() || effects.iter().all(|e| matches!(e, Effect::Attach(Command::Processed { .. })))
    );
    assert!(preview.take_dirty(now) && !preview.take_dirty(now));
    let mut buf = Buffer::empty(Rect::new(0, 0, 20, 3));
    preview.render(buf.area, &mut buf, &PaneStyle::default());
    let row: String = (0..20).map(|x| buf[(x, 1)].symbol()).collect();
    assert_eq!(row.trim_end(), "near the end");
    let row = |buf: &Buffer, y| (0..20).map(|x| buf[(x, y)].symbol()).collect::<String>();
    let bytes = "\x1b[22;1Hshort\x1b[23;1H\x1b[2K012345678901234567漢字more\x1b[24;1H".to_owned().into();
    preview.handle(&Event::Channel(channel, ChannelEvent::Output { offset: 30, bytes }), now);
    preview.render(buf.area, &mut buf, &PaneStyle::default());
    assert_eq!([row(&buf, 0).trim_end(), row(&buf, 1).trim_end()], ["short", "012345678901234567 …"]);
    assert_eq!(preview.set_shown(false), [Effect::Attach(Command::Visible { channel, visible: false })]);
    assert_eq!(preview.close(), [Effect::Attach(Command::Close { channel })]);
}

#[test]
fn a_screen_of_any_size_is_painted_without_a_fault() {
    for (width, height) in [(0, 0), (1, 1), (2, 2), (3, 1), (1, 9), (200, 2)] {
        let mut stage = Stage::new();
        let channels: Vec<ChannelId> =
            [Place::Right, Place::Down, Place::Right].map(|place| stage.open("some session", place)).to_vec();
        for channel in channels {
            stage.output(channel, 0, "漢字\x1b[31mtext");
        }
        let area = Rect::new(0, 0, width, height);
        stage.panes.set_area(area);
        let link = Link::Reconnecting { attempt: 1, retry_in: Duration::from_secs(9), reason: "gone".into() };
        stage.handle(PaneEvent::Attach(Event::Link(link)));
        stage.command('[');
        stage.panes.render(&mut Buffer::empty(area), &PaneStyle::default());
        stage.mouse(MouseEventKind::Down(MouseButton::Left), 0, 0, NONE);
        stage.mouse(MouseEventKind::Drag(MouseButton::Left), 50, 50, NONE);
    }
}
