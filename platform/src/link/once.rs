//! One request to a keeper on a connection of its own, for a runtime that removes a sandbox and has no links.

use std::time::{Duration, Instant};

use lap_wire::Frame;
use lap_wire::keeper::{Call, Reply};
use lap_wire::stream::{self, StreamDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::LinkError;
use super::core::{Core, Told, Wire};
use crate::sandbox::KeeperStream;

/// Room made for one read.
const READ: usize = 4096;

/// What is to be written.
#[derive(Default)]
struct Outgoing(Vec<u8>);

impl Wire for Outgoing {
    fn send(&mut self, frame: &Frame<'_>) {
        stream::encode(frame, &mut self.0);
    }

    fn has_room(&self) -> bool {
        true
    }
}

/// Says hello on `stream` as `name`, asks, and waits for the answer.
///
/// # Errors
/// `Lost` also when the keeper closes the stream instead of answering.
pub async fn ask_once(
    stream: KeeperStream,
    name: &str,
    call: Call,
    within: Duration,
) -> Result<Reply, LinkError> {
    let late = LinkError::TimedOut { call: "a keeper", after: within };
    tokio::time::timeout(within, ask(stream, name, call, within)).await.unwrap_or(Err(late))
}

async fn ask(mut stream: KeeperStream, name: &str, call: Call, within: Duration) -> Result<Reply, LinkError> {
    let broken = |error: std::io::Error| LinkError::Lost(error.to_string());
    let mut core: Core<(), ()> = Core::new(name, 0, Instant::now());
    let (mut out, mut decoder) = (Outgoing::default(), StreamDecoder::new());
    core.call(call, within, (), Instant::now());
    core.connected(false, Instant::now(), &mut out);
    loop {
        // There is no channel, so this only sends.
        let _ = core.next_opening(Instant::now(), &mut out);
        while let Some(frame) = decoder.next_frame().map_err(|e| LinkError::Protocol(e.to_string()))? {
            core.received(&frame, Instant::now(), &mut out)?;
        }
        if let Some(Told::Answer((), answer)) = core.poll_told() {
            return answer;
        }
        stream.write_all(&out.0).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        out.0.clear();
        let read = stream.read(decoder.space(READ)).await;
        decoder.filled(READ, *read.as_ref().unwrap_or(&0));
        if read.map_err(broken)? == 0 {
            return Err(LinkError::Lost("its keeper has closed the connection".to_owned()));
        }
    }
}
