//! The JSON of a control frame, from either side: read, or refused; what was read is written and read back the same.
//! Shared by the fuzz target and by the test that tries its seeds again.

use lap_wire::control::{ClientMessage, ServerMessage, from_payload, to_payload};

/// Panics where that does not hold.
pub(crate) fn holds(payload: &[u8]) {
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
}
