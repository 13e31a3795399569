use std::time::Duration;

use lap_wire::control::ServerMessage;
use lap_wire::keeper::Call;

use super::{CALL_TIMEOUT, ChannelEvent, KeeperClient, KeeperError};

/// What writing one file may take: attachments of some megabytes through a slow exec.
const WRITE_FILE_TIMEOUT: Duration = Duration::from_secs(60);

impl KeeperClient {
    /// Writes a file in the sandbox: it appears whole or not at all. `path` is absolute or relative to the keeper's
    /// working directory, folders are made as needed, `mode` is as in chmod.
    ///
    /// # Errors
    /// `Refused` with the reason when it cannot be written.
    pub async fn write_file(&self, path: &str, mode: u32, contents: &[u8]) -> Result<(), KeeperError> {
        tokio::time::timeout(WRITE_FILE_TIMEOUT, self.write_whole(path, mode, contents))
            .await
            .unwrap_or(Err(KeeperError::TimedOut { call: "write_file", after: WRITE_FILE_TIMEOUT }))
    }

    async fn write_whole(&self, path: &str, mode: u32, contents: &[u8]) -> Result<(), KeeperError> {
        let channel = self.bare_channel()?;
        let call = Call::WriteFile { channel: channel.id(), path: path.to_owned(), mode };
        self.done("write_file", call, CALL_TIMEOUT).await?;
        let mut input = channel.input();
        let sending = async {
            input.send(contents).await?;
            input.eof().await?;
            std::future::pending::<Result<(), KeeperError>>().await
        };
        let outcome = async {
            loop {
                match channel.next().await? {
                    ChannelEvent::Message(ServerMessage::Closed { .. }) => return Ok(()),
                    ChannelEvent::Message(ServerMessage::Error(error)) => {
                        return Err(KeeperError::Refused(error));
                    }
                    _ => {}
                }
            }
        };
        // Whichever knows first: a full disk is told while bytes are still being sent.
        tokio::select! {
            failed = sending => failed,
            outcome = outcome => outcome,
        }
    }
}
