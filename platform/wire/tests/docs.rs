//! `docs/attach-protocol.md` and the code say the same: every example in the document decodes to what stands beside
//! it, and every frame type, message, code and limit of the code stands in the document, once.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use lap_wire::close::CloseCode;
use lap_wire::control::{
    Attention, ClientMessage, ErrorCode, How, LeaseAction, Mode, Responder, ServerMessage, Stream,
};
use lap_wire::frame::{flags, frames};
use lap_wire::keeper::{Call, ProgramIo, Reply, SizePolicy};
use lap_wire::stream::StreamDecoder;
use lap_wire::{Frame, FrameType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const DOC: &str = include_str!("../../../docs/attach-protocol.md");
const LIMITS: &str = include_str!("../src/limits.rs");

/// Every id that was ever given out. Lines are added, never changed or removed.
const EVERY_ID: [(u8, &str); 9] = [
    (0x01, "CONTROL"),
    (0x02, "OUTPUT"),
    (0x03, "INPUT"),
    (0x04, "SNAPSHOT"),
    (0x05, "ACK"),
    (0x06, "INPUT_ACK"),
    (0x07, "PING"),
    (0x08, "PONG"),
    (0x0f, "BATCH"),
];

/// The fenced blocks of this kind: what stands between the fences.
fn blocks(kind: &str) -> Vec<&'static str> {
    let open = format!("\n```{kind}\n");
    let found: Vec<_> =
        DOC.split(&open).skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0)).collect();
    assert!(!found.is_empty(), "no {kind} example");
    found
}

/// The tables' rows whose first cell matches, without their backticks.
fn rows(is_key: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        line.trim_matches('|').split(" | ").map(|c| c.trim().replace('`', "")).collect::<Vec<_>>()
    };
    let rows = DOC.lines().filter(|l| l.starts_with('|')).map(cells);
    rows.filter(|row| row.first().is_some_and(|key| is_key(key))).collect()
}

fn is_id(key: &str) -> bool {
    key.len() == 4 && key.starts_with("0x")
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    let byte = |i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn name(kind: FrameType) -> String {
    let debug = format!("{kind:?}");
    let mut name = String::new();
    for (i, c) in debug.chars().enumerate() {
        if i > 0 && c.is_uppercase() {
            name.push('_');
        }
        name.extend(c.to_uppercase());
    }
    name
}

fn describe(out: &mut String, frame: &Frame<'_>) {
    let payload = frame.payload.escape_ascii().to_string().replace("\\\"", "\"");
    let (kind, flags, channel, offset) = (name(frame.kind), frame.flags, frame.channel, frame.offset);
    writeln!(out, "{kind} flags={flags:#04x} channel={channel} offset={offset} payload=`{payload}`").unwrap();
}

/// The names serde knows for the variants of `T`: it lists them when it meets one it does not know.
fn variants<T: DeserializeOwned>(unknown: &str) -> BTreeSet<String> {
    let error = serde_json::from_str::<T>(unknown).err().map(|e| e.to_string()).unwrap_or_default();
    let names: BTreeSet<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(!names.is_empty(), "{error}");
    names
}

/// Reads an example, writes it again, and holds the two together field by field.
fn same<T: DeserializeOwned + Serialize>(json: &str) -> Value {
    let shown: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e} in {json}"));
    let message: T = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e} in {json}"));
    assert_eq!(serde_json::to_value(&message).unwrap(), shown, "the code writes the left");
    shown
}

fn tags(examples: &[Value], path: &[&str]) -> BTreeSet<String> {
    let tag = |example: &Value| {
        path.iter().try_fold(example, |v, key| v.get(key)).and_then(Value::as_str).map(str::to_owned)
    };
    examples.iter().filter_map(tag).collect()
}

#[test]
fn every_example_of_a_message_says_what_its_bytes_are() {
    let mut shown = BTreeSet::new();
    for block in blocks("message") {
        let (hex, meaning) = block.split_once('\n').unwrap();
        let message = bytes(hex);
        let mut text = String::new();
        for frame in frames(&message) {
            describe(&mut text, &frame.unwrap_or_else(|e| panic!("{e} in {hex}")));
        }
        assert_eq!(text.trim_end(), meaning, "{hex}");
        shown.insert(message[0]);
    }
    let all: BTreeSet<u8> = FrameType::ALL.into_iter().map(|kind| kind as u8).collect();
    assert_eq!(shown, all, "one example of each type");
}

#[test]
fn every_example_of_a_stream_says_what_its_bytes_are() {
    for block in blocks("stream") {
        let (hex, meaning) = block.split_once('\n').unwrap();
        let mut decoder = StreamDecoder::new();
        decoder.push(&bytes(hex));
        let mut text = String::new();
        while let Some(frame) = decoder.next_frame().unwrap_or_else(|e| panic!("{e} in {hex}")) {
            describe(&mut text, &frame);
        }
        assert_eq!((text.trim_end(), decoder.buffered()), (meaning, 0), "{hex}");
    }
}

#[test]
fn every_example_of_a_refusal_is_refused_for_that_reason() {
    for block in blocks("refused") {
        let (hex, reason) = block.split_once('\n').unwrap();
        let message = bytes(hex);
        let error = frames(&message).find_map(Result::err).unwrap_or_else(|| panic!("{hex} is taken"));
        assert_eq!(error.to_string(), reason, "{hex}");
    }
}

#[test]
fn ids_stand_in_the_document_once_and_are_never_given_again() {
    let frame_rows: Vec<_> = rows(is_id).into_iter().filter(|row| row.len() == 5).collect();
    let listed: Vec<(u8, String)> = frame_rows
        .iter()
        .map(|row| (u8::from_str_radix(&row[0][2..], 16).unwrap(), row[1].clone()))
        .collect();
    let ever: Vec<(u8, String)> = EVERY_ID.iter().map(|(id, name)| (*id, (*name).to_owned())).collect();
    assert_eq!(listed, ever);
    let ids: BTreeSet<u8> = listed.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), listed.len(), "an id stands there twice");
    for kind in FrameType::ALL {
        assert!(ever.contains(&(kind as u8, name(kind))), "{kind:?} has an id of its own");
    }
}

#[test]
fn flags_stand_in_the_document() {
    let listed: BTreeMap<String, String> = rows(is_id)
        .into_iter()
        .filter(|row| row.len() == 4)
        .map(|row| (row[1].clone(), row[0].clone()))
        .collect();
    let known = [
        ("REPLY", flags::REPLY),
        ("LAST", flags::LAST),
        ("FIRST", flags::FIRST),
        ("ANSWER", flags::ANSWER),
        ("IGNORABLE", flags::IGNORABLE),
    ];
    let known: BTreeMap<String, String> =
        known.into_iter().map(|(n, bit)| (n.into(), format!("{bit:#04x}"))).collect();
    assert_eq!(listed, known);
}

#[test]
fn every_message_has_an_example_that_is_one() {
    let client: Vec<Value> = blocks("json client").into_iter().map(same::<ClientMessage>).collect();
    let server: Vec<Value> = blocks("json server").into_iter().map(same::<ServerMessage>).collect();
    let unknown = r#"{"type":"?"}"#;
    assert_eq!(tags(&client, &["type"]), variants::<ClientMessage>(unknown));
    assert_eq!(tags(&server, &["type"]), variants::<ServerMessage>(unknown));
    assert_eq!(tags(&client, &["call", "call"]), variants::<Call>(r#"{"call":"?"}"#));
    assert_eq!(tags(&server, &["reply", "result"]), variants::<Reply>(r#"{"result":"?"}"#));
    assert_eq!(tags(&client, &["call", "io", "kind"]), variants::<ProgramIo>(r#"{"kind":"?"}"#));
    let all = DOC.matches("\n```json").count();
    assert_eq!(all, client.len() + server.len(), "every JSON example is the client's or the server's");
}

#[test]
fn every_word_a_field_may_hold_is_named() {
    for words in [
        variants::<Mode>("\"?\""),
        variants::<Stream>("\"?\""),
        variants::<LeaseAction>("\"?\""),
        variants::<Responder>("\"?\""),
        variants::<How>("\"?\""),
        variants::<Attention>("\"?\""),
        variants::<SizePolicy>("\"?\""),
    ] {
        for word in words {
            assert!(DOC.contains(&format!("`{word}`")) || DOC.contains(&format!("`how: {word}`")), "{word}");
        }
    }
}

#[test]
fn error_codes_stand_in_the_document_once() {
    let known = variants::<ErrorCode>("\"?\"");
    let listed: Vec<String> =
        rows(|key| known.contains(key)).into_iter().filter(|r| r.len() == 2).map(|r| r[0].clone()).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), known);
    assert_eq!(listed.len(), known.len(), "one stands there twice");
}

#[test]
fn close_codes_stand_in_the_document_with_whether_to_come_back() {
    let is_code = |key: &str| key.len() == 4 && key.bytes().all(|b| b.is_ascii_digit());
    let listed: Vec<(u16, bool)> =
        rows(is_code).iter().map(|row| (row[0].parse().unwrap(), row[2].starts_with("yes"))).collect();
    let known: Vec<(u16, bool)> = CloseCode::ALL.iter().map(|code| (code.code(), code.reconnect())).collect();
    assert_eq!(listed, known);
    for code in CloseCode::ALL {
        assert_eq!(CloseCode::from_code(code.code()), Some(code));
    }
}

#[test]
fn limits_stand_in_the_document_with_their_values() {
    macro_rules! values {
        ($($name:ident),* $(,)?) => { [$((stringify!($name), lap_wire::limits::$name.to_string())),*] };
    }
    let values = values![
        MAX_PAYLOAD,
        MAX_HEADER,
        MAX_MESSAGE,
        MAX_OFFSET,
        MAX_PING,
        DEFAULT_WINDOW,
        MAX_WINDOW,
        KEEPER_RING,
        HUB_RING,
        INPUT_WINDOW,
        INPUT_STREAMS,
        MAX_CHANNELS,
        MAX_VIEWERS,
        MAX_NAME,
        MAX_SEAT,
        SEAT_GRACE_MS,
        MAX_GRANTED_CHANNELS,
        MAX_SNAPSHOT_SCROLLBACK,
        SKIP_SCROLLBACK,
        MIN_SIZE,
        MAX_COLS,
        MAX_ROWS,
        HEARTBEAT_MS,
        DEAD_AFTER_MS,
        MAX_HEARTBEAT_MS,
        COALESCE_MS,
    ];
    let in_code: Vec<&str> =
        LIMITS.lines().filter_map(|l| l.strip_prefix("pub const ")?.split(':').next()).collect();
    assert_eq!(in_code, values.iter().map(|v| v.0).collect::<Vec<_>>(), "this test knows every limit");
    let listed: Vec<(String, String)> =
        rows(|key| in_code.contains(&key)).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let known: Vec<(String, String)> = values.into_iter().map(|(name, value)| (name.into(), value)).collect();
    assert_eq!(listed, known);
}
