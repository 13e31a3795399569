//! Programs run to completion on pipes: commands of users, and the steps of a session's coming up.

use std::collections::BTreeMap;
use std::time::Duration;

use lap_wire::control::{ExitStatus, Mode, Open, ServerMessage, Stream};
use lap_wire::flow::Since;
use lap_wire::keeper::{Call, Program, ProgramIo, ProgramSpec};
use tokio::sync::oneshot;

use super::{CALL_TIMEOUT, Channel, ChannelEvent, InputSender, Keeper, LinkError, LocalLink};

/// Output of a stream on its way beyond what is kept of it: enough for any burst, little enough that many can run at
/// once.
const ON_THE_WAY: usize = 256 * 1024;
/// Between SIGTERM and SIGKILL for a program that ran out of time.
const TIMEOUT_GRACE: Duration = Duration::from_secs(2);

/// How often the end of a program that nobody waits for is asked for, and how long after a keeper did not answer: some
/// minutes, after which a keeper that stands still was given up anyway.
const TIDY_TRIES: u32 = 30;
const TIDY_AGAIN: Duration = Duration::from_secs(2);

/// A program to run to completion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Its id at the keeper. Running the same id again, by this server or by the next, comes back to the same program
    /// as long as its result has not been taken.
    pub id: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: String,
    /// Given on its standard input.
    pub stdin: Vec<u8>,
    /// Bytes kept of each of its outputs: the first ones; the rest is read and dropped.
    pub keep: usize,
    /// It is ended after this long.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunOutput {
    /// How it ended.
    pub exit: ExitStatus,
    /// Its standard output, at most [`Run::keep`] bytes.
    pub stdout: Vec<u8>,
    /// Its standard error, at most [`Run::keep`] bytes.
    pub stderr: Vec<u8>,
    /// Whether one of them was longer, or part of it was lost with a server.
    pub truncated: bool,
    /// Whether it was ended because its time was up.
    pub timed_out: bool,
}

impl RunOutput {
    /// Whether it ended by itself with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        !self.timed_out && self.exit.code == Some(0)
    }
}

/// What has been kept of one stream.
struct Kept {
    bytes: Vec<u8>,
    keep: usize,
    truncated: bool,
}

impl Kept {
    fn new(keep: usize) -> Kept {
        Kept { bytes: Vec::new(), keep, truncated: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.keep - self.bytes.len();
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.truncated |= bytes.len() > room;
    }
}

impl Keeper {
    /// Runs a program to completion. `on_output` sees every piece of output as it comes, also what is not kept. The
    /// keeper remembers the result until [`Keeper::remove`], which is called once it has been stored. Dropped before its
    /// end, the program goes on and the same [`Run`] comes back to it.
    ///
    /// # Errors
    /// `Refused` when it cannot be started; another when the keeper cannot be reached, and then too the program goes on.
    pub async fn run(
        &self,
        run: Run,
        on_output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<RunOutput, LinkError> {
        let held = run.keep;
        self.run_holding(run, held, on_output).await
    }

    /// `held`: so much of each output the keeper has for whoever comes back to the program.
    async fn run_holding(
        &self,
        run: Run,
        held: usize,
        on_output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<RunOutput, LinkError> {
        let Run { id, argv, env, cwd, stdin, keep, timeout } = run;
        // What is held is not acknowledged: the keeper has it for whoever comes back after this server was lost. One
        // byte more shows that there was more.
        let ring = u32::try_from(held.saturating_add(ON_THE_WAY)).unwrap_or(u32::MAX);
        let spec = ProgramSpec { ring, ..ProgramSpec::new(id.clone(), argv, env, cwd, ProgramIo::Pipes) };
        let program = self.start(spec).await?;
        let mut stdout = self.open_stream(&program, Stream::Output, ring).await?;
        let mut stderr = self.open_stream(&program, Stream::Stderr, ring).await?;
        if held > 0 {
            let unacknowledged = held as u64 + 1;
            stdout.hold_back(unacknowledged);
            stderr.hold_back(unacknowledged);
        }
        let mut kept = (Kept::new(keep), Kept::new(keep));

        let (exit, timed_out) = {
            let feed = feed(stdout.input(), &stdin);
            let collect = collect(&mut stdout, &mut stderr, &mut kept, on_output);
            tokio::pin!(feed, collect);
            let within_time = async {
                tokio::select! {
                    exit = &mut collect => return exit,
                    fed = &mut feed => fed?,
                }
                (&mut collect).await
            };
            match tokio::time::timeout(timeout, within_time).await {
                Ok(exit) => (exit?, false),
                Err(_) => {
                    let stopped = self.stop(&id, TIMEOUT_GRACE);
                    let (stopped, exit) = tokio::join!(
                        stopped,
                        tokio::time::timeout(TIMEOUT_GRACE + CALL_TIMEOUT, &mut collect)
                    );
                    stopped?;
                    let late = LinkError::TimedOut { call: "run", after: TIMEOUT_GRACE + CALL_TIMEOUT };
                    (exit.unwrap_or(Err(late))?, true)
                }
            }
        };
        let (out, err) = kept;
        let truncated = out.truncated || err.truncated;
        Ok(RunOutput { exit, stdout: out.bytes, stderr: err.bytes, truncated, timed_out })
    }

    /// [`Keeper::run`] for a result that nobody but the caller will ask for: the keeper forgets it. Dropped before its
    /// end, the program is ended and forgotten too, as soon as the keeper can be told.
    ///
    /// # Errors
    /// As [`Keeper::run`].
    pub async fn run_once(&self, run: Run) -> Result<RunOutput, LinkError> {
        let id = run.id.clone();
        let mut tidy = self.tidy_up(id.clone()).await?;
        // Nobody can come back to it.
        let output = self.run_holding(run, 0, &mut |_, _| {}).await?;
        self.remove(&id).await?;
        tidy.is_done();
        Ok(output)
    }

    /// Sees to it, from before it is started, that a program goes when what is returned is dropped.
    async fn tidy_up(&self, id: String) -> Result<TidyUp, LinkError> {
        let sandbox = self.sandbox().clone();
        let beginning = self.links().run(move |links| async move {
            let (done, waiting) = oneshot::channel();
            let link = links.link(&sandbox);
            links.spawn(async move {
                // An error is the drop.
                if waiting.await.is_ok() {
                    return;
                }
                // A keeper that stands still is asked again: what it has of this would count for what it may have.
                for _ in 0..TIDY_TRIES {
                    match end(&link, &id).await {
                        Ok(()) | Err(LinkError::Gone(_)) => return,
                        Err(error) => {
                            tracing::debug!(%sandbox, program = id, %error, "ending it is tried again")
                        }
                    }
                    tokio::time::sleep(TIDY_AGAIN).await;
                }
                tracing::warn!(%sandbox, program = id, "a program that nobody waits for is left behind");
            });
            Ok(TidyUp(Some(done)))
        });
        beginning.await
    }

    async fn open_stream(
        &self,
        program: &Program,
        stream: Stream,
        window: u32,
    ) -> Result<Channel, LinkError> {
        let typing = stream == Stream::Output;
        self.open(Open {
            stream,
            // From its first byte, whoever read it before.
            since: Some(Since { epoch: program.epoch, offset: 0, size_generation: 0 }),
            window,
            // The same name whoever feeds it: what a server before this one has written is not written again.
            input: typing.then(|| "stdin".to_owned()),
            ..Open::new(&program.id, if typing { Mode::Interact } else { Mode::View })
        })
        .await
    }
}

/// Has a program ended and forgotten when dropped.
struct TidyUp(Option<oneshot::Sender<()>>);

impl TidyUp {
    /// It has gone already.
    fn is_done(&mut self) {
        if let Some(done) = self.0.take() {
            let _ = done.send(());
        }
    }
}

async fn end(link: &LocalLink, id: &str) -> Result<(), LinkError> {
    let grace_ms = TIMEOUT_GRACE.as_millis() as u64;
    match link.call(Call::Stop { id: id.to_owned(), grace_ms }, TIMEOUT_GRACE + CALL_TIMEOUT).await {
        // It was not started yet, or has been forgotten.
        Err(error) if error.is_not_found() => return Ok(()),
        Err(LinkError::Gone(_)) => return Ok(()),
        other => other?,
    };
    link.call(Call::Remove { id: id.to_owned() }, CALL_TIMEOUT).await.map(|_| ())
}

/// Feeds standard input to its end; what a server before this one has fed already is left out.
async fn feed(mut input: InputSender, stdin: &[u8]) -> Result<(), LinkError> {
    let fed = usize::try_from(input.base()).unwrap_or(usize::MAX);
    input.send(stdin.get(fed..).unwrap_or_default()).await?;
    input.eof();
    Ok(())
}

/// Takes both outputs until both have ended.
async fn collect(
    stdout: &mut Channel,
    stderr: &mut Channel,
    kept: &mut (Kept, Kept),
    on_output: &mut (dyn FnMut(Stream, &[u8]) + Send),
) -> Result<ExitStatus, LinkError> {
    let (mut out_exit, mut err_exit) = (None, None);
    loop {
        if let (Some(exit), Some(_)) = (&out_exit, &err_exit) {
            return Ok(ExitStatus::clone(exit));
        }
        let (stream, event) = tokio::select! {
            event = stdout.next(), if out_exit.is_none() => (Stream::Output, event?),
            event = stderr.next(), if err_exit.is_none() => (Stream::Stderr, event?),
        };
        let (keeping, exit) = match stream {
            Stream::Output => (&mut kept.0, &mut out_exit),
            Stream::Stderr => (&mut kept.1, &mut err_exit),
        };
        match event {
            ChannelEvent::Output { bytes, .. } => {
                keeping.push(&bytes);
                on_output(stream, &bytes);
            }
            ChannelEvent::Message(ServerMessage::Exit(status)) => *exit = Some(status),
            // A server before this one has taken it, and is gone with it.
            ChannelEvent::Message(ServerMessage::Skipped { .. }) => keeping.truncated = true,
            // Its standard input may be closed before all of it was fed (`head -1`): no failure of the run.
            ChannelEvent::Message(ServerMessage::Error(error)) => tracing::debug!(%error, "a run's channel"),
            ChannelEvent::Message(ServerMessage::Closed { reason }) if exit.is_none() => {
                return Err(LinkError::Lost(reason));
            }
            _ => {}
        }
    }
}
