//! Sandboxes in a Kubernetes cluster: each a pod, whose keeper is reached by an exec through the API server. No port is
//! opened in a pod, and nothing but that one exec is used to reach it.

mod cluster;
mod exec;
mod pod;
mod status;
mod watch;

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, AttachParams, DeleteParams, ListParams, LogParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_deleted;
use kube::runtime::watcher::{self, watch_object};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_util::task::TaskTracker;

use self::cluster::{explain, within};
use self::exec::ExecStream;
use self::pod::{CONTAINER, HOME, KEEPER, KeeperBy, MANAGED_BY, SOCKET, Template, WORKSPACE};
use super::{
    Dialed, SandboxError, SandboxEvent, SandboxName, SandboxRuntime, SandboxSpec, SandboxState,
    SandboxStatus, Tail,
};
use crate::config::Kubernetes;
use crate::model::Unsaved;

/// How long an exec may take to be there.
const EXEC: Duration = Duration::from_secs(30);
/// How long a deleted pod may take to go, beyond its own grace.
const REMOVAL: Duration = Duration::from_secs(60);
/// How long counting unsaved work may take; the keeper gives up earlier by itself.
const COUNT: Duration = Duration::from_secs(10);
/// Bytes of a count's answer.
const MAX_ANSWER: u64 = 64 * 1024;
/// From this minor version on, clusters have image volumes unless they are turned off (KEP-4639).
const IMAGE_VOLUMES_SINCE: u32 = 35;

/// The runtime for a cluster.
#[derive(Clone)]
pub struct KubeRuntime {
    pods: Api<Pod>,
    client: Client,
    template: Template,
    tasks: TaskTracker,
}

impl KubeRuntime {
    /// Connects to the cluster that is configured, and finds out what it can.
    ///
    /// # Errors
    /// When it cannot be reached, or does not know us; what to do about it.
    pub async fn open(settings: &Kubernetes) -> Result<KubeRuntime, SandboxError> {
        let client = cluster::connect(settings).await?;
        let version = within(client.apiserver_version()).await.map_err(explain)?;
        let minor: u32 = version.minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
        let keeper_by = match settings.keeper_by.as_str() {
            "image-volume" => KeeperBy::ImageVolume,
            "init-container" => KeeperBy::InitContainer,
            _ if minor >= IMAGE_VOLUMES_SINCE => KeeperBy::ImageVolume,
            _ => KeeperBy::InitContainer,
        };
        tracing::info!(
            version = version.git_version,
            ?keeper_by,
            namespace = settings.namespace,
            "a cluster"
        );
        let template = Template {
            namespace: settings.namespace.clone(),
            keeper_image: settings.keeper_image.clone(),
            keeper_by,
            default_image: settings.harness_image.clone(),
            pull_policy: settings.image_pull_policy.clone(),
        };
        let pods = Api::namespaced(client.clone(), &settings.namespace);
        Ok(KubeRuntime { pods, client, template, tasks: TaskTracker::new() })
    }

    /// Runs a program in a sandbox, joined to its standard input and output.
    async fn exec(
        &self,
        name: &SandboxName,
        command: &[&str],
    ) -> Result<ExecStream<impl AsyncRead + AsyncWrite + Send + Unpin + use<>>, SandboxError> {
        let params = AttachParams::default().container(CONTAINER).stdin(true).stdout(true).stderr(true);
        let url = <Pod as kube::Resource>::url_path(&(), Some(&self.template.namespace));
        let request = kube::core::Request::new(url).exec(&name.0, command.iter().copied(), &params);
        let request = request.map_err(|error| SandboxError::Failed(error.to_string()))?;
        match tokio::time::timeout(EXEC, self.client.connect(request)).await {
            Ok(Ok(connection)) => {
                let closes = connection.supports_stream_close();
                Ok(ExecStream::new(connection.into_stream(), closes))
            }
            // What is said of a pod that is not there is said of one, too, whose node's parts are just being started:
            // the pod itself is asked for.
            Ok(Err(error)) => Err(self.why_not(name, explain(error)).await),
            Err(_) => Err(SandboxError::Unavailable("the API server does not answer in time".to_owned())),
        }
    }

    /// Why a sandbox cannot be reached: it is gone, or something in between is.
    async fn why_not(&self, name: &SandboxName, error: SandboxError) -> SandboxError {
        match self.inspect(name).await {
            Ok(None) => SandboxError::NotFound(name.clone()),
            Ok(Some(SandboxStatus { state: SandboxState::Gone { reason }, .. })) => {
                SandboxError::Failed(reason)
            }
            Ok(Some(SandboxStatus { state: SandboxState::Pending { detail }, .. })) => {
                SandboxError::Unavailable(detail)
            }
            // Of one that is not seen to be gone an exec is refused for now, whatever is said: a node that is away, an API
            // server that has just been started and knows nobody's rights yet.
            _ => SandboxError::Unavailable(error.to_string()),
        }
    }
}

#[async_trait]
impl SandboxRuntime for KubeRuntime {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    fn unconfined(&self) -> bool {
        false
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        let pod = self.template.pod(spec)?;
        match within(self.pods.create(&PostParams::default(), &pod)).await {
            Ok(_) => Ok(()),
            // The name is ours: it was made before.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(explain(error)),
        }
    }

    async fn wait_running(
        &self,
        name: &SandboxName,
        progress: &mpsc::Sender<SandboxState>,
    ) -> Result<(), SandboxError> {
        let mut seen = None;
        let mut pods = std::pin::pin!(watch_object(self.pods.clone(), &name.0).default_backoff());
        while let Some(found) = pods.next().await {
            let pod = match found {
                Ok(Some(pod)) => pod,
                Ok(None) => return Err(SandboxError::NotFound(name.clone())),
                Err(error) => {
                    tracing::debug!(sandbox = %name, %error, "a pod cannot be watched; trying again");
                    continue;
                }
            };
            let state = status::state(&pod);
            if seen.as_ref() != Some(&state) {
                let _ = progress.try_send(state.clone());
                seen = Some(state.clone());
            }
            match state {
                SandboxState::Running => return Ok(()),
                SandboxState::Gone { reason } => return Err(SandboxError::Failed(reason)),
                SandboxState::Pending { .. } | SandboxState::Unknown { .. } => {
                    if let Some(why) = status::hopeless(&pod) {
                        return Err(SandboxError::Failed(why));
                    }
                }
            }
        }
        Err(SandboxError::Unavailable("its pod cannot be watched any more".to_owned()))
    }

    async fn delete(&self, name: &SandboxName) -> Result<(), SandboxError> {
        let uid = match within(self.pods.delete(&name.0, &DeleteParams::default())).await {
            Ok(either) => either.left().and_then(|pod| pod.metadata.uid),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => return Err(explain(error)),
        };
        let Some(uid) = uid else { return Ok(()) };
        let gone = await_condition(self.pods.clone(), &name.0, is_deleted(&uid));
        match tokio::time::timeout(REMOVAL, gone).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(SandboxError::Unavailable(format!("its pod cannot be watched: {error}"))),
            Err(_) => Err(SandboxError::Unavailable(
                "its pod has been deleted and does not go: is its node reachable?".to_owned(),
            )),
        }
    }

    async fn inspect(&self, name: &SandboxName) -> Result<Option<SandboxStatus>, SandboxError> {
        let pod = within(self.pods.get_opt(&name.0)).await.map_err(explain)?;
        Ok(pod.as_ref().and_then(status::status))
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, SandboxError> {
        let ours = ListParams::default().labels(&selector());
        let pods = within(self.pods.list(&ours)).await.map_err(explain)?;
        Ok(pods.items.iter().filter_map(status::status).collect())
    }

    async fn watch(&self) -> Result<mpsc::Receiver<SandboxEvent>, SandboxError> {
        let pods = watcher::watcher(self.pods.clone(), watcher::Config::default().labels(&selector()));
        Ok(watch::follow(pods.default_backoff(), &self.tasks))
    }

    async fn dial(&self, name: &SandboxName) -> Result<Dialed, SandboxError> {
        let stream = self.exec(name, &[KEEPER, "connect", "--socket", SOCKET]).await?;
        Ok(Dialed::Stream(Box::new(stream)))
    }

    async fn logs(&self, name: &SandboxName, tail: Tail) -> Result<String, SandboxError> {
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            tail_lines: Some(tail.lines.into()),
            since_seconds: tail.within.map(|within| i64::try_from(within.as_secs()).unwrap_or(i64::MAX)),
            ..LogParams::default()
        };
        match within(self.pods.logs(&name.0, &params)).await {
            Ok(text) => Ok(text),
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                Err(SandboxError::NotFound(name.clone()))
            }
            Err(error) => Err(explain(error)),
        }
    }

    async fn unsaved(&self, name: &SandboxName, ours: &[String]) -> Result<Unsaved, SandboxError> {
        let mut command = vec![KEEPER, "unsaved", WORKSPACE];
        command.extend(ours.iter().flat_map(|path| ["--ours", path.as_str()]));
        let mut stream = self.exec(name, &command).await?;
        let (mut answer, unavailable) = (Vec::new(), SandboxError::Unavailable);
        let reading = async { (&mut stream).take(MAX_ANSWER).read_to_end(&mut answer).await };
        match tokio::time::timeout(COUNT, reading).await {
            Ok(Ok(_)) => serde_json::from_slice(&answer).map_err(|_| unavailable(stream.words())),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable("what is unsaved cannot be counted: it takes too long".to_owned())),
        }
    }

    fn workspace_path(&self, _: &SandboxName) -> Option<std::path::PathBuf> {
        None
    }

    async fn workspaces(&self) -> Result<Vec<String>, SandboxError> {
        // They go with their pods.
        Ok(Vec::new())
    }

    async fn erase_workspace(&self, _: &str) -> Result<(), SandboxError> {
        Ok(())
    }

    fn home(&self) -> Option<&'static str> {
        Some(HOME)
    }

    fn workdir(&self, _: &SandboxName) -> String {
        WORKSPACE.to_owned()
    }
}

fn selector() -> String {
    format!("{}={}", MANAGED_BY.0, MANAGED_BY.1)
}
