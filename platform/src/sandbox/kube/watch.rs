//! Changes of pods as changes of sandboxes.

use std::pin::pin;

use futures_util::Stream;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_stream::StreamExt as _;
use tokio_util::task::TaskTracker;

use super::status;
use crate::sandbox::{SandboxEvent, SandboxName};

/// Changes that may wait to be taken.
const QUEUE: usize = 256;

/// Follows pods until nobody takes what it tells.
pub(super) fn follow(
    pods: impl Stream<Item = Result<Event<Pod>, watcher::Error>> + Send + 'static,
    tasks: &TaskTracker,
) -> mpsc::Receiver<SandboxEvent> {
    let (tell, told) = mpsc::channel(QUEUE);
    tasks.spawn(async move {
        tokio::select! {
            () = tell.closed() => {}
            () = pass_on(pods, &tell) => {}
        }
    });
    told
}

async fn pass_on(
    pods: impl Stream<Item = Result<Event<Pod>, watcher::Error>>,
    tell: &mpsc::Sender<SandboxEvent>,
) {
    let (mut pods, mut begun) = (pin!(pods), false);
    while let Some(event) = pods.next().await {
        let event = match event {
            Ok(Event::Apply(pod)) => status::status(&pod).map(SandboxEvent::Changed),
            Ok(Event::Delete(pod)) => pod.metadata.name.map(|name| SandboxEvent::Removed(SandboxName(name))),
            // What was there when the watch began is listed by whoever asked; begun again, it may have missed some.
            Ok(Event::InitDone) if std::mem::replace(&mut begun, true) => Some(SandboxEvent::Resync),
            Ok(Event::Init | Event::InitApply(_) | Event::InitDone) => None,
            Err(error) => {
                tracing::debug!(%error, "pods cannot be watched; trying again");
                None
            }
        };
        let Some(event) = event else { continue };
        match tell.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                if tell.send(SandboxEvent::Resync).await.is_err() {
                    return;
                }
            }
            Err(TrySendError::Closed(_)) => return,
        }
    }
}
