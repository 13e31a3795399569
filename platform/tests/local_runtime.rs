//! Sandboxes on this machine, with real keepers: found again, watched, and removed without a trace.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use lap_platform::link::{Keeper, LinkError, Links, Run};
use lap_platform::sandbox::local::{LocalOptions, LocalRuntime};
use lap_platform::sandbox::{
    SandboxError, SandboxEvent, SandboxName, SandboxRuntime, SandboxSpec, SandboxState,
};
use support::{Data, keeper_pid, kill, marked, program, soon};
use tokio::sync::mpsc;

fn spec(labels: &[(&str, &str)]) -> SandboxSpec {
    SandboxSpec {
        name: SandboxName(format!("s-{}", uuid::Uuid::new_v4())),
        image: None,
        resources: Default::default(),
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

fn open(data: &Path) -> LocalRuntime {
    let keeper = vec![program().into(), "__keeper".into()];
    LocalRuntime::open(LocalOptions { data: data.to_owned(), keeper }).unwrap()
}

async fn wait_running(runtime: &LocalRuntime, name: &SandboxName) -> Result<(), SandboxError> {
    let (progress, _states) = mpsc::channel(8);
    soon("the sandbox", runtime.wait_running(name, &progress)).await
}

async fn up(runtime: &LocalRuntime, spec: &SandboxSpec) {
    runtime.create(spec).await.unwrap();
    wait_running(runtime, &spec.name).await.unwrap();
}

async fn client(runtime: &LocalRuntime, name: &SandboxName) -> Keeper {
    let runtime: Arc<dyn SandboxRuntime> = Arc::new(runtime.clone());
    let links = Links::start(Arc::new(runtime), tokio::runtime::Handle::current()).unwrap();
    links.keeper(name)
}

fn run(runtime: &LocalRuntime, name: &SandboxName, script: &str) -> Run {
    Run {
        id: "r".to_owned(),
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("LAP_SANDBOX".to_owned(), name.0.clone()),
        ]),
        cwd: runtime.workdir(name),
        stdin: Vec::new(),
        keep: 4096,
        timeout: support::DEADLINE,
    }
}

#[tokio::test]
async fn a_sandbox_outlives_its_server_and_is_found_again() {
    let data = Data::new();
    let spec = spec(&[("lap.session", "x")]);
    let first = open(data.path());
    up(&first, &spec).await;
    let pid = client(&first, &spec.name).await.info().await.unwrap().pid;
    drop(first);

    let second = open(data.path());
    let found = second.list().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].name, &found[0].state, &found[0].labels),
        (&spec.name, &SandboxState::Running, &spec.labels)
    );
    // Made again, it is the same one.
    up(&second, &spec).await;
    assert_eq!(client(&second, &spec.name).await.info().await.unwrap().pid, pid);
    second.delete(&spec.name).await.unwrap();
    second.delete(&spec.name).await.unwrap();
    assert_eq!(second.list().await.unwrap(), []);
}

fn parent_and_session(process: &str) -> (String, String) {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let mut fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(1).map(str::to_owned);
    (fields.next().unwrap(), fields.nth(1).unwrap())
}

#[tokio::test]
async fn a_keeper_is_nobodys_child_and_has_a_session_of_its_own() {
    let data = Data::new();
    let runtime = open(data.path());
    let spec = spec(&[]);
    up(&runtime, &spec).await;
    let keeper = keeper_pid(&data, &spec.name.0).as_raw_nonzero().to_string();
    let (parent, session) = parent_and_session(&keeper);
    assert_ne!(parent, std::process::id().to_string(), "its parent");
    // Not by getsid: where the tests run in a PID namespace, their own session may have no number there.
    assert_ne!(session, parent_and_session("self").1, "its session");
    runtime.delete(&spec.name).await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_keeper_is_told_at_once_and_it_is_gone() {
    let data = Data::new();
    let runtime = open(data.path());
    let (before, after) = (spec(&[]), spec(&[("a", "b")]));
    up(&runtime, &before).await;
    let mut events = runtime.watch().await.unwrap();
    up(&runtime, &after).await;
    for spec in [&before, &after] {
        kill(keeper_pid(&data, &spec.name.0));
        let event = soon("the event", events.recv()).await.unwrap();
        let SandboxEvent::Changed(status) = event else { panic!("{event:?}") };
        assert_eq!((&status.name, &status.labels), (&spec.name, &spec.labels));
        assert!(
            matches!(&status.state, SandboxState::Gone { reason } if reason.contains("killed or crashed"))
        );
        let refused = runtime.connect(&spec.name).await.err().unwrap();
        assert!(matches!(refused, SandboxError::Failed(_)), "{refused}");
        let refused = wait_running(&runtime, &spec.name).await.unwrap_err();
        assert!(matches!(refused, SandboxError::Failed(_)), "it does not come back: {refused}");
        runtime.delete(&spec.name).await.unwrap();
        let event = soon("the event", events.recv()).await.unwrap();
        assert_eq!(event, SandboxEvent::Removed(spec.name.clone()));
    }
}

#[tokio::test]
async fn what_a_killed_keeper_left_running_is_ended_with_its_sandbox() {
    let data = Data::new();
    let runtime = open(data.path());
    let spec = spec(&[]);
    up(&runtime, &spec).await;
    let client = client(&runtime, &spec.name).await;
    let left = run(&runtime, &spec.name, "setsid setsid sleep 1007 > /dev/null 2>&1 & echo begun");
    client.run_once(left).await.unwrap();
    kill(keeper_pid(&data, &spec.name.0));
    soon("the end", async {
        while !matches!(client.info().await, Err(LinkError::Gone(_))) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!marked(&spec.name.0).is_empty(), "it is still there");
    runtime.delete(&spec.name).await.unwrap();
    assert_eq!(marked(&spec.name.0), []);
}

#[tokio::test]
async fn a_keeper_that_hangs_is_killed() {
    let data = Data::new();
    let runtime = open(data.path());
    let spec = spec(&[]);
    up(&runtime, &spec).await;
    let keeper = keeper_pid(&data, &spec.name.0);
    rustix::process::kill_process(keeper, rustix::process::Signal::STOP).unwrap();
    soon("the removal", runtime.delete(&spec.name)).await.unwrap();
    assert_eq!(marked(&spec.name.0), []);
    assert_eq!(data.sandboxes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pid_that_is_another_process_by_now_is_not_touched() {
    let data = Data::new();
    let runtime = open(data.path());
    let spec = spec(&[]);
    up(&runtime, &spec).await;
    let mut bystander = std::process::Command::new("sleep").arg("1008").spawn().unwrap();
    kill(keeper_pid(&data, &spec.name.0));
    // As if the keeper's pid had been given to another process.
    let file = data.path().join("sandboxes").join(&spec.name.0).join("keeper.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", bystander.id())).unwrap();
    let started: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    record["pid"] = bystander.id().into();
    record["start_time"] = (started - 1).into();
    fs::write(&file, record.to_string()).unwrap();
    let found = runtime.inspect(&spec.name).await.unwrap().unwrap();
    assert!(matches!(found.state, SandboxState::Gone { .. }), "{found:?}");
    runtime.delete(&spec.name).await.unwrap();
    assert_eq!(bystander.try_wait().unwrap(), None, "the bystander lives");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[tokio::test]
async fn a_data_directory_with_a_very_long_path_works() {
    let data = Data::new();
    let long = data.path().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&long).unwrap();
    let runtime = open(&long);
    let spec = spec(&[]);
    up(&runtime, &spec).await;
    let output = client(&runtime, &spec.name).await.run_once(run(&runtime, &spec.name, "pwd")).await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), runtime.workdir(&spec.name));
    runtime.delete(&spec.name).await.unwrap();
    assert_eq!(marked(&spec.name.0), []);
}

#[tokio::test]
async fn a_workspace_outlives_its_sandbox_and_is_there_for_the_next() {
    let data = Data::new();
    let runtime = open(data.path());
    let spec = spec(&[]);
    up(&runtime, &spec).await;
    let note = run(&runtime, &spec.name, "echo mine > notes");
    client(&runtime, &spec.name).await.run_once(note).await.unwrap();
    runtime.delete(&spec.name).await.unwrap();
    assert_eq!(data.sandboxes(), Vec::<String>::new());
    up(&runtime, &spec).await;
    let output = client(&runtime, &spec.name).await.run_once(run(&runtime, &spec.name, "cat notes")).await;
    assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), "mine\n");
    runtime.delete(&spec.name).await.unwrap();
    for workspace in runtime.workspaces().await.unwrap() {
        runtime.erase_workspace(&workspace).await.unwrap();
    }
    assert_eq!(fs::read_dir(data.path().join("workspaces")).unwrap().count(), 0);
}

#[tokio::test]
async fn while_the_data_directory_is_away_nothing_is_said_to_be_gone() {
    let home = Data::new();
    let (data, away) = (home.path().join("data"), home.path().join("away"));
    fs::create_dir(&data).unwrap();
    let runtime = open(&data);
    let there = spec(&[]);
    up(&runtime, &there).await;
    fs::rename(&data, &away).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::create_dir_all(data.join("sandboxes")).unwrap();
        }
        let unavailable =
            |error: SandboxError| assert!(matches!(error, SandboxError::Unavailable(_)), "{error}");
        unavailable(runtime.list().await.unwrap_err());
        unavailable(runtime.inspect(&there.name).await.unwrap_err());
        unavailable(runtime.dial(&there.name).await.err().unwrap());
        unavailable(runtime.delete(&there.name).await.unwrap_err());
        unavailable(runtime.create(&spec(&[])).await.unwrap_err());
    }
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    let states: Vec<_> = runtime.list().await.unwrap().into_iter().map(|s| (s.name, s.state)).collect();
    assert_eq!(states, [(there.name.clone(), SandboxState::Running)]);
    runtime.delete(&there.name).await.unwrap();
    assert_eq!(marked(&there.name.0), []);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_says_so() {
    let data = Data::new();
    let file = data.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = LocalRuntime::open(LocalOptions { data: file, keeper: Vec::new() }).unwrap_err();
    assert!(refused.to_string().starts_with("cannot keep sandboxes in "), "{refused}");
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_no_sandboxes() {
    let data = Data::new();
    let runtime = open(data.path());
    fs::create_dir_all(data.path().join("workspaces/precious")).unwrap();
    for name in ["../workspaces", "..", "", "a/b", "UPPER"] {
        let name = SandboxName(name.to_owned());
        assert_eq!(runtime.inspect(&name).await.unwrap(), None);
        runtime.delete(&name).await.unwrap();
        assert!(runtime.create(&SandboxSpec { name, ..spec(&[]) }).await.is_err());
    }
    assert!(data.path().join("workspaces/precious").exists());
}

#[tokio::test]
async fn a_broken_description_hides_no_other_sandbox_and_can_be_removed() {
    let data = Data::new();
    let runtime = open(data.path());
    let (good, broken) = (spec(&[]), spec(&[]));
    up(&runtime, &good).await;
    up(&runtime, &broken).await;
    // As a power cut leaves it.
    fs::write(data.path().join("sandboxes").join(&broken.name.0).join("spec.json"), "").unwrap();
    let states: BTreeMap<_, _> =
        runtime.list().await.unwrap().into_iter().map(|s| (s.name, s.state)).collect();
    assert_eq!(states[&good.name], SandboxState::Running);
    assert!(matches!(states[&broken.name], SandboxState::Gone { .. }));
    for spec in [good, broken] {
        runtime.delete(&spec.name).await.unwrap();
        assert_eq!(marked(&spec.name.0), []);
    }
}

#[tokio::test]
async fn what_runs_of_a_sandbox_whose_folder_is_gone_is_listed_and_ended() {
    let data = Data::new();
    let runtime = open(data.path());
    let (lost, other) = (spec(&[]), spec(&[]));
    up(&runtime, &lost).await;
    up(&runtime, &other).await;
    // At one stroke: a keeper that sees its socket go makes it again.
    fs::rename(data.path().join("sandboxes").join(&lost.name.0), data.path().join("aside")).unwrap();
    fs::remove_dir_all(data.path().join("aside")).unwrap();
    assert_eq!(runtime.inspect(&lost.name).await.unwrap(), None);
    let listed = runtime.list().await.unwrap();
    let found = listed.iter().find(|status| status.name == lost.name).unwrap();
    assert_eq!(found.state, SandboxState::Gone { reason: "its folder was removed".to_owned() });
    assert_eq!(found.labels["lap.session"], lost.name.0["s-".len()..], "its name says whose it was");
    assert!(listed.iter().any(|status| status.name == other.name && status.state == SandboxState::Running));
    runtime.delete(&lost.name).await.unwrap();
    assert!(marked(&lost.name.0).is_empty());
    assert!(!marked(&other.name.0).is_empty());
    runtime.delete(&other.name).await.unwrap();
    assert_eq!(runtime.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_copy_of_a_data_directory_ends_nothing_of_the_other() {
    let data = Data::new();
    let runtime = open(data.path());
    let spec = spec(&[]);
    up(&runtime, &spec).await;
    let copied = tempfile::tempdir().unwrap();
    let folder = copied.path().join("sandboxes").join(&spec.name.0);
    fs::create_dir_all(&folder).unwrap();
    for file in ["spec.json", "keeper.json"] {
        let from = data.path().join("sandboxes").join(&spec.name.0).join(file);
        fs::copy(from, folder.join(file)).unwrap();
    }
    let copy = open(copied.path());
    copy.delete(&spec.name).await.unwrap();
    assert_eq!(copy.list().await.unwrap(), []);
    assert_eq!(client(&runtime, &spec.name).await.info().await.unwrap().pid, {
        u32::try_from(keeper_pid(&data, &spec.name.0).as_raw_nonzero().get()).unwrap()
    });
    runtime.delete(&spec.name).await.unwrap();
}
