//! What the protocol's document says of this server's own limits.

use lap_platform::link;

use super::{connection, core, outlet, tty};

#[test]
fn limits_stand_in_the_document_with_their_values() {
    let document = include_str!("../../../docs/attach-protocol.md");
    let limits = [
        ("HELLO_TIMEOUT", connection::HELLO_TIMEOUT.as_secs()),
        ("MAX_PENDING", outlet::MAX_PENDING as u64),
        ("OPEN_TIMEOUT", link::OPEN_TIMEOUT.as_secs()),
        ("MAX_SNAPSHOT", core::MAX_SNAPSHOT as u64),
        ("RECONNECT_FOR", link::GIVE_UP.as_secs()),
        ("MAX_TTY_MESSAGE", tty::MAX_MESSAGE as u64),
    ];
    for (name, value) in limits {
        let row = format!("| `{name}` | {value} | ");
        assert!(document.contains(&row), "{row}");
    }
}
