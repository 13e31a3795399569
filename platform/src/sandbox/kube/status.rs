//! What a pod's status means for its sandbox.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};

use super::pod::CONTAINER;
use crate::sandbox::{SandboxName, SandboxState, SandboxStatus};

/// Why a container waits, where waiting will not help.
const HOPELESS: &[&str] = &[
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "InvalidImageName",
    "RunContainerError",
    "ImagePullBackOff",
    "CrashLoopBackOff",
];

/// A sandbox as its pod has it.
pub(super) fn status(pod: &Pod) -> Option<SandboxStatus> {
    let name = SandboxName(pod.metadata.name.clone()?);
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    Some(SandboxStatus { name, state: state(pod), labels })
}

/// Where a pod's sandbox stands.
pub(super) fn state(pod: &Pod) -> SandboxState {
    let unknown = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&unknown);
    let harness = containers(status).find(|container| container.name == CONTAINER);
    let state = harness.and_then(|harness| harness.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        return SandboxState::Gone { reason: end(status, ended) };
    }
    match status.phase.as_deref() {
        Some("Failed" | "Succeeded") => {
            SandboxState::Gone { reason: said(status).unwrap_or("its pod has ended".to_owned()) }
        }
        Some("Running") if state.is_some_and(|state| state.running.is_some()) => SandboxState::Running,
        _ => SandboxState::Pending { detail: waits_for(status) },
    }
}

/// Why a pod will not come up, if that is certain.
pub(super) fn hopeless(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let waiting = containers(status).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| HOPELESS.contains(reason))?;
        Some(sentence(container, reason, waiting.message.as_deref()))
    });
    let init_failed = || {
        status.init_container_statuses.iter().flatten().find_map(|container| {
            let ended = container.state.as_ref()?.terminated.as_ref()?;
            let code = Some(ended.exit_code).filter(|code| *code != 0)?;
            let words = ended.message.as_deref().unwrap_or_default();
            Some(format!("its init container {} has ended with {code}: {words}", container.name))
        })
    };
    waiting.or_else(init_failed)
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
}

fn sentence(container: &ContainerStatus, reason: &str, message: Option<&str>) -> String {
    let message = message.unwrap_or_default();
    match reason {
        "ImagePullBackOff" | "ErrImagePull" | "ErrImageNeverPull" => {
            format!("its image {} cannot be pulled ({reason}): {message}", container.image)
        }
        "InvalidImageName" => format!("{:?} is no name of an image", container.image),
        _ => format!("its container {} does not start ({reason}): {message}", container.name),
    }
}

/// What a pod that is not up yet waits for.
fn waits_for(status: &PodStatus) -> String {
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let message = condition.message.as_deref().unwrap_or("no node has been chosen");
        return format!("no node takes it: {message}");
    }
    let waiting = |state: &ContainerState| {
        let waiting = state.waiting.as_ref()?;
        Some((waiting.reason.clone()?, waiting.message.clone()))
    };
    let waiting = containers(status).find_map(|c| Some((c, c.state.as_ref().and_then(waiting)?)));
    match waiting {
        Some((container, (reason, message))) if message.is_some() => {
            sentence(container, &reason, message.as_deref())
        }
        Some((_, (reason, _))) if reason == "PodInitializing" => "its keeper is put in place".to_owned(),
        Some(_) => "its container is being made".to_owned(),
        None => "a node is being chosen".to_owned(),
    }
}

/// How the harness's container ended. The keeper is its first process.
fn end(status: &PodStatus, ended: &ContainerStateTerminated) -> String {
    if let Some(said) = said(status) {
        return said;
    }
    match (ended.reason.as_deref(), ended.exit_code) {
        (Some("OOMKilled"), _) => "out of memory: its limit was reached".to_owned(),
        (_, 0) => "its keeper has ended".to_owned(),
        (_, code) if code > 128 => format!("its keeper was ended by signal {}", code - 128),
        (reason, code) => {
            format!("its keeper has ended with {code} ({})", reason.unwrap_or("no reason given"))
        }
    }
}

/// What the cluster itself says of the end: evicted, preempted, the node shut down.
fn said(status: &PodStatus) -> Option<String> {
    let reason = status.reason.as_deref()?;
    Some(match status.message.as_deref() {
        Some(message) => format!("{}: {message}", reason.to_lowercase()),
        None => reason.to_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "s-1" }, "status": status })).unwrap()
    }

    fn container(state: &Value) -> Value {
        json!([{ "name": "harness", "image": "i:1", "imageID": "", "ready": false, "restartCount": 0, "state": state }])
    }

    #[test]
    fn a_pods_status_is_a_sandboxs_state() {
        let gone = |reason: &str| SandboxState::Gone { reason: reason.to_owned() };
        let pending = |detail: &str| SandboxState::Pending { detail: detail.to_owned() };
        let at = "2026-11-26T06:00:00Z";
        for (status, state) in [
            (json!({}), pending("a node is being chosen")),
            (
                json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu" }] }),
                pending("no node takes it: 0/1 nodes: Insufficient cpu"),
            ),
            (
                json!({ "phase": "Pending", "containerStatuses": container(&json!({ "waiting": { "reason": "PodInitializing" } })) }),
                pending("its keeper is put in place"),
            ),
            (
                json!({ "phase": "Running", "containerStatuses": container(&json!({ "running": { "startedAt": at } })) }),
                SandboxState::Running,
            ),
            (
                json!({ "phase": "Failed", "containerStatuses": container(&json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } })) }),
                gone("out of memory: its limit was reached"),
            ),
            (
                json!({ "phase": "Failed", "containerStatuses": container(&json!({ "terminated": { "exitCode": 137, "reason": "Error" } })) }),
                gone("its keeper was ended by signal 9"),
            ),
            (
                json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory." }),
                gone("evicted: The node was low on memory."),
            ),
        ] {
            assert_eq!(super::state(&pod(&status)), state, "{status:#}");
        }
    }

    #[test]
    fn what_will_not_come_up_by_waiting_is_known() {
        let waiting = |reason: &str| {
            pod(
                &json!({ "phase": "Pending", "containerStatuses": container(&json!({ "waiting": { "reason": reason, "message": "why" } })) }),
            )
        };
        for reason in ["ImagePullBackOff", "ErrImageNeverPull", "CreateContainerConfigError"] {
            let said = hopeless(&waiting(reason)).unwrap();
            assert!(said.contains(reason) && said.contains("why"), "{said}");
        }
        for reason in ["ContainerCreating", "ErrImagePull", "PodInitializing"] {
            assert_eq!(hopeless(&waiting(reason)), None, "{reason}");
        }
    }
}
