//! A sandbox as a pod: one container of the harness's image, whose first process is the keeper.
//!
//! Nothing of a session is in it: that reaches the sandbox through its keeper. Any image will do, since the keeper
//! comes from an image of its own: mounted where the cluster has image volumes, and else copied by an init container.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::model::Resources;
use crate::model::validate::quantity;
use crate::sandbox::{SANDBOX_VARIABLE, SandboxError, SandboxSpec};

/// Where the keeper's program is in a sandbox: a place that hides nothing of the image's own.
const KEEPER_FOLDER: &str = "/.lap/keeper";
/// The keeper's program.
pub(super) const KEEPER: &str = "/.lap/keeper/lap-keeper";
/// Where it listens.
pub(super) const SOCKET: &str = "/.lap/run/keeper.sock";
/// Where programs start.
pub(super) const WORKSPACE: &str = "/workspace";
/// The home of whoever everything runs as.
pub(super) const HOME: &str = "/home/agent";
/// The container that everything runs in.
pub(super) const CONTAINER: &str = "harness";
/// Marks what is ours: nothing else is ever listed or touched.
pub(super) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "lap");
/// Whom everything runs as: nobody in particular, who may write to the volumes and nowhere else.
const USER: i64 = 10_001;
/// Between SIGTERM and SIGKILL when the pod is deleted, in seconds: the keeper's own grace, and a little.
const GRACE: i64 = 15;

/// How the keeper comes into the pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeeperBy {
    /// Its image is a volume.
    ImageVolume,
    /// An init container copies it.
    InitContainer,
}

/// What is the same for all pods.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) namespace: String,
    pub(super) keeper_image: String,
    pub(super) keeper_by: KeeperBy,
    /// Of harnesses that name none.
    pub(super) default_image: Option<String>,
    pub(super) pull_policy: String,
}

impl Template {
    /// The pod of a sandbox.
    pub(super) fn pod(&self, spec: &SandboxSpec) -> Result<Pod, SandboxError> {
        let image = spec.image.as_ref().or(self.default_image.as_ref()).ok_or_else(|| {
            SandboxError::Failed(
                "the harness has no image: set the agent's harness_image, K8S_HARNESS_IMAGE_<ID> or K8S_HARNESS_IMAGE"
                    .to_owned(),
            )
        })?;
        let mut labels = spec.labels.clone();
        labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
        let confined = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
        });
        let keeper_mount = json!({ "name": "keeper", "mountPath": KEEPER_FOLDER });
        let (keeper_volume, init) = match self.keeper_by {
            KeeperBy::ImageVolume => {
                let image = json!({ "reference": self.keeper_image, "pullPolicy": self.pull_policy });
                (json!({ "name": "keeper", "image": image }), json!([]))
            }
            KeeperBy::InitContainer => (
                json!({ "name": "keeper", "emptyDir": {} }),
                json!([{
                    "name": "keeper",
                    "image": self.keeper_image,
                    "imagePullPolicy": self.pull_policy,
                    "command": ["/lap-keeper", "install", "--to", KEEPER],
                    "securityContext": confined,
                    "resources": { "limits": { "cpu": "100m", "memory": "32Mi" } },
                    "volumeMounts": [keeper_mount],
                }]),
            ),
        };
        let pod = json!({
            "metadata": { "name": spec.name, "namespace": self.namespace, "labels": labels },
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": GRACE,
                "runtimeClassName": spec.resources.runtime_class,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": USER,
                    "runAsGroup": USER,
                    "fsGroup": USER,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "initContainers": init,
                "containers": [{
                    "name": CONTAINER,
                    "image": image,
                    "imagePullPolicy": self.pull_policy,
                    "command": [KEEPER, "run", "--inherit-env", "--socket", SOCKET],
                    "workingDir": WORKSPACE,
                    "env": [
                        { "name": SANDBOX_VARIABLE, "value": spec.name },
                        { "name": "HOME", "value": HOME },
                    ],
                    "securityContext": confined,
                    "resources": resources(&spec.resources),
                    "volumeMounts": [
                        keeper_mount,
                        { "name": "run", "mountPath": "/.lap/run" },
                        { "name": "workspace", "mountPath": WORKSPACE },
                        { "name": "home", "mountPath": HOME },
                        { "name": "tmp", "mountPath": "/tmp" },
                    ],
                }],
                "volumes": [
                    keeper_volume,
                    { "name": "run", "emptyDir": {} },
                    { "name": "workspace", "emptyDir": {} },
                    { "name": "home", "emptyDir": {} },
                    { "name": "tmp", "emptyDir": {} },
                ],
            },
        });
        serde_json::from_value(pod)
            .map_err(|error| SandboxError::Failed(format!("its pod cannot be made: {error}")))
    }
}

/// What it asks for and may take. Of what only one side says, the other's default gives way to it: nothing can ask for
/// more than its limit.
fn resources(given: &Resources) -> Value {
    let (mut requests, mut limits) = (json!({}), json!({}));
    let (asks, may) = (&given.requests, &given.limits);
    for (name, ask, most, default) in [
        ("cpu", &asks.cpu, &may.cpu, Some(("100m", "2"))),
        ("memory", &asks.memory, &may.memory, Some(("512Mi", "4Gi"))),
        ("ephemeral-storage", &asks.ephemeral_storage, &may.ephemeral_storage, None),
    ] {
        let (ask, most) = (ask.as_deref(), most.as_deref());
        let default_ask = default.map(|(ask, _)| match most {
            Some(most) if quantity(most) < quantity(ask) => most,
            _ => ask,
        });
        let default_most = default.map(|(_, most)| match ask {
            Some(ask) if quantity(ask) > quantity(most) => ask,
            _ => most,
        });
        if let Some(ask) = ask.or(default_ask) {
            requests[name] = json!(ask);
        }
        if let Some(most) = most.or(default_most) {
            limits[name] = json!(most);
        }
    }
    json!({ "requests": requests, "limits": limits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxName;

    fn template(keeper_by: KeeperBy) -> Template {
        Template {
            namespace: "agents".to_owned(),
            keeper_image: "keeper:1".to_owned(),
            keeper_by,
            default_image: None,
            pull_policy: "Never".to_owned(),
        }
    }

    fn spec(image: Option<&str>) -> SandboxSpec {
        SandboxSpec {
            name: SandboxName("s-1".to_owned()),
            image: image.map(str::to_owned),
            resources: Resources::default(),
            labels: [("lap.session".to_owned(), "x".to_owned())].into(),
        }
    }

    #[test]
    fn a_pod_gives_its_programs_no_more_than_they_need() {
        let mut spec = spec(Some("codex:1"));
        spec.resources.limits.cpu = Some("4".to_owned());
        spec.resources.runtime_class = Some("gvisor".to_owned());
        let pod = template(KeeperBy::ImageVolume).pod(&spec).unwrap();
        let (labels, pod) = (pod.metadata.labels.unwrap(), pod.spec.unwrap());
        assert_eq!(labels["app.kubernetes.io/managed-by"], "lap");
        assert_eq!(labels["lap.session"], "x");
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert_eq!(pod.runtime_class_name.as_deref(), Some("gvisor"));
        assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
        assert!(pod.init_containers.unwrap_or_default().is_empty());
        let harness = &pod.containers[0];
        let security = harness.security_context.as_ref().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
        let resources = harness.resources.as_ref().unwrap();
        assert_eq!(resources.limits.as_ref().unwrap()["cpu"].0, "4");
        assert_eq!(resources.limits.as_ref().unwrap()["memory"].0, "4Gi");
        assert_eq!(resources.requests.as_ref().unwrap()["cpu"].0, "100m");
    }

    #[test]
    fn what_only_one_side_says_moves_the_others_default() {
        let of = |ask: Option<&str>, most: Option<&str>| {
            let mut given = Resources::default();
            given.requests.memory = ask.map(str::to_owned);
            given.limits.memory = most.map(str::to_owned);
            let all = resources(&given);
            (all["requests"]["memory"].clone(), all["limits"]["memory"].clone())
        };
        for (ask, most, expected) in [
            (None, None, ("512Mi", "4Gi")),
            (Some("8Gi"), None, ("8Gi", "8Gi")),
            (None, Some("256Mi"), ("256Mi", "256Mi")),
            (Some("1Gi"), None, ("1Gi", "4Gi")),
            (Some("1Gi"), Some("2Gi"), ("1Gi", "2Gi")),
        ] {
            assert_eq!(of(ask, most), (json!(expected.0), json!(expected.1)), "{ask:?} {most:?}");
        }
    }

    #[test]
    fn without_image_volumes_the_keeper_is_copied() {
        let pod = template(KeeperBy::InitContainer).pod(&spec(Some("codex:1"))).unwrap().spec.unwrap();
        let init = &pod.init_containers.unwrap()[0];
        assert_eq!(init.image.as_deref(), Some("keeper:1"));
        assert_eq!(init.command.as_ref().unwrap()[1..], ["install", "--to", KEEPER]);
        let keeper = pod.volumes.unwrap().into_iter().find(|volume| volume.name == "keeper").unwrap();
        assert!(keeper.empty_dir.is_some());
    }

    #[test]
    fn a_harness_without_an_image_is_told_what_to_set() {
        let error = template(KeeperBy::ImageVolume).pod(&spec(None)).unwrap_err().to_string();
        assert!(error.contains("harness_image") && error.contains("K8S_HARNESS_IMAGE"), "{error}");
        let default = Template { default_image: Some("all:1".to_owned()), ..template(KeeperBy::ImageVolume) };
        assert_eq!(
            default.pod(&spec(None)).unwrap().spec.unwrap().containers[0].image.as_deref(),
            Some("all:1")
        );
    }
}
