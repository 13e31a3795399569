//! The simple socket: terminal bytes out, keystrokes in, for any WebSocket client. An adapter over the same hub: one
//! channel, opened by itself, whose socket is its flow control.

use std::rc::Rc;

use lap_wire::close::CloseCode;
use lap_wire::control::{Mode, Open, ServerMessage, Size};
use lap_wire::frame::flags;
use lap_wire::limits::{INPUT_WINDOW, MAX_PAYLOAD, MAX_WINDOW};
use serde::Deserialize;

use super::connection::{Channel, Connection, Kind};
use super::protocol;
use super::ws::Opcode;

/// The one channel of such a connection.
pub(super) const CHANNEL: u32 = 1;
/// Scrollback a viewer is given with its first screen: what a browser tab shows when it is scrolled back a little.
const SCROLLBACK: u32 = 256 * 1024;

/// Messages kept that were typed before the terminal was there: a person's, for as long as opening can take.
pub(super) const MAX_EARLY: usize = 1024;

/// A text frame that is exactly one of these is never typed.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Control {
    Resize { cols: u16, rows: u16 },
    Ping {},
}

/// Opens the connection's channel.
pub(super) fn begin(connection: &Connection) {
    let Kind::Tty(session) = connection.kind else { return };
    let may_type = connection.grant.may_type;
    let open = Open {
        window: MAX_WINDOW,
        scrollback: SCROLLBACK,
        input: may_type.then(|| format!("tty-{}", uuid::Uuid::new_v4())),
        ..Open::new(session.to_string(), if may_type { Mode::Interact } else { Mode::View })
    };
    connection.state.borrow_mut().name = Some("tty".to_owned());
    if let Err(error) = protocol::begin_open(connection, CHANNEL, open) {
        connection.error(CHANNEL, error);
    }
}

/// What a client sent: control, or keystrokes.
pub(super) fn input(connection: &Rc<Connection>, bytes: &[u8], text: bool) {
    if text && let Ok(control) = serde_json::from_slice::<Control>(bytes) {
        return match control {
            Control::Ping {} => connection.message(Opcode::Text, br#"{"type":"pong"}"#),
            Control::Resize { cols, rows } => resize(connection, cols, rows),
        };
    }
    let target = match connection.state.borrow().channels.get(&CHANNEL) {
        Some(Channel::Open { terminal, viewer }) => Some((terminal.clone(), *viewer)),
        Some(Channel::Opening { .. }) => None,
        None => return,
    };
    let Some(target) = target else { return type_early(connection, bytes) };
    if is_reply(bytes) {
        let _ = target.0.input(target.1, flags::REPLY, 0, bytes);
        return;
    }
    for piece in bytes.chunks(MAX_PAYLOAD) {
        let offset = connection.state.borrow().tty_input;
        // What a watcher types is dropped, as a watcher's client expects.
        if target.0.input(target.1, 0, offset, piece).is_ok() {
            connection.state.borrow_mut().tty_input += piece.len() as u64;
        }
    }
}

/// Keeps what is typed while the terminal is being opened, up to the window any sender of input has. Such a client
/// cannot know when it is.
fn type_early(connection: &Connection, bytes: &[u8]) {
    let mut state = connection.state.borrow_mut();
    let held: usize = state.tty_early.iter().map(Vec::len).sum();
    if held + bytes.len() <= INPUT_WINDOW && state.tty_early.len() < MAX_EARLY {
        state.tty_early.push(bytes.to_vec());
    }
}

/// The terminal is there: what was typed before goes first.
pub(super) fn opened(connection: &Rc<Connection>) {
    let early = std::mem::take(&mut connection.state.borrow_mut().tty_early);
    for bytes in early {
        input(connection, &bytes, false);
    }
}

fn resize(connection: &Connection, cols: u16, rows: u16) {
    let Some(size) = Size::checked(cols, rows) else { return };
    let mut state = connection.state.borrow_mut();
    match state.channels.get_mut(&CHANNEL) {
        Some(Channel::Opening { size: wanted, .. }) => *wanted = Some(size),
        Some(Channel::Open { terminal, viewer }) => {
            let (terminal, viewer) = (terminal.clone(), *viewer);
            drop(state);
            terminal.resize(viewer, size);
        }
        None => {}
    }
}

/// What the protocol would tell such a client; most of it has no place here.
pub(super) fn event(connection: &Connection, message: &ServerMessage) {
    match message {
        ServerMessage::Exit(_) | ServerMessage::Closed { .. } => {
            connection.close(CloseCode::Gone.code(), "session ended");
        }
        ServerMessage::Error(error) => {
            tracing::debug!(connection = connection.id, code = ?error.code, message = error.message, "tty client");
        }
        _ => {}
    }
}

/// Whether a whole message is a terminal's own answer to a query, which such a client cannot mark as one: an ESC
/// sequence that no key sends. A key press never shares a message with an answer in any terminal emulator we know of.
fn is_reply(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"\x1b") else { return false };
    match rest {
        // OSC and DCS come from no key.
        [b']' | b'P', ..] => true,
        [b'[', parameters @ .., last] => {
            let digits = parameters.iter().all(|b| matches!(b, b'0'..=b'9' | b';' | b'?' | b'>' | b'$'));
            let private = matches!(parameters.first(), Some(b'?' | b'>'));
            digits
                && match last {
                    b'c' | b'y' => private,
                    b'n' => true,
                    b't' => !parameters.is_empty(),
                    b'u' => private,
                    // CPR; a lone `R` with one modifier is F3.
                    b'R' => private || parameters.contains(&b';') && !parameters.starts_with(b"1;"),
                    _ => false,
                }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_queries_are_told_from_keys() {
        for reply in [
            "\x1b[?62;22c",
            "\x1b[>1;10;0c",
            "\x1b[0n",
            "\x1b[24;80R",
            "\x1b[?1;2R",
            "\x1b[?2026;2$y",
            "\x1b[8;24;80t",
            "\x1b[?1u",
            "\x1b]11;rgb:0000/0000/0000\x1b\\",
            "\x1bP>|xterm\x1b\\",
        ] {
            assert!(is_reply(reply.as_bytes()), "{reply:?}");
        }
        for key in [
            "a",
            "\x1b",
            "\x1b[A",
            "\x1bOP",
            "\x1b[1;5C",
            "\x1b[15~",
            "\x1b[1;2R",
            "\x1b[13;2u",
            "\x1b[200~hi\x1b[201~",
            "\x1b[<0;10;10M",
            "\x1b[I",
            "\x1ba",
            "",
        ] {
            assert!(!is_reply(key.as_bytes()), "{key:?}");
        }
    }

    #[test]
    fn only_an_exact_control_object_is_not_typed() {
        let control = |s: &str| serde_json::from_str::<Control>(s).is_ok();
        assert!(control(r#"{"type":"resize","cols":80,"rows":24}"#) && control(r#"{"type":"ping"}"#));
        for typed in [r#"{"type":"resize"}"#, r#"{"type":"ping","x":1}"#, "{}", "ls -l", r#""ping""#] {
            assert!(!control(typed), "{typed}");
        }
    }
}
