//! The codes a WebSocket is closed with, and what a client makes of them.

use crate::control::ErrorCode;

/// Why a connection is closed. A number is never given another meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum CloseCode {
    /// The server goes away or restarts: reconnect, all channels can be resumed.
    Restart = 1012,
    /// Bytes that are no frame, JSON that is no message, or a message where it makes no sense.
    Malformed = 4400,
    /// No token, or one that is not (or no longer) valid.
    Unauthorized = 4401,
    /// The token is valid and may not do this.
    Forbidden = 4403,
    /// What the socket was for is gone.
    Gone = 4404,
    /// No `hello` in time, or nothing heard for too long.
    TimedOut = 4408,
    /// More connections, channels, requests or queued bytes than allowed.
    TooMany = 4429,
    /// A fault of the server's.
    Internal = 4500,
}

impl CloseCode {
    /// Every code, for tests and documentation.
    pub const ALL: [CloseCode; 8] = [
        CloseCode::Restart,
        CloseCode::Malformed,
        CloseCode::Unauthorized,
        CloseCode::Forbidden,
        CloseCode::Gone,
        CloseCode::TimedOut,
        CloseCode::TooMany,
        CloseCode::Internal,
    ];

    /// The code of this number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<CloseCode> {
        CloseCode::ALL.into_iter().find(|known| known.code() == code)
    }

    /// Its number.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Whether a client should connect again by itself: not where the same would only happen again. A socket that
    /// breaks without any of these codes is worth another try too.
    #[must_use]
    pub fn reconnect(self) -> bool {
        matches!(self, CloseCode::Restart | CloseCode::TimedOut | CloseCode::TooMany | CloseCode::Internal)
    }
}

impl From<ErrorCode> for CloseCode {
    /// The code to close with when an error ends the whole connection.
    fn from(code: ErrorCode) -> CloseCode {
        match code {
            ErrorCode::NotAllowed | ErrorCode::NotWritable => CloseCode::Forbidden,
            ErrorCode::NotFound | ErrorCode::SandboxLost => CloseCode::Gone,
            ErrorCode::TimedOut => CloseCode::TimedOut,
            ErrorCode::Overloaded | ErrorCode::TooManyChannels => CloseCode::TooMany,
            ErrorCode::Internal | ErrorCode::StartFailed | ErrorCode::NotReady => CloseCode::Internal,
            ErrorCode::Malformed
            | ErrorCode::UnexpectedMessage
            | ErrorCode::UnsupportedVersion
            | ErrorCode::ChannelNotOpen
            | ErrorCode::BadSize
            | ErrorCode::BadSignal
            | ErrorCode::InputGap
            | ErrorCode::InputOverflow
            | ErrorCode::Invalid => CloseCode::Malformed,
        }
    }
}
