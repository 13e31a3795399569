//! The client of a keeper: calls, channels, files, and programs run to completion, over any byte stream to it.
//!
//! A [`KeeperClient`] is one connection, cheap to clone; it ends when the last clone, and the last channel opened on
//! it, is dropped. Nothing here retries: a lost connection is [`KeeperError::Lost`], and every call can be sent again on
//! the next one without doing anything twice.

mod channel;
mod error;
mod file;
mod inbox;
mod link;
mod run;

use std::sync::Arc;
use std::time::Duration;

use lap_wire::control::{self, ClientMessage, ServerMessage};
use lap_wire::keeper::{Call, Info, Program, ProgramSpec, Reply};
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, FrameType, PROTOCOL};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use self::channel::{Channel, InputSender, Opened};
pub use self::error::KeeperError;
pub use self::inbox::ChannelEvent;
pub use self::run::{Run, RunOutput};

use self::link::Link;
use crate::sandbox::KeeperStream;

/// From the first byte to the keeper's `welcome`. A keeper that is there answers in well under a millisecond; one in a
/// pod through an exec takes the exec's time.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// What a call may take, beyond any grace it was given itself.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Read at once while waiting for `welcome`.
const HELLO_READ: usize = 4096;

/// A connection to a keeper.
#[derive(Clone, Debug)]
pub struct KeeperClient {
    link: Arc<Link>,
    server: Arc<str>,
}

impl KeeperClient {
    /// Says hello on `stream` as `name` and waits for the welcome.
    ///
    /// # Errors
    /// `Lost` when the stream ends or nothing comes, `Protocol` when it is no keeper, `Refused` when it has no version
    /// in common.
    pub async fn connect(stream: KeeperStream, name: &str) -> Result<KeeperClient, KeeperError> {
        tokio::time::timeout(HELLO_TIMEOUT, KeeperClient::hello(stream, name))
            .await
            .unwrap_or(Err(KeeperError::TimedOut { call: "hello", after: HELLO_TIMEOUT }))
    }

    async fn hello(mut stream: KeeperStream, name: &str) -> Result<KeeperClient, KeeperError> {
        let hello = ClientMessage::Hello {
            versions: vec![PROTOCOL.to_owned()],
            name: name.to_owned(),
            heartbeat_ms: None,
            grant: None,
        };
        let payload = control::to_payload(&hello).map_err(|e| KeeperError::Protocol(e.to_string()))?;
        let mut bytes = Vec::new();
        stream::encode(&control::frame(ChannelId::CONNECTION, 0, &payload), &mut bytes);
        stream.write_all(&bytes).await.map_err(|e| KeeperError::lost(&e))?;
        stream.flush().await.map_err(|e| KeeperError::lost(&e))?;

        let mut decoder = StreamDecoder::new();
        let server = loop {
            if let Some(server) = welcome(&mut decoder)? {
                break server;
            }
            let read = stream.read(decoder.space(HELLO_READ)).await;
            decoder.filled(HELLO_READ, read.as_ref().map_or(0, |n| *n));
            match read {
                Ok(0) => {
                    return Err(KeeperError::Lost("the keeper has closed it before its welcome".to_owned()));
                }
                Ok(_) => {}
                Err(error) => return Err(KeeperError::lost(&error)),
            }
        };
        Ok(KeeperClient { link: Arc::new(Link::start(stream, decoder)), server: server.into() })
    }

    /// The keeper's program and version, as it said in its welcome.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Why the connection has ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<KeeperError> {
        self.link.ended()
    }

    /// Waits until the connection has ended: the keeper died, hung, or broke the protocol.
    pub async fn wait_ended(&self) -> KeeperError {
        self.link.wait_ended().await
    }

    /// Starts a program, or finds it started already under that id.
    ///
    /// # Errors
    /// `Refused` with `start_failed` when it cannot be started; the message says why.
    pub async fn start(&self, spec: ProgramSpec) -> Result<Program, KeeperError> {
        match self.call("start", Call::Start(spec), CALL_TIMEOUT).await? {
            Reply::Started(program) => Ok(program),
            other => Err(unexpected("start", &other)),
        }
    }

    /// All programs.
    ///
    /// # Errors
    /// When the connection does not give an answer.
    pub async fn programs(&self) -> Result<Vec<Program>, KeeperError> {
        match self.call("programs", Call::Programs, CALL_TIMEOUT).await? {
            Reply::Programs { programs } => Ok(programs),
            other => Err(unexpected("programs", &other)),
        }
    }

    /// How the keeper is.
    ///
    /// # Errors
    /// When the connection does not give an answer.
    pub async fn info(&self) -> Result<Info, KeeperError> {
        match self.call("info", Call::Info, CALL_TIMEOUT).await? {
            Reply::Info(info) => Ok(info),
            other => Err(unexpected("info", &other)),
        }
    }

    /// Sends a signal (a name like `SIGINT`) to a program's process group.
    ///
    /// # Errors
    /// `Refused` with `not_found` or `bad_signal`.
    pub async fn signal(&self, id: &str, signal: &str) -> Result<(), KeeperError> {
        let call = Call::Signal { id: id.to_owned(), signal: signal.to_owned() };
        self.done("signal", call, CALL_TIMEOUT).await
    }

    /// Ends a program: SIGTERM, after `grace` SIGKILL to its group. Returns when it is gone.
    ///
    /// # Errors
    /// `Refused` with `not_found`.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), KeeperError> {
        let call = Call::Stop { id: id.to_owned(), grace_ms: millis(grace) };
        self.done("stop", call, grace + CALL_TIMEOUT).await
    }

    /// Forgets a program that has ended, its output and its exit status.
    ///
    /// # Errors
    /// `Refused` when it has not ended.
    pub async fn remove(&self, id: &str) -> Result<(), KeeperError> {
        match self.done("remove", Call::Remove { id: id.to_owned() }, CALL_TIMEOUT).await {
            // Sent again after a crash: it is forgotten already.
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Ends every program as [`KeeperClient::stop`] does, then the keeper. Returns when it has answered or its
    /// connection has ended, which is how it answers at the latest.
    ///
    /// # Errors
    /// When it neither answers nor ends in time.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), KeeperError> {
        let call = Call::Shutdown { grace_ms: millis(grace) };
        match self.done("shutdown", call, grace + CALL_TIMEOUT).await {
            Err(KeeperError::Lost(_)) => Ok(()),
            other => other,
        }
    }

    async fn done(&self, name: &'static str, call: Call, within: Duration) -> Result<(), KeeperError> {
        match self.call(name, call, within).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(name, &other)),
        }
    }

    async fn call(&self, name: &'static str, call: Call, within: Duration) -> Result<Reply, KeeperError> {
        let (pending, reply) = self.link.begin_call()?;
        let message = ClientMessage::Call { request: pending.request, call };
        let answer = async {
            self.send_message(ChannelId::CONNECTION, &message).await?;
            match reply.await {
                Ok(Reply::Failed(error)) => Err(KeeperError::Refused(error)),
                Ok(reply) => Ok(reply),
                Err(_) => Err(self.link.wait_ended().await),
            }
        };
        tokio::time::timeout(within, answer)
            .await
            .unwrap_or(Err(KeeperError::TimedOut { call: name, after: within }))
    }

    async fn send_message(&self, channel: ChannelId, message: &ClientMessage) -> Result<(), KeeperError> {
        send_message(&self.link, channel, message).await
    }
}

async fn send_message(link: &Link, channel: ChannelId, message: &ClientMessage) -> Result<(), KeeperError> {
    let payload = control::to_payload(message).map_err(|e| {
        KeeperError::Refused(control::WireError::new(control::ErrorCode::Invalid, e.to_string()))
    })?;
    link.send(control::frame(channel, 0, &payload)).await
}

/// Reads the welcome, if all of it has arrived.
fn welcome(decoder: &mut StreamDecoder) -> Result<Option<String>, KeeperError> {
    let Some(frame) = decoder.next_frame().map_err(|e| KeeperError::Protocol(e.to_string()))? else {
        return Ok(None);
    };
    if frame.kind != FrameType::Control || frame.channel != ChannelId::CONNECTION {
        return Err(KeeperError::Protocol("its first frame is no welcome".to_owned()));
    }
    match control::from_payload(frame.payload) {
        Ok(ServerMessage::Welcome { version, server, .. }) if version == PROTOCOL => Ok(Some(server)),
        Ok(ServerMessage::Welcome { version, .. }) => {
            Err(KeeperError::Protocol(format!("it speaks {version}, this side {PROTOCOL}")))
        }
        Ok(ServerMessage::Error(error)) => Err(KeeperError::Refused(error)),
        Ok(_) => Err(KeeperError::Protocol("its first message is no welcome".to_owned())),
        Err(error) => Err(KeeperError::Protocol(error.to_string())),
    }
}

fn unexpected(call: &str, reply: &Reply) -> KeeperError {
    KeeperError::Protocol(format!("it answered {call} with {reply:?}"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
