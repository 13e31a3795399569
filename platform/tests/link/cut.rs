//! What is on a link whose stream is cut at any byte, stalls, and takes one byte at a time.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::task::JoinSet;

use async_trait::async_trait;
use lap_platform::link::{ChannelEvent, Connect, ConnectError, Dialed, Keeper, LinkError, Run};
use lap_platform::sandbox::local::LocalRuntime;
use lap_platform::sandbox::{SandboxName, SandboxRuntime};
use lap_wire::control::{Mode, Open, ServerMessage};
use lap_wire::keeper::{ProgramIo, ProgramSpec};

use crate::Sandbox;
use crate::cuttable::{Cuttable, Random};
use crate::support::soon;

/// A sandbox whose streams the test cuts.
async fn cuttable() -> (Sandbox, Cuttable) {
    let mut cut = None;
    let sandbox = Sandbox::reached_by(|runtime| {
        let made = Cuttable::new(runtime, Random::fresh());
        cut = Some(made.clone());
        Arc::new(made)
    })
    .await;
    (sandbox, cut.unwrap())
}

fn program(sandbox: &Sandbox, id: &str, script: &str, io: ProgramIo) -> ProgramSpec {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    ProgramSpec::new(id, argv, sandbox.env(), sandbox.workdir(), io)
}

/// Everything a terminal printed from its first byte to its end, without a hole.
async fn watch(keeper: &Keeper, id: &str) -> Result<Vec<u8>, LinkError> {
    let program = keeper.programs().await?.into_iter().find(|p| p.id == id).unwrap();
    let since = Some(lap_wire::flow::Since { epoch: program.epoch, offset: 0, size_generation: 0 });
    let mut channel = keeper.open(Open { since, window: 8_000, ..Open::new(id, Mode::View) }).await?;
    let mut seen: Vec<u8> = Vec::new();
    loop {
        match channel.next().await? {
            ChannelEvent::Output { offset, bytes } => {
                assert_eq!(offset, seen.len() as u64, "the next byte, and no other");
                seen.extend(bytes);
            }
            ChannelEvent::Message(ServerMessage::Exit(_)) => return Ok(seen),
            ChannelEvent::Message(_) => {}
            other @ ChannelEvent::Snapshot { .. } => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_in_output_out_commands_and_files_are_whole_however_often_the_stream_is_cut() {
    const LINES: usize = 500;
    let (sandbox, cut) = cuttable().await;
    cut.cut_within(Some(40_000));
    let keeper = sandbox.keeper();
    let reads = "while read -r line; do echo \"$line\" >> lines; done; echo end";
    keeper.start(program(&sandbox, "reader", reads, ProgramIo::Pipes)).await.unwrap();
    let prints = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done";
    keeper.start(program(&sandbox, "printer", prints, ProgramIo::Pipes)).await.unwrap();
    let finished = AtomicBool::new(false);

    let typing = async {
        let mut channel = keeper
            .open(Open { input: Some("typist".into()), ..Open::new("reader", Mode::Interact) })
            .await
            .unwrap();
        let mut input = channel.input();
        for n in 0..LINES {
            input.send(format!("line {n}\n").as_bytes()).await.unwrap();
            // In many pieces, over many connections.
            if n % 7 == 0 {
                keeper.info().await.unwrap();
            }
        }
        input.eof();
        loop {
            if let ChannelEvent::Message(ServerMessage::Exit(status)) = channel.next().await.unwrap() {
                return status.code;
            }
        }
    };
    let counting = async { watch(&keeper, "printer").await.unwrap() };
    let running = async {
        let mut n = 0;
        while n < 3 || !finished.load(Ordering::SeqCst) {
            let script = format!("echo run {n} >> runs; cat; echo {n} >&2");
            let stdin = vec![b'x'; 15_000];
            let run = Run { id: format!("r{n}"), stdin: stdin.clone(), ..sandbox.run(&script) };
            let output = keeper.run_once(run).await.unwrap();
            assert_eq!((&output.stdout, &output.stderr), (&stdin, &format!("{n}\n").into_bytes()));
            n += 1;
        }
        n
    };
    let writing = async {
        let mut n = 0;
        while n < 3 || !finished.load(Ordering::SeqCst) {
            // Such as have a chance to be whole on one connection, as a file must.
            let contents: Vec<u8> = (0..5_000 * n % 12_000).map(|i| (i % 251 + n) as u8).collect();
            keeper.write_file(&format!("file-{n}"), 0o600, &contents).await.unwrap();
            assert!(std::fs::read(format!("{}/file-{n}", sandbox.workdir())).unwrap() == contents);
            n += 1;
        }
    };
    let main = async {
        let both = tokio::join!(typing, counting);
        finished.store(true, Ordering::SeqCst);
        both
    };
    let all = async { tokio::join!(main, running, writing) };
    let ((code, counted), runs, ()) = Box::pin(soon("everything", all)).await;

    assert_eq!(code, Some(0));
    let lines: String = (0..LINES).map(|n| format!("line {n}\n")).collect();
    assert_eq!(std::fs::read_to_string(format!("{}/lines", sandbox.workdir())).unwrap(), lines);
    let numbers: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    assert!(counted == numbers.into_bytes(), "{} bytes", counted.len());
    let begun = std::fs::read_to_string(format!("{}/runs", sandbox.workdir())).unwrap();
    assert_eq!(begun, (0..runs).map(|n| format!("run {n}\n")).collect::<String>(), "each was run once");
    assert!(cut.cuts() >= 10, "{} cuts", cut.cuts());
    cut.cut_within(None);
    let left: Vec<String> = keeper.programs().await.unwrap().into_iter().map(|p| p.id).collect();
    assert_eq!(left, ["reader", "printer"], "commands are forgotten");
    assert!(!sandbox.files().iter().any(|name| name.starts_with(".lap-")), "{:?}", sandbox.files());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_over_streams_that_break_within_a_few_bytes() {
    let (sandbox, cut) = cuttable().await;
    let keeper = sandbox.keeper();
    // Too little for most connections to come as far as the answer, enough for some.
    cut.cut_within(Some(1500));
    for n in 0..10 {
        let spec = program(&sandbox, &format!("p{n}"), "echo run >> runs", ProgramIo::Pipes);
        let started = soon("the start", async {
            loop {
                match keeper.start(spec.clone()).await {
                    Ok(program) => return program,
                    // Definitely not answered in its time: it may be asked again.
                    Err(LinkError::Lost(_) | LinkError::TimedOut { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        assert_eq!(started.await.id, format!("p{n}"));
    }
    cut.cut_within(None);
    assert_eq!(keeper.programs().await.unwrap().len(), 10);
    let runs = format!("{}/runs", sandbox.workdir());
    let all = async {
        while std::fs::read_to_string(&runs).unwrap_or_default().lines().count() < 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("all programs to have run", all).await;
    assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 10, "each was started once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_and_typed_into_a_stalled_stream_is_done_when_it_moves_again() {
    let (sandbox, cut) = cuttable().await;
    let keeper = sandbox.keeper();
    keeper.start(program(&sandbox, "cat", "cat > typed", ProgramIo::Pipes)).await.unwrap();
    let open = Open { input: Some("typist".into()), ..Open::new("cat", Mode::Interact) };
    let mut channel = keeper.open(open).await.unwrap();
    cut.stall(true);
    let mut input = channel.input();
    for _ in 0..100 {
        input.send(b"0123456789").await.unwrap();
    }
    input.eof();
    let mut asked = JoinSet::new();
    asked.spawn({
        let keeper = keeper.clone();
        async move { keeper.info().await }
    });
    while cut.connections() == 0 {
        tokio::task::yield_now().await;
    }
    cut.stall(false);
    soon("the answer", asked.join_next()).await.unwrap().unwrap().unwrap();
    let exit = async {
        while !matches!(channel.next().await.unwrap(), ChannelEvent::Message(ServerMessage::Exit(_))) {}
    };
    soon("the end", exit).await;
    let typed = std::fs::read_to_string(format!("{}/typed", sandbox.workdir())).unwrap();
    assert_eq!(typed, "0123456789".repeat(100));
    assert_eq!(cut.connections(), 1);
}

/// Does something first whenever a stream to one sandbox is made.
struct Beforehand<F> {
    runtime: LocalRuntime,
    sandbox: Option<SandboxName>,
    first: F,
}

#[async_trait]
impl<F: Fn() + Send + Sync + 'static> Connect for Beforehand<F> {
    async fn connect(&self, sandbox: &SandboxName) -> Result<Dialed, ConnectError> {
        if self.sandbox.as_ref().is_none_or(|only| only == sandbox) {
            (self.first)();
        }
        self.runtime.dial(sandbox).await.map_err(|e| ConnectError::Unavailable(e.to_string()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_sandbox_that_is_slow_to_connect_to_holds_up_no_other() {
    let slow = SandboxName(format!("s-{}", uuid::Uuid::new_v4()));
    let (release, released) = mpsc::sync_channel::<()>(1);
    let released = Mutex::new(released);
    let sandbox = Sandbox::reached_by(|runtime| {
        // Blocks the very thread it is on.
        let first = move || {
            let _ = released.lock().unwrap_or_else(PoisonError::into_inner).recv();
        };
        Arc::new(Beforehand { runtime, sandbox: Some(slow.clone()), first })
    })
    .await;
    sandbox.start(&slow).await;
    let mut asked = JoinSet::new();
    asked.spawn({
        let keeper = sandbox.links.keeper(&slow);
        async move { keeper.info().await }
    });
    for _ in 0..20 {
        soon("the other's answer", sandbox.keeper().info()).await.unwrap();
    }
    assert!(asked.try_join_next().is_none());
    drop(release);
    soon("its answer", asked.join_next()).await.unwrap().unwrap().unwrap();
    sandbox.runtime.delete(&slow).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_that_panics_is_tried_again() {
    let sandbox = Sandbox::reached_by(|runtime| {
        let tries = AtomicU32::new(0);
        let first = move || assert!(tries.fetch_add(1, Ordering::SeqCst) >= 3, "as the test wants it");
        Arc::new(Beforehand { runtime, sandbox: None, first })
    })
    .await;
    soon("the answer", sandbox.keeper().info()).await.unwrap();
}
