//! What the protocol's document says of this server's own limits.

use super::{RECONNECT_FOR, connection, outlet, protocol, terminal, tty, upstream};

#[test]
fn limits_stand_in_the_document_with_their_values() {
    let document = include_str!("../../../docs/attach-protocol.md");
    let limits = [
        ("MAX_VIEWERS", terminal::MAX_VIEWERS as u64),
        ("MAX_NAME", protocol::MAX_NAME as u64),
        ("HELLO_TIMEOUT", connection::HELLO_TIMEOUT.as_secs()),
        ("MAX_PENDING", outlet::MAX_PENDING as u64),
        ("OPEN_TIMEOUT", upstream::OPEN_TIMEOUT.as_secs()),
        ("MAX_SNAPSHOT", terminal::MAX_SNAPSHOT as u64),
        ("RECONNECT_FOR", RECONNECT_FOR.as_secs()),
        ("MAX_EARLY", tty::MAX_EARLY as u64),
    ];
    for (name, value) in limits {
        let row = format!("| `{name}` | {value} | ");
        assert!(document.contains(&row), "{row}");
    }
}
