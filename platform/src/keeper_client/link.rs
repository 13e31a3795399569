//! One connection to a keeper: a task that reads, writes and keeps the heartbeat, and the state it shares with those
//! who use it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lap_wire::control::{self, ServerMessage};
use lap_wire::keeper::Reply;
use lap_wire::limits::{DEAD_AFTER_MS, HEARTBEAT_MS, MAX_CHANNELS, MAX_MESSAGE};
use lap_wire::stream::StreamDecoder;
use lap_wire::{ChannelId, Frame, FrameType, stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::KeeperError;
use super::inbox::Inbox;
use crate::sandbox::KeeperStream;

/// Frames waiting to be written, at most 64 KiB each. Who wants to send more waits.
const OUTGOING: usize = 64;
/// Room made for one read.
const READ: usize = 64 * 1024;
/// What is gathered into one write while frames are waiting.
const WRITE_BATCH: usize = 256 * 1024;

/// The shared side of a connection. The task that drives it ends when the last of these is dropped.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Vec<u8>>,
    // Aborts the driver when dropped.
    _driver: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Cancelled when the connection has ended, after `State::ended` is set.
    gone: CancellationToken,
    /// Wakes the writer for `State::closing`.
    closing: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    calls: HashMap<u64, oneshot::Sender<Reply>>,
    channels: HashMap<ChannelId, Arc<Inbox>>,
    /// Channels whose owner is gone, to be closed at the keeper. Each was in `channels`, so this is bounded too.
    closing: Vec<ChannelId>,
    last_request: u64,
    last_channel: u32,
    ended: Option<KeeperError>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything that waits for this connection.
    fn end(&self, why: KeeperError) {
        let mut state = self.lock();
        let why = state.ended.get_or_insert(why).clone();
        state.calls.clear();
        for (_, inbox) in state.channels.drain() {
            inbox.end(why.clone());
        }
        drop(state);
        self.gone.cancel();
    }
}

impl Link {
    /// Starts driving a stream on which hello and welcome have been exchanged; `decoder` has what was read beyond them.
    pub(super) fn start(stream: KeeperStream, decoder: StreamDecoder) -> Link {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            gone: CancellationToken::new(),
            closing: tokio::sync::Notify::new(),
        });
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let mut driver = JoinSet::new();
        driver.spawn(drive(stream, decoder, Arc::clone(&shared), queue, outgoing.clone()));
        Link { shared, outgoing, _driver: driver }
    }

    /// Why the connection has ended, if it has.
    pub(super) fn ended(&self) -> Option<KeeperError> {
        self.shared.lock().ended.clone()
    }

    /// Waits for the end of the connection.
    pub(super) async fn wait_ended(&self) -> KeeperError {
        self.shared.gone.cancelled().await;
        self.ended().unwrap_or_else(|| KeeperError::Lost("closed".to_owned()))
    }

    /// Queues a frame; waits while the queue is full.
    pub(super) async fn send(&self, frame: Frame<'_>) -> Result<(), KeeperError> {
        let mut bytes = Vec::with_capacity(frame.payload.len() + 32);
        stream::encode(&frame, &mut bytes);
        tokio::select! {
            biased;
            () = self.shared.gone.cancelled() => Err(self.wait_ended().await),
            sent = self.outgoing.send(bytes) => match sent {
                Ok(()) => Ok(()),
                Err(_) => Err(self.wait_ended().await),
            },
        }
    }

    /// Registers a call: its number, and where the reply arrives.
    pub(super) fn begin_call(&self) -> Result<(PendingCall<'_>, oneshot::Receiver<Reply>), KeeperError> {
        let mut state = self.shared.lock();
        if let Some(ended) = &state.ended {
            return Err(ended.clone());
        }
        state.last_request += 1;
        let request = state.last_request;
        let (reply, receiver) = oneshot::channel();
        state.calls.insert(request, reply);
        Ok((PendingCall { link: self, request }, receiver))
    }

    /// Registers a channel.
    pub(super) fn begin_channel(&self, max_bytes: usize) -> Result<(ChannelId, Arc<Inbox>), KeeperError> {
        let mut state = self.shared.lock();
        if let Some(ended) = &state.ended {
            return Err(ended.clone());
        }
        if state.channels.len() + state.closing.len() >= MAX_CHANNELS {
            return Err(KeeperError::Lost("too many channels are open on it".to_owned()));
        }
        // A number is not used twice: a late frame of a closed channel must not be taken for the next one's.
        state.last_channel = match state.last_channel.checked_add(1) {
            Some(next) => next,
            None => return Err(KeeperError::Lost("it has run out of channel numbers".to_owned())),
        };
        let id = ChannelId(state.last_channel);
        let inbox = Arc::new(Inbox::new(max_bytes));
        state.channels.insert(id, Arc::clone(&inbox));
        Ok((id, inbox))
    }

    /// The owner of a channel is gone.
    pub(super) fn end_channel(&self, id: ChannelId) {
        let mut state = self.shared.lock();
        if state.channels.remove(&id).is_some() {
            state.closing.push(id);
        }
        drop(state);
        self.shared.closing.notify_one();
    }
}

/// A call under way; forgotten when dropped.
#[derive(Debug)]
pub(super) struct PendingCall<'a> {
    link: &'a Link,
    /// Its number.
    pub(super) request: u64,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.link.shared.lock().calls.remove(&self.request);
    }
}

/// Reads, writes and keeps the heartbeat until one of them fails.
async fn drive(
    stream: KeeperStream,
    decoder: StreamDecoder,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Vec<u8>>,
    outgoing: mpsc::Sender<Vec<u8>>,
) {
    let (reader, writer) = tokio::io::split(stream);
    let heard = Mutex::new(Instant::now());
    let why = tokio::select! {
        why = read(reader, decoder, &shared, &heard, &outgoing) => why,
        why = write(writer, queue, &shared) => why,
        why = heartbeat(&heard, &outgoing) => why,
    };
    tracing::debug!(%why, "a keeper connection ended");
    shared.end(why);
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    mut decoder: StreamDecoder,
    shared: &Shared,
    heard: &Mutex<Instant>,
    outgoing: &mpsc::Sender<Vec<u8>>,
) -> KeeperError {
    loop {
        loop {
            match decoder.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    if let Err(error) = dispatch(frame, shared, outgoing) {
                        return error;
                    }
                }
                Err(error) => return KeeperError::Protocol(error.to_string()),
            }
        }
        let read = reader.read(decoder.space(READ)).await;
        decoder.filled(READ, read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(0) => return KeeperError::Lost("the keeper has closed it".to_owned()),
            Ok(_) => *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
            Err(error) => return KeeperError::lost(&error),
        }
    }
}

/// Hands one frame to whom it is for.
fn dispatch(frame: Frame<'_>, shared: &Shared, outgoing: &mpsc::Sender<Vec<u8>>) -> Result<(), KeeperError> {
    match frame.kind {
        FrameType::Ping => {
            let mut pong = Vec::new();
            stream::encode(&Frame { kind: FrameType::Pong, ..frame }, &mut pong);
            // With a full queue there is enough to be sent that shows this side alive.
            let _ = outgoing.try_send(pong);
            Ok(())
        }
        FrameType::Pong | FrameType::Ack => Ok(()),
        FrameType::Input | FrameType::Batch => {
            Err(KeeperError::Protocol(format!("it sent a {:?} frame", frame.kind)))
        }
        FrameType::Control if frame.channel == ChannelId::CONNECTION => {
            connection_message(frame.payload, shared)
        }
        FrameType::Control | FrameType::Output | FrameType::Snapshot | FrameType::InputAck => {
            let inbox = {
                let state = shared.lock();
                if frame.channel.0 == 0 || frame.channel.0 > state.last_channel {
                    return Err(KeeperError::Protocol(format!(
                        "it sent on channel {}, never opened",
                        frame.channel
                    )));
                }
                state.channels.get(&frame.channel).cloned()
            };
            // What arrives late on a channel closed by this side is nobody's.
            let Some(inbox) = inbox else { return Ok(()) };
            match frame.kind {
                FrameType::Output => inbox.push_output(frame.offset, frame.payload),
                FrameType::Snapshot => inbox.push_snapshot(frame.offset, frame.flags, frame.payload),
                FrameType::InputAck => {
                    inbox.input_acked(frame.offset);
                    Ok(())
                }
                _ => inbox.push_message(message(frame.payload)?),
            }
        }
    }
}

fn message(payload: &[u8]) -> Result<ServerMessage, KeeperError> {
    control::from_payload(payload).map_err(|e| KeeperError::Protocol(e.to_string()))
}

fn connection_message(payload: &[u8], shared: &Shared) -> Result<(), KeeperError> {
    match message(payload)? {
        ServerMessage::Reply { request, reply } => {
            // A call that was given up is answered to nobody.
            if let Some(waiting) = shared.lock().calls.remove(&request) {
                let _ = waiting.send(reply);
            }
            Ok(())
        }
        ServerMessage::Error(error) => Err(KeeperError::Refused(error)),
        ServerMessage::Goaway { reason, .. } => Err(KeeperError::Lost(reason)),
        // Newer keepers may have more to say.
        other => {
            tracing::debug!(?other, "a message from a keeper that this side has no use for");
            Ok(())
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Vec<u8>>,
    shared: &Shared,
) -> KeeperError {
    loop {
        let mut batch = tokio::select! {
            frame = queue.recv() => match frame {
                Some(frame) => frame,
                None => return KeeperError::Lost("nobody uses it any more".to_owned()),
            },
            () = shared.closing.notified() => Vec::new(),
        };
        while batch.len() + MAX_MESSAGE <= WRITE_BATCH {
            let Ok(frame) = queue.try_recv() else { break };
            batch.extend_from_slice(&frame);
        }
        // After everything that was queued before them: a closed channel's last frames come before its close.
        let closing = std::mem::take(&mut shared.lock().closing);
        for channel in closing {
            match control::to_payload(&control::ClientMessage::Close) {
                Ok(payload) => stream::encode(&control::frame(channel, 0, &payload), &mut batch),
                Err(error) => return KeeperError::Protocol(error.to_string()),
            }
        }
        let written = async {
            writer.write_all(&batch).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return KeeperError::lost(&error);
        }
    }
}

/// Sends a ping after silence, and gives up on a peer that has been silent for too long.
async fn heartbeat(heard: &Mutex<Instant>, outgoing: &mpsc::Sender<Vec<u8>>) -> KeeperError {
    let interval = Duration::from_millis(HEARTBEAT_MS);
    let dead_after = Duration::from_millis(DEAD_AFTER_MS);
    loop {
        let last = *heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = last.elapsed();
        if silence >= dead_after {
            return KeeperError::Lost(format!(
                "nothing was heard from the keeper for {} s",
                dead_after.as_secs()
            ));
        }
        if silence >= interval {
            let mut ping = Vec::new();
            stream::encode(&Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &[0; 8]), &mut ping);
            let _ = outgoing.try_send(ping);
            tokio::time::sleep(interval.min(dead_after - silence)).await;
        } else {
            tokio::time::sleep(interval - silence).await;
        }
    }
}
