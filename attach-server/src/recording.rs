//! Recordings of terminals, read: as they are, and as plain text.

use std::collections::VecDeque;
use std::io;
use std::sync::OnceLock;

use async_trait::async_trait;
use lap_platform::model::SessionId;
use lap_platform::plain_text::{PlainText, lines_of_screen};
use lap_platform::session::Recordings;
use serde_json::Value;

use crate::http::error::ApiError;
use crate::http::limits::Slots;
use crate::hub::HubHandle;

/// Reads recordings, a few at a time: each can take 64 MiB of memory, and a core for a second.
#[derive(Clone)]
pub(crate) struct RecordingReader {
    pub(crate) hub: HubHandle,
    pub(crate) slots: Slots,
}

/// The recordings, for whoever erases sessions; from when the hub that writes them is there.
#[derive(Default)]
pub(crate) struct Recorded(OnceLock<HubHandle>);

impl Recorded {
    /// By this hub.
    pub(crate) fn by(&self, hub: HubHandle) {
        // There is one per server.
        let _ = self.0.set(hub);
    }
}

#[async_trait]
impl Recordings for Recorded {
    async fn erase(&self, session: SessionId) -> io::Result<()> {
        let hub = self.0.get().ok_or(io::ErrorKind::WouldBlock)?;
        hub.forget_recording(session).await
    }
}

/// What a terminal's recording says as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// Oldest first.
    pub(crate) lines: VecDeque<String>,
    /// What the program ended with.
    pub(crate) exit_code: Option<i32>,
}

impl RecordingReader {
    /// A session's recording: asciicast v3. Nothing where its terminal has not been recorded.
    ///
    /// # Errors
    /// 429 when many are being read.
    pub(crate) async fn read(&self, session: SessionId) -> Result<Option<Vec<u8>>, ApiError> {
        self.with_recording(session, |recording| recording).await
    }

    /// The same as text.
    ///
    /// # Errors
    /// As [`RecordingReader::read`].
    pub(crate) async fn transcript(&self, session: SessionId) -> Result<Transcript, ApiError> {
        let text = self.with_recording(session, |recording| of_cast(&recording)).await?;
        Ok(text.unwrap_or_default())
    }

    async fn with_recording<T: Send + 'static>(
        &self,
        session: SessionId,
        read: impl FnOnce(Vec<u8>) -> T + Send + 'static,
    ) -> Result<Option<T>, ApiError> {
        let slot = self.slots.take()?;
        let hub = self.hub.clone();
        let work = move || {
            let _slot = slot;
            match hub.recording(session) {
                Ok(recording) => Ok(Some(read(recording))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?;
        done.map_err(ApiError::internal)
    }
}

/// What a snapshot begins with: a reset.
const SNAPSHOT: &str = "\x1bc";

/// Reads an asciicast. Lines that are none, a recording cut off in the middle of one, are passed over.
fn of_cast(cast: &[u8]) -> Transcript {
    let mut text = PlainText::new();
    let mut exit_code = None;
    let mut printed = false;
    let mut resized = false;
    for line in cast.split(|b| *b == b'\n').filter(|line| line.first() == Some(&b'[')) {
        let Ok((_, code, data)) = serde_json::from_slice::<(Value, String, String)>(line) else { continue };
        match code.as_str() {
            // After a change of size the recording repeats the whole screen, beginning with a reset: it has all been
            // printed before, but for the first.
            "o" if resized && printed && data.starts_with(SNAPSHOT) => {}
            "o" => {
                printed = true;
                if data.starts_with(SNAPSHOT) {
                    text.screen(&lines_of_screen(data.as_bytes()));
                } else {
                    text.push(data.as_bytes());
                }
            }
            // Output was left out here: the screen that follows is the only trace of it.
            "m" => printed = false,
            "x" => exit_code = data.parse().ok(),
            _ => {}
        }
        resized = code == "r";
    }
    Transcript { lines: text.into_lines(), exit_code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_has_every_line_once() {
        let cast = concat!(
            "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n",
            "[0.0, \"r\", \"80x24\"]\n",
            "[0.0, \"o\", \"\\u001bcfirst\\r\\n\\r\\n\\r\\n\\u001b[2;1H\"]\n",
            "[0.0, \"o\", \"\\r\\n\"]\n",
            "#lap {\"offset\":7}\n",
            "[0.1, \"o\", \"second\\r\\nthi\"]\n",
            "[0.1, \"r\", \"100x30\"]\n",
            "[0.0, \"o\", \"\\u001bcfirst\\r\\nsecond\\r\\nthi\"]\n",
            "[0.1, \"o\", \"rd\\r\\n\"]\n",
            "[0.2, \"x\", \"3\"]\n",
            "[0.2, \"o\", \"cut",
        );
        let transcript = of_cast(cast.as_bytes());
        assert_eq!(Vec::from(transcript.lines), ["first", "second", "third"]);
        assert_eq!(transcript.exit_code, Some(3));
    }

    #[test]
    fn after_a_gap_the_screen_is_all_there_is() {
        let cast = concat!(
            "[0.0, \"o\", \"a\\r\\n\"]\n",
            "[0.0, \"m\", \"output left out\"]\n",
            "[0.0, \"r\", \"80x24\"]\n",
            "[0.0, \"o\", \"\\u001bca\\r\\nz\\r\\n\"]\n",
        );
        assert_eq!(Vec::from(of_cast(cast.as_bytes()).lines), ["a", "z"]);
    }
}
