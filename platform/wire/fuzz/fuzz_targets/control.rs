//! The JSON of a control frame, from either side: read, or refused; what was read is written and read back the same.
//! `cargo +nightly fuzz run control` in `platform/wire`.
#![no_main]

use lap_wire::control::{ClientMessage, ServerMessage, from_payload, to_payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    if let Ok(message) = from_payload::<ClientMessage>(payload)
        && let Ok(again) = to_payload(&message)
    {
        assert_eq!(from_payload::<ClientMessage>(&again).ok(), Some(message));
    }
    if let Ok(message) = from_payload::<ServerMessage>(payload)
        && let Ok(again) = to_payload(&message)
    {
        assert_eq!(from_payload::<ServerMessage>(&again).ok(), Some(message));
    }
});
