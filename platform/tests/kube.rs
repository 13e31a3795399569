//! Sandboxes in a real cluster, each test in a namespace of its own. `tests/cluster/run` starts a cluster and runs them;
//! `LAP_TEST_KUBECONFIG` names any other. The images must be there: `LAP_TEST_IMAGE` (a shell and busybox's programs) and
//! `LAP_TEST_KEEPER_IMAGE`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::Kubeconfig;
use kube::runtime::wait::await_condition;
use lap_platform::config::{Config, Environment, LoadOptions, Runtime};
use lap_platform::model::{Agent, DeathCode, ExecRequest, Session, SessionStatus, Unsaved};
use lap_platform::sandbox::kube::KubeRuntime;
use lap_platform::sandbox::{SandboxName, SandboxRuntime};
use support::{Data, Typist, World, agent, reaches, soon};

fn var(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// What a server is given: the role that is deployed with it, and not the rights of whoever runs the tests.
async fn server_access(client: &kube::Client, namespace: &str, mut file: Kubeconfig) -> String {
    let of = |text: &str| -> serde_json::Value { serde_saphyr::from_str(text).unwrap() };
    let role = of(include_str!("../../docs/deploy/role.yaml"));
    let account = serde_json::json!({ "metadata": { "name": "lap-server" } });
    let binding = serde_json::json!({
        "metadata": { "name": "lap-server" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lap-server" },
        "subjects": [{ "kind": "ServiceAccount", "name": "lap-server", "namespace": namespace }],
    });
    let create = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    accounts.create(&create, &serde_json::from_value(account).unwrap()).await.unwrap();
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    roles.create(&create, &serde_json::from_value(role).unwrap()).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    bindings.create(&create, &serde_json::from_value(binding).unwrap()).await.unwrap();
    let there = |account: Option<&ServiceAccount>| account.is_some();
    soon("the namespace", await_condition(accounts.clone(), "default", there)).await.unwrap();
    let wanted = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let token = accounts.create_token_request("lap-server", &create, &wanted).await.unwrap();
    let token = token.status.unwrap().token;
    for user in &mut file.auth_infos {
        user.auth_info =
            Some(kube::config::AuthInfo { token: Some(token.clone().into()), ..Default::default() });
    }
    serde_json::to_string(&file).unwrap()
}

/// Prints the processes that join execs to the keeper. (Its own command line is not among them.)
const CONNECTS: &str = "for p in /proc/[0-9]*; do case \"$(tr '\\0' ' ' <$p/cmdline)\" in *'keeper c'[o]nnect*) echo ${p#/proc/};; esac; done";

/// A service whose sandboxes are pods in a namespace that goes with it.
struct Cluster {
    world: World,
    client: kube::Client,
    namespace: String,
}

impl Cluster {
    async fn new() -> Cluster {
        let kubeconfig =
            std::env::var("LAP_TEST_KUBECONFIG").expect("LAP_TEST_KUBECONFIG, which tests/cluster/run sets");
        let namespace = format!("lap-test-{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
        let image = var("LAP_TEST_IMAGE", "docker.io/local/testbox:1");
        let keeper = var("LAP_TEST_KEEPER_IMAGE", "docker.io/local/lap-keeper:1");
        let file = kube::config::Kubeconfig::read_from(&kubeconfig).unwrap();
        let access = kube::Config::from_custom_kubeconfig(file.clone(), &Default::default()).await.unwrap();
        let client = kube::Client::try_from(access).unwrap();
        let wanted = serde_json::json!({ "metadata": { "name": namespace } });
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &serde_json::from_value(wanted).unwrap()).await.unwrap();
        let own =
            base64::engine::general_purpose::STANDARD.encode(server_access(&client, &namespace, file).await);
        let by = var("LAP_TEST_KEEPER_BY", "auto");
        let environment = Environment::from_pairs([
            ("HOME", "/nonexistent"),
            ("KUBE_CONFIG_B64", own.as_str()),
            ("K8S_NAMESPACE", namespace.as_str()),
            ("K8S_HARNESS_IMAGE", image.as_str()),
            ("LAP_KEEPER_IMAGE", keeper.as_str()),
            ("LAP_KEEPER_BY", by.as_str()),
        ]);
        let config = Config::load(LoadOptions { environment, ..LoadOptions::default() }).unwrap();
        assert_eq!(config.runtime, Runtime::Kubernetes);
        let runtime: Arc<dyn SandboxRuntime> = Arc::new(KubeRuntime::open(&config.kubernetes).await.unwrap());

        let data = Data::new();
        let mut options = data.options();
        options.settings.defaults.reconcile_interval = Duration::from_secs(1);
        let store = options.store().await.unwrap();
        let sessions = options.start(store.clone(), Arc::clone(&runtime)).await.unwrap();
        Cluster { world: World { data, store, runtime, sessions }, client, namespace }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn with(&self, change: impl FnOnce(&mut Agent)) -> Session {
        let mut agent = agent();
        agent.resources.requests.memory = Some("16Mi".to_owned());
        agent.resources.requests.cpu = Some("10m".to_owned());
        change(&mut agent);
        let agent = self.world.store.agents().create(agent).await.unwrap().agent;
        self.world.create(&agent).await
    }

    async fn ready(&self) -> Session {
        let session = self.with(|_| {}).await;
        self.reaches(&session, SessionStatus::Ready).await
    }

    async fn reaches(&self, session: &Session, status: SessionStatus) -> Session {
        reaches(&self.world.sessions, &self.world.store, session.id, status).await
    }

    async fn run(&self, session: &Session, script: &str) -> (i32, String) {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecRequest { command, stdin: None, timeout_seconds: None };
        let result = self.world.sessions.exec(session.id, request, None).await.unwrap();
        (result.exit_code, result.stdout + &result.stderr)
    }

    /// Nothing is left in the namespace, which then goes too.
    async fn ends(self) {
        soon("the pods to go", async {
            while !self.pods().list(&Default::default()).await.unwrap().items.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        self.world.sessions.shutdown().await;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "run by tests/cluster/run, which starts a cluster"]
async fn a_session_is_a_pod_with_a_terminal_commands_and_an_end() {
    let cluster = Cluster::new().await;
    let session = cluster.ready().await;
    assert!(!session.unconfined);
    let pod = cluster.pods().get(session.task_arn.as_deref().unwrap()).await.unwrap();
    assert_eq!(pod.metadata.labels.unwrap()["lap.session"], session.id.to_string());

    let mut typist = Typist::attach(&cluster.world.client(&session).await).await;
    typist.types("echo mark-$((40+2)); pwd; id -u; stty size\n").await;
    for text in ["mark-42", "/workspace", "10001", "24 80"] {
        typist.sees(text).await;
    }
    // The image's own PATH is beneath what the session gives.
    let (code, output) =
        cluster.run(&session, "echo $PATH; echo $HOME; echo $LANG; touch $HOME/x /tmp/y; exit 3").await;
    assert_eq!(code, 3, "{output}");
    assert!(output.contains("/usr/bin") && output.contains("/home/agent"), "{output}");
    let (_, output) = cluster
        .run(
            &session,
            "touch /etc/x 2>&1; cat /proc/1/status | grep -e CapEff -e NoNewPrivs; ls /var/run/secrets 2>&1",
        )
        .await;
    assert!(output.contains("0000000000000000") && output.contains("NoNewPrivs:\t1"), "{output}");
    assert!(output.contains("denied") && output.contains("No such file"), "{output}");

    cluster.run(&session, "echo mine >/workspace/notes").await;
    let name = SandboxName(session.task_arn.clone().unwrap());
    // The image has no git, and there is no repository: files are counted without it.
    assert_eq!(cluster.world.runtime.unsaved(&name, &[]).await.unwrap(), Unsaved { files: 1, commits: 0 });
    typist.types("exit 7\n").await;
    let dead = cluster.reaches(&session, SessionStatus::Dead).await;
    assert_eq!((dead.death, dead.exit_code), (Some(DeathCode::Exited), Some(7)));
    cluster.ends().await;
}

#[tokio::test]
#[ignore = "run by tests/cluster/run, which starts a cluster"]
async fn a_stream_is_exact_over_execs_that_are_cut_again_and_again() {
    let cluster = Cluster::new().await;
    let session = cluster.ready().await;
    let mut typist = Typist::attach(&cluster.world.client(&session).await).await;
    typist.types("stty -echo; PS1=; echo be''gin; i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo \"<$i>\"; [ $((i % 100)) = 0 ] && sleep 0.1; done; echo en''d\n").await;
    typist.sees("begin\r\n").await;
    for round in 0..8 {
        // The link itself is what this kills: its command may be told of as ended or as lost.
        let command =
            ["sh", "-c", &format!("{CONNECTS} | while read p; do echo >>/tmp/cuts; kill -9 $p; done")];
        let command = command.map(str::to_owned).to_vec();
        let request = ExecRequest { command, stdin: None, timeout_seconds: Some(10) };
        let _ = cluster.world.sessions.exec(session.id, request, None).await;
        tokio::time::sleep(Duration::from_millis(50 * round)).await;
    }
    for i in 1..=4000 {
        typist.sees(&format!("<{i}>\r\n")).await;
    }
    typist.sees("end\r\n").await;
    let (_, told) = cluster.run(&session, &format!("wc -l </tmp/cuts; {CONNECTS} | wc -l")).await;
    let told: Vec<u32> = told.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert!(told[0] >= 8, "{told:?}: it was cut");
    // This test's own client and the service's.
    assert!(told[1] <= 2, "{told:?}: of those that were cut none is left");
    cluster.world.sessions.stop(session.id).await.unwrap();
    cluster.ends().await;
}

#[tokio::test]
#[ignore = "run by tests/cluster/run, which starts a cluster"]
async fn another_server_goes_on_with_a_pod_that_runs() {
    let mut cluster = Cluster::new().await;
    let session = cluster.ready().await;
    let mut typist = Typist::attach(&cluster.world.client(&session).await).await;
    typist.types("n=40\n").await;
    cluster.world.sessions.shutdown().await;
    let options = cluster.world.data.options();
    cluster.world.sessions =
        options.start(cluster.world.store.clone(), cluster.world.runtime.clone()).await.unwrap();
    let mut typist = Typist::attach(&cluster.world.client(&session).await).await;
    typist.types("echo mark-$((n+2))\n").await;
    typist.sees("mark-42").await;
    cluster.world.sessions.restart(session.id, None).await.unwrap();
    let again = cluster.reaches(&session, SessionStatus::Ready).await;
    assert_ne!(again.task_arn, session.task_arn);
    cluster.world.sessions.stop(session.id).await.unwrap();
    cluster.ends().await;
}

#[tokio::test]
#[ignore = "run by tests/cluster/run, which starts a cluster"]
async fn a_pod_that_is_deleted_behind_our_back_ends_its_session_with_the_reason() {
    let cluster = Cluster::new().await;
    let session = cluster.ready().await;
    cluster.pods().delete(session.task_arn.as_deref().unwrap(), &DeleteParams::default()).await.unwrap();
    let dead = cluster.reaches(&session, SessionStatus::Dead).await;
    assert_eq!(dead.death, Some(DeathCode::SandboxLost), "{:?}", dead.failure_reason);
    cluster.ends().await;
}

#[tokio::test]
#[ignore = "run by tests/cluster/run, which starts a cluster"]
async fn what_keeps_a_pod_from_coming_up_is_told() {
    let cluster = Cluster::new().await;
    let session =
        cluster.with(|agent| agent.harness_image = Some("registry.invalid/none:1".to_owned())).await;
    let failed = cluster.reaches(&session, SessionStatus::Failed).await;
    let why = failed.failure_reason.unwrap();
    assert!(why.contains("registry.invalid/none:1") && why.contains("cannot be pulled"), "{why}");

    let session = cluster.with(|agent| agent.harness_image = Some("no name!".to_owned())).await;
    let failed = cluster.reaches(&session, SessionStatus::Failed).await;
    assert!(failed.failure_reason.unwrap().contains("no name!"));

    let session = cluster.with(|agent| agent.resources.requests.memory = Some("900Gi".to_owned())).await;
    soon("the detail", async {
        loop {
            let now = cluster.world.sessions.get(session.id).await.unwrap();
            assert_eq!(now.status, SessionStatus::Creating, "{:?}", now.failure_reason);
            let detail = now.phase_detail.unwrap_or_default();
            if detail.contains("no node takes it") && detail.contains("memory") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    cluster.world.sessions.stop(session.id).await.unwrap();
    cluster.ends().await;
}

/// Kills a part of the cluster, as the machine's own `tests/cluster/node` runs it.
fn kill_part(name: &str) {
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
        if program == name.as_bytes() {
            support::kill(rustix::process::Pid::from_raw(pid).unwrap());
            killed += 1;
        }
    }
    assert_eq!(killed, 1, "{name}");
}

#[tokio::test]
#[ignore = "run by tests/cluster/run, which starts a cluster"]
async fn terminals_go_on_with_the_next_byte_when_parts_of_the_cluster_are_killed() {
    if std::env::var_os("LAP_TEST_CLUSTER_IS_OURS").is_none() {
        println!("NOT RUN: it kills parts of the cluster, and this one is somebody's");
        return;
    }
    let cluster = Cluster::new().await;
    let session = cluster.ready().await;
    let mut typist = Typist::attach(&cluster.world.client(&session).await).await;
    typist.types("stty -echo; PS1=; echo be''gin; i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo \"<$i>\"; [ $((i % 50)) = 0 ] && sleep 0.1; done; echo en''d\n").await;
    typist.sees("begin\r\n").await;
    let mut at = 0;
    for part in ["kube-apiserver", "containerd", "kubelet", "kube-apiserver"] {
        for _ in 0..1000 {
            at += 1;
            typist.sees(&format!("<{at}>\r\n")).await;
        }
        kill_part(part);
    }
    while at < 6000 {
        at += 1;
        typist.sees(&format!("<{at}>\r\n")).await;
    }
    typist.sees("end\r\n").await;
    assert_eq!(cluster.world.sessions.get(session.id).await.unwrap().status, SessionStatus::Ready);
    // And what is typed arrives once.
    typist.types("echo mark-$((40+2))\n").await;
    typist.sees("mark-42\r\n").await;
    let others = cluster.ready().await;
    for session in [&session, &others] {
        cluster.world.sessions.stop(session.id).await.unwrap();
    }
    cluster.ends().await;
}
