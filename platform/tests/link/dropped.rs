//! Whatever is asked of a link can be dropped at each of its waits: nothing of it is left, and it can be asked again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lap_platform::link::{CALL_TIMEOUT, Keeper, LinkError, Links, LocalLinks, ask_once};
use lap_platform::sandbox::SandboxRuntime;
use lap_wire::control::{Mode, Open};
use lap_wire::keeper::{Call, ProgramIo, ProgramSpec, Reply};
use tokio::runtime::Handle;
use tokio::task::LocalSet;

use crate::Sandbox;
use crate::support::soon;

/// More waits than any of these has.
const MOST: usize = 400;

/// Links on this thread, so that a test decides how far they come before something is dropped.
struct Stepped {
    sandbox: Sandbox,
    links: Links,
    _local: LocalLinks,
}

async fn stepped<F: Future<Output = ()>>(test: impl FnOnce(Stepped) -> F) {
    let sandbox = Sandbox::new().await;
    let connect = Arc::new(Arc::new(sandbox.runtime.clone()) as Arc<dyn SandboxRuntime>);
    let (links, unstarted) = Links::new(connect, Handle::current());
    let (local, running) = unstarted.start();
    let set = LocalSet::new();
    set.spawn_local(running);
    set.run_until(test(Stepped { sandbox, links, _local: local })).await;
}

/// Polls a future, and everything else on this thread between, so many times; then drops it. What came of it, if it was
/// that far.
async fn dropped_after<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            return Some(done);
        }
        // The link's task, and the keeper, move on by some steps.
        tokio::task::yield_now().await;
        if times.is_multiple_of(3) {
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    }
    None
}

impl Stepped {
    fn keeper(&self) -> Keeper {
        self.links.keeper(&self.sandbox.name)
    }

    /// Drops an operation after none, one, two, … waits until it comes to its end, and after each sees to it that it
    /// can be asked again and leaves nothing.
    async fn drop_everywhere<T, F>(&self, name: &str, operation: impl Fn(Keeper) -> F)
    where
        F: Future<Output = Result<T, LinkError>>,
    {
        for times in 0.. {
            assert!(times < MOST, "{name} does not come to its end");
            let done = dropped_after(times, operation(self.keeper())).await;
            let whole = soon(name, operation(self.keeper())).await;
            assert!(whole.is_ok(), "{name} after it was dropped at its wait {times}: {:?}", whole.err());
            drop(whole);
            self.nothing_left(name, times).await;
            if done.is_some_and(|done| done.is_ok()) {
                return;
            }
        }
    }

    /// No program, no half a file, no connection but the one.
    async fn nothing_left(&self, name: &str, times: usize) {
        let keeper = self.keeper();
        soon("programs to go", async {
            loop {
                let programs = keeper.programs().await.unwrap();
                if programs.iter().all(|program| program.id == "cat") {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        soon("files to go", async {
            while self.sandbox.files().iter().any(|file| file.starts_with(".lap-")) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        let connections = keeper.info().await.unwrap().connections;
        assert_eq!(
            connections, 2,
            "{name} dropped at its wait {times}: this link's, and the one that started `cat`"
        );
    }
}

async fn with_cat(stepped: &Stepped) -> lap_platform::link::Channel {
    let sandbox = &stepped.sandbox;
    let argv = ["sh", "-c", "cat"].map(str::to_owned).to_vec();
    let spec = ProgramSpec::new("cat", argv, sandbox.env(), sandbox.workdir(), ProgramIo::Pipes);
    // By the sandbox's other links, whose connection stays as long as the channel.
    let keeper = sandbox.keeper();
    keeper.start(spec).await.unwrap();
    keeper.open(Open { output: false, ..Open::new("cat", Mode::View) }).await.unwrap()
}

#[tokio::test]
async fn calls_channels_files_and_commands_can_be_dropped_at_each_wait() {
    stepped(|stepped| async move {
        let _cat = with_cat(&stepped).await;
        stepped.drop_everywhere("programs", |keeper| async move { keeper.programs().await }).await;
        stepped.drop_everywhere("info", |keeper| async move { keeper.info().await }).await;
        stepped
            .drop_everywhere("signal", |keeper| async move { keeper.signal("cat", "SIGCONT").await })
            .await;
        stepped.drop_everywhere("remove", |keeper| async move { keeper.remove("none").await }).await;
        let spec = |stepped: &Stepped| {
            let argv = vec!["true".to_owned()];
            let (env, cwd) = (stepped.sandbox.env(), stepped.sandbox.workdir());
            ProgramSpec::new("p", argv, env, cwd, ProgramIo::Pipes)
        };
        stepped
            .drop_everywhere("start, stop and remove", |keeper| {
                let spec = spec(&stepped);
                async move {
                    keeper.start(spec).await?;
                    keeper.stop("p", Duration::from_secs(1)).await?;
                    keeper.remove("p").await
                }
            })
            .await;
        let open = || Open { input: Some("typist".into()), ..Open::new("cat", Mode::Interact) };
        stepped
            .drop_everywhere("open", |keeper| {
                let open = open();
                async move { keeper.open(open).await }
            })
            .await;
        let contents = vec![7; 300_000];
        stepped
            .drop_everywhere("write_file", |keeper| {
                let contents = contents.clone();
                async move { keeper.write_file("file", 0o600, &contents).await }
            })
            .await;
        assert!(std::fs::read(format!("{}/file", stepped.sandbox.workdir())).unwrap() == contents);
        stepped
            .drop_everywhere("run_once", |keeper| {
                let run = stepped.sandbox.run("cat; sleep 0.01; echo end");
                let run = lap_platform::link::Run {
                    id: format!("r-{}", uuid::Uuid::new_v4().simple()),
                    stdin: vec![b'x'; 100_000],
                    ..run
                };
                async move {
                    let output = keeper.run_once(run).await?;
                    assert!(output.stdout.ends_with(b"xend\n"));
                    Ok(())
                }
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn opens_and_calls_that_are_dropped_at_once_take_no_place() {
    stepped(|stepped| async move {
        let _cat = with_cat(&stepped).await;
        let keeper = stepped.keeper();
        for n in 0..1300 {
            let open = Open { input: Some(format!("typist {n}")), ..Open::new("cat", Mode::Interact) };
            drop(dropped_after(n % 7, keeper.open(open)).await);
            drop(dropped_after(n % 5, keeper.info()).await);
        }
        keeper.info().await.unwrap();
        keeper.open(Open::new("cat", Mode::View)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn links_that_are_dropped_leave_no_connection() {
    let sandbox = Sandbox::new().await;
    let Sandbox { runtime, name, data: _data, links } = sandbox;
    let keeper = links.keeper(&name);
    keeper.info().await.unwrap();
    drop((keeper, links));
    soon("the connection to go", async {
        loop {
            let stream = runtime.connect(&name).await.unwrap();
            match ask_once(stream, "test", Call::Info, CALL_TIMEOUT).await.unwrap() {
                Reply::Info(info) if info.connections == 1 => return,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    })
    .await;
}
