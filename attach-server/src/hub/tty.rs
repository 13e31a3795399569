//! The simple socket: terminal bytes out, keystrokes in, for any WebSocket client. An adapter over the same hub: one
//! channel, opened by itself, whose socket is its flow control in both directions.

use std::borrow::Cow;

use lap_platform::model::SessionId;
use lap_wire::close::CloseCode;
use lap_wire::control::{ErrorCode, Mode, Open, ServerMessage, Size, WireError};
use lap_wire::frame::flags;
use lap_wire::limits::{MAX_COLS, MAX_PAYLOAD, MAX_ROWS, MAX_WINDOW, MIN_SIZE};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::client_writer::Close;
use super::connection::{Channel, Connection};

/// The one channel of such a connection.
const CHANNEL: u32 = 1;
/// Scrollback a viewer is given with its first screen: what a browser tab shows when it is scrolled back a little.
const SCROLLBACK: u32 = 256 * 1024;
/// The largest message taken, in bytes: a browser sends what is pasted as one.
pub(super) const MAX_MESSAGE: usize = 1024 * 1024;
/// What others see such a viewer called.
const NAME: &str = "tty";

/// A text frame that is exactly one of these is never typed, and nothing is answered to it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Control {
    /// Numbers of any kind: clients send what their layout came to.
    Resize {
        cols: Value,
        rows: Value,
    },
    Ping {},
}

/// Opens the connection's channel.
pub(super) fn begin(connection: &mut Connection, session: SessionId) {
    connection.greeted(NAME.to_owned(), Duration::from_millis(lap_wire::limits::HEARTBEAT_MS));
    let may_type = connection.grant.may_type;
    let mode = if may_type { Mode::Interact } else { Mode::View };
    let open = Open {
        window: MAX_WINDOW,
        scrollback: SCROLLBACK,
        input: may_type.then(|| format!("tty-{}", uuid::Uuid::new_v4())),
        ..Open::new(session.to_string(), mode)
    };
    if let Err(error) = connection.locate(CHANNEL, open) {
        connection.writer.refuse(CHANNEL, error);
    }
}

/// Whether a message can be taken in: the terminal is there, and not too much is held that it has not taken.
pub(super) fn takes_messages(connection: &Connection) -> bool {
    match connection.channels.get(&CHANNEL) {
        Some(Channel::Open(viewer)) => viewer.takes_input(),
        Some(Channel::Locating { .. }) => false,
        // The connection is about to end.
        None => true,
    }
}

/// What a client sent: control, or keystrokes.
pub(super) fn message(connection: &Connection, bytes: &[u8], text: bool) {
    let Some(Channel::Open(viewer)) = connection.channels.get(&CHANNEL) else { return };
    if text && let Ok(control) = serde_json::from_slice::<Control>(bytes) {
        if let Control::Resize { cols, rows } = control
            && let Some((cols, rows)) = cells(&cols, MAX_COLS).zip(cells(&rows, MAX_ROWS))
        {
            viewer.resize(Size { cols, rows });
        }
        return;
    }
    if is_reply(bytes) {
        for piece in bytes.chunks(MAX_PAYLOAD) {
            // Late or unwanted, it is worth nothing.
            let _ = viewer.input(flags::REPLY, 0, piece, Instant::now());
        }
    } else {
        viewer.type_in(bytes);
    }
}

/// A number of cells within what a terminal can have. `None`: that is no number.
fn cells(value: &Value, most: u16) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok().filter(|number| !number.is_nan())?,
        _ => return None,
    };
    // Within u16 by the clamp.
    Some(number.clamp(f64::from(MIN_SIZE), f64::from(most)) as u16)
}

/// What becomes of a simple socket: what the protocol would tell such a client can only be told by how it is closed.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Why the terminal could not be had.
    refused: Option<WireError>,
    opened: bool,
}

impl Fate {
    /// The protocol would tell the client this. Says how to close the socket, if it is to be.
    pub(super) fn event(&mut self, connection: u64, message: &ServerMessage) -> Option<Close> {
        match message {
            ServerMessage::Opened { .. } => self.opened = true,
            ServerMessage::Exit(_) => return Some((CloseCode::Gone.code(), "session ended".into())),
            ServerMessage::Closed { reason } => {
                let reason: Cow<'static, str> =
                    if reason.is_empty() { "session ended".into() } else { reason.clone().into() };
                let code = self.refused.as_ref().map_or(CloseCode::Gone, close_code);
                return Some((code.code(), reason));
            }
            ServerMessage::Error(error) => {
                tracing::debug!(connection, code = ?error.code, message = error.message, "tty client");
                if !self.opened {
                    self.refused = Some(error.clone());
                }
            }
            _ => {}
        }
        None
    }
}

/// How a client is sent away whose terminal cannot be had.
fn close_code(error: &WireError) -> CloseCode {
    match error.code {
        ErrorCode::NotAllowed => CloseCode::Forbidden,
        ErrorCode::Overloaded | ErrorCode::TooManyChannels => CloseCode::TooMany,
        ErrorCode::TimedOut => CloseCode::TimedOut,
        _ if error.retryable => CloseCode::Internal,
        _ => CloseCode::Gone,
    }
}

/// Whether a whole message is a terminal's own answer to a query, which such a client cannot mark as one: an ESC
/// sequence that no key sends. A key press never shares a message with an answer in any terminal emulator we know of.
fn is_reply(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"\x1b") else { return false };
    match rest {
        // OSC and DCS, with their end: without, `ESC ]` is Alt-] and `ESC P` is Alt-Shift-P.
        [b']' | b'P', body @ ..] => {
            body.len() > 1
                && (body.ends_with(b"\x07") || body.ends_with(b"\x1b\\") || body.ends_with(b"\x9c"))
        }
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
            "\x1b]",
            "\x1bP",
            "\x1b]0;not ended",
            "\x1ba",
            "",
        ] {
            assert!(!is_reply(key.as_bytes()), "{key:?}");
        }
    }

    #[test]
    fn only_an_exact_control_object_is_not_typed() {
        let control = |s: &str| serde_json::from_str::<Control>(s).is_ok();
        for said in [
            r#"{"type":"ping"}"#,
            r#"{"type":"resize","cols":80,"rows":24}"#,
            r#"{"type":"resize","cols":100000,"rows":-1}"#,
            r#"{"type":"resize","cols":80.5,"rows":"80"}"#,
            r#"{"rows":null,"cols":1e300,"type":"resize"}"#,
        ] {
            assert!(control(said), "{said}");
        }
        for typed in [r#"{"type":"resize"}"#, r#"{"type":"ping","x":1}"#, "{}", "ls -l", r#""ping""#] {
            assert!(!control(typed), "{typed}");
        }
    }

    #[test]
    fn any_number_is_a_size_within_what_a_terminal_can_have() {
        let of = |json: &str| cells(&serde_json::from_str(json).unwrap(), MAX_COLS);
        for (said, wanted) in [
            ("80", 80),
            ("100000", 1000),
            ("-1", 1),
            ("0", 1),
            ("80.5", 80),
            ("\"80\"", 80),
            ("\" 7e9 \"", 1000),
            ("1e300", 1000),
        ] {
            assert_eq!(of(said), Some(wanted), "{said}");
        }
        for nothing in ["null", "\"wide\"", "\"NaN\"", "[80]", "true"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_client_that_is_refused_is_told_why_and_whether_to_come_back() {
        let refused = |code, retryable| {
            let mut fate = Fate::default();
            let error = WireError { retryable, ..WireError::new(code, "the reason") };
            assert_eq!(fate.event(1, &ServerMessage::Error(error)), None);
            fate.event(1, &ServerMessage::Closed { reason: "the reason".to_owned() })
        };
        for (code, retryable, close) in [
            (ErrorCode::Overloaded, true, 4429),
            (ErrorCode::NotFound, false, 4404),
            (ErrorCode::NotReady, false, 4404),
            (ErrorCode::TimedOut, true, 4408),
            (ErrorCode::NotAllowed, false, 4403),
            (ErrorCode::SandboxLost, true, 4500),
        ] {
            assert_eq!(refused(code, retryable), Some((close, "the reason".into())), "{code:?}");
        }
    }
}
