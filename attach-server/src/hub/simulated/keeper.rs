//! A keeper with one terminal, that keeps its side of the protocol: snapshots of a given size, output at a given rate
//! within the window.

use std::time::Duration;

use lap_platform::sandbox::KeeperStream;
use lap_wire::control::{ClientMessage, How, ServerMessage, Size, from_payload, to_payload};
use lap_wire::frame::{Frame, FrameType, flags};
use lap_wire::limits::{HEARTBEAT_MS, MAX_CHANNELS, MAX_MESSAGE, MAX_PAYLOAD};
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, Epoch, PROTOCOL};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

/// What the program prints, and what its screen takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    /// Bytes of a snapshot.
    pub snapshot: usize,
    /// It is quiet for so long,
    pub quiet: Duration,
    /// and then prints so many bytes per second.
    pub rate: f64,
}

/// One read of its program.
const READ: usize = 8 * 1024;
/// The program writes about this often.
const TICK: Duration = Duration::from_millis(2);

/// The channel of the terminal's output, and how far it has come.
struct Output {
    channel: ChannelId,
    window: u64,
    acked: u64,
}

pub(super) async fn keeper(mut io: KeeperStream, program: Program) {
    let started = Instant::now();
    let mut decoder = StreamDecoder::new();
    let mut buffer = vec![0; 64 * 1024];
    let (mut printed, mut output) = (0u64, None::<Output>);
    loop {
        let mut out = Vec::new();
        tokio::select! {
            read = io.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(n) => {
                    decoder.push(&buffer[..n]);
                    while let Some(frame) = decoder.next_frame().unwrap() {
                        take(&frame, program, printed, &mut output, &mut out);
                    }
                }
            },
            () = sleep(TICK), if program.rate > 0.0 => {}
        }
        let due = program.rate * started.elapsed().saturating_sub(program.quiet).as_secs_f64();
        if let Some(output) = &output {
            while printed < due as u64 && printed < output.acked + output.window {
                let room = (due as u64 - printed).min(output.acked + output.window - printed);
                let bytes = vec![b'.'; room.min(READ as u64) as usize];
                let frame = Frame::new(FrameType::Output, output.channel, printed, &bytes);
                stream::encode(&frame, &mut out);
                printed += bytes.len() as u64;
            }
        }
        if io.write_all(&out).await.is_err() {
            return;
        }
    }
}

fn take(frame: &Frame<'_>, program: Program, printed: u64, output: &mut Option<Output>, out: &mut Vec<u8>) {
    let channel = frame.channel;
    match frame.kind {
        FrameType::Ack => {
            if let Some(output) = output.as_mut().filter(|output| output.channel == channel) {
                output.acked = output.acked.max(frame.offset);
            }
        }
        FrameType::Input => {
            let end = frame.offset + frame.payload.len() as u64;
            stream::encode(&Frame::new(FrameType::InputAck, channel, end, &[]), out);
        }
        FrameType::Ping => {
            stream::encode(&Frame::new(FrameType::Pong, channel, frame.offset, frame.payload), out);
        }
        FrameType::Control => match from_payload::<ClientMessage>(frame.payload).unwrap() {
            ClientMessage::Hello { .. } => {
                let welcome = ServerMessage::Welcome {
                    version: PROTOCOL.to_owned(),
                    server: "a model of a keeper".to_owned(),
                    instance: Epoch(1),
                    heartbeat_ms: HEARTBEAT_MS,
                    max_message: MAX_MESSAGE as u32,
                    max_channels: MAX_CHANNELS as u32,
                };
                let payload = to_payload(&welcome).unwrap();
                stream::encode(&lap_wire::control::frame(channel, 0, &payload), out);
            }
            ClientMessage::Open(open) => {
                let opened = ServerMessage::Opened {
                    epoch: Epoch(1),
                    offset: printed,
                    head: printed,
                    how: How::Snapshot,
                    size: Size::default(),
                    size_generation: 1,
                    input_offset: 0,
                    mode: open.mode,
                    title: None,
                };
                let payload = to_payload(&opened).unwrap();
                stream::encode(&lap_wire::control::frame(channel, printed, &payload), out);
                if open.output && output.is_none() {
                    *output = Some(Output { channel, window: open.window.into(), acked: printed });
                    snapshot(channel, program.snapshot, printed, 0, out);
                }
            }
            ClientMessage::Snapshot { .. } => {
                snapshot(channel, program.snapshot, printed, flags::ANSWER, out);
            }
            _ => {}
        },
        _ => {}
    }
}

fn snapshot(channel: ChannelId, size: usize, offset: u64, flag: u8, out: &mut Vec<u8>) {
    let bytes = vec![b's'; size];
    let pieces = size.div_ceil(MAX_PAYLOAD);
    for (at, piece) in bytes.chunks(MAX_PAYLOAD).enumerate() {
        let first = if at == 0 { flags::FIRST } else { 0 };
        let last = if at + 1 == pieces { flags::LAST } else { 0 };
        let frame = Frame::new(FrameType::Snapshot, channel, offset, piece).with_flags(first | last | flag);
        stream::encode(&frame, out);
    }
}
