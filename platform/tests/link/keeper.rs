//! Calls, channels, files and programs run to completion.

use std::sync::Arc;
use std::time::Duration;

use lap_platform::link::{ChannelEvent, LinkError, Links, Run};
use lap_platform::sandbox::SandboxRuntime;
use lap_wire::control::{ErrorCode, Mode, Open, ServerMessage, Stream};
use lap_wire::keeper::{ProgramIo, ProgramSpec};
use tokio::runtime::Handle;

use crate::Sandbox;
use crate::support::{keeper_pid, kill, soon};

#[tokio::test]
async fn a_run_gives_both_outputs_and_how_it_ended() {
    let sandbox = Sandbox::new().await;
    let keeper = sandbox.keeper();
    let output = keeper.run_once(sandbox.run("echo out; echo err >&2; exit 3")).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.exit.code, Some(3));
    assert!(!output.success() && !output.truncated && !output.timed_out);
    assert_eq!(keeper.programs().await.unwrap(), [], "the keeper has forgotten it");
}

#[tokio::test]
async fn standard_input_arrives_whole_and_ends_however_much_it_is() {
    let sandbox = Sandbox::new().await;
    let keeper = sandbox.keeper();
    // More than the input window, the ring and every pipe on the way.
    let stdin: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let run = Run { stdin: stdin.clone(), keep: stdin.len(), ..sandbox.run("cat") };
    let output = soon("cat", keeper.run_once(run)).await.unwrap();
    assert!(output.stdout == stdin, "{} of {} bytes", output.stdout.len(), stdin.len());
}

#[tokio::test]
async fn a_program_that_does_not_read_its_input_ends_all_the_same() {
    let sandbox = Sandbox::new().await;
    let run = Run { stdin: vec![b'x'; 2_000_000], ..sandbox.run("echo done") };
    let output = soon("it to end", sandbox.keeper().run_once(run)).await.unwrap();
    assert_eq!(output.stdout, b"done\n");
}

#[tokio::test]
async fn output_beyond_what_is_kept_is_cut_and_does_not_hold_the_program_up() {
    let sandbox = Sandbox::new().await;
    let mut seen = 0;
    let run = Run { keep: 1000, ..sandbox.run("head -c 5000000 /dev/zero; printf end >&2") };
    let keeper = sandbox.keeper();
    let output = soon("the flood", keeper.run(run, &mut |_, bytes| seen += bytes.len())).await.unwrap();
    assert_eq!((output.stdout.len(), output.truncated), (1000, true));
    assert_eq!(output.stderr, b"end");
    assert_eq!(seen, 5_000_003, "every byte was seen");
}

#[tokio::test]
async fn a_run_out_of_time_is_ended_even_when_it_ignores_sigterm() {
    let sandbox = Sandbox::new().await;
    let run = Run {
        timeout: Duration::from_millis(300),
        ..sandbox.run("trap '' TERM; echo begun; sleep 1000 & wait; wait")
    };
    let output = soon("the end", sandbox.keeper().run_once(run)).await.unwrap();
    assert!(output.timed_out);
    assert_eq!(output.stdout, b"begun\n");
}

#[tokio::test]
async fn a_daemon_left_behind_does_not_keep_a_run_from_ending() {
    let sandbox = Sandbox::new().await;
    let output =
        soon("the end", sandbox.keeper().run_once(sandbox.run("sleep 1000 & echo done"))).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.exit.code), (&b"done\n"[..], Some(0)));
}

#[tokio::test]
async fn the_same_run_by_another_server_comes_back_to_the_same_program() {
    let sandbox = Sandbox::new().await;
    let run = sandbox.run("echo begun; sleep 1; echo end; echo run >> runs");
    let first = Links::start(
        Arc::new(Arc::new(sandbox.runtime.clone()) as Arc<dyn SandboxRuntime>),
        Handle::current(),
    );
    let first = first.unwrap().keeper(&sandbox.name);
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let mut on_output = move |_: Stream, _: &[u8]| {
        let _ = begun.try_send(());
    };
    tokio::select! {
        output = first.run(run.clone(), &mut on_output) => {
            panic!("{output:?}")
        }
        () = soon("its first output", async { has_begun.recv().await.unwrap() }) => {}
    }
    drop(first);
    let output = soon("the end", sandbox.keeper().run(run, &mut |_, _| {})).await.unwrap();
    assert!(output.stdout.ends_with(b"end\n"), "{output:?}");
    let runs = std::fs::read_to_string(format!("{}/runs", sandbox.runtime.workdir(&sandbox.name))).unwrap();
    assert_eq!(runs, "run\n", "it was started once");
}

#[tokio::test]
async fn a_file_appears_whole_with_its_mode_or_says_why_not() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new().await;
    let keeper = sandbox.keeper();
    let contents: Vec<u8> = (0..1_000_000u32).map(|n| (n % 253) as u8).collect();
    soon("the file", keeper.write_file("a/b/file", 0o640, &contents)).await.unwrap();
    let path = format!("{}/a/b/file", sandbox.runtime.workdir(&sandbox.name));
    assert!(std::fs::read(&path).unwrap() == contents);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    keeper.write_file("empty", 0o600, &[]).await.unwrap();
    let refused = keeper.write_file("a/b", 0o600, b"x").await.unwrap_err();
    assert!(
        matches!(&refused, LinkError::Refused(error) if error.message.contains("directory")),
        "{refused}"
    );
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let sandbox = Sandbox::new().await;
    let keeper = sandbox.keeper();
    let refused = keeper.run_once(Run { argv: vec!["no-such-program".to_owned()], ..sandbox.run("") }).await;
    let Err(LinkError::Refused(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.code, ErrorCode::StartFailed);
}

#[tokio::test]
async fn a_killed_keeper_ends_everything_that_waits_for_it() {
    let sandbox = Sandbox::new().await;
    let keeper = sandbox.keeper();
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let mut on_output = move |_: Stream, _: &[u8]| {
        let _ = begun.try_send(());
    };
    let running = keeper.run(sandbox.run("echo; sleep 1000"), &mut on_output);
    let killed = async {
        soon("its first output", has_begun.recv()).await.unwrap();
        kill(keeper_pid(&sandbox.data, &sandbox.name.0));
    };
    let (output, ()) = Box::pin(soon("the end", async { tokio::join!(running, killed) })).await;
    assert!(matches!(output, Err(LinkError::Gone(_))), "{output:?}");
    assert!(matches!(keeper.info().await, Err(LinkError::Gone(_))));
}

#[tokio::test]
async fn who_takes_no_output_hears_of_the_end() {
    let sandbox = Sandbox::new().await;
    let keeper = sandbox.keeper();
    let run = sandbox.run("head -c 3000000 /dev/zero; exit 7");
    let io = ProgramIo::Pty { size: Default::default() };
    let spec = ProgramSpec::new(run.id, run.argv, run.env, run.cwd, io);
    keeper.start(spec).await.unwrap();
    let open = Open { output: false, ..Open::new("r", Mode::View) };
    let mut channel = keeper.open(open).await.unwrap();
    let exit = soon("the exit", async {
        loop {
            match channel.next().await.unwrap() {
                ChannelEvent::Message(ServerMessage::Exit(status)) => return status,
                ChannelEvent::Message(_) => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(exit.code, Some(7));
}
