//! The first step: a sandbox that runs, and a connection to its keeper.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::mpsc;

use super::{BringUp, Fault, Step, keeper_fault, sandbox_fault, steps};
use crate::link::Keeper;
use crate::model::{Phase, SessionId};
use crate::sandbox::{SandboxName, SandboxSpec, SandboxState};
use crate::session::reconcile::{AGENT_LABEL, SESSION_LABEL};
use crate::session::settings::timeouts;

/// States of a sandbox on its way that wait to be shown; newer ones matter, so a full queue loses none that counts.
const PROGRESS: usize = 8;

impl BringUp<'_> {
    /// A sandbox that runs, and a connection to its keeper.
    pub(super) async fn sandbox(&mut self) -> Result<(SandboxName, Keeper), Fault> {
        let name = self.named().await?;
        if !self.is_done(steps::SANDBOX) {
            let spec = SandboxSpec {
                name: name.clone(),
                image: self.image(),
                resources: self.agent.resources.clone(),
                labels: BTreeMap::from([
                    (SESSION_LABEL.to_owned(), self.record.id.to_string()),
                    (AGENT_LABEL.to_owned(), self.record.agent_id.to_string()),
                ]),
            };
            self.inner.runtime.create(&spec).await.map_err(|error| sandbox_fault(Step::Sandbox, error))?;
            // It starts while that is written.
            self.phase(Phase::PodPending, None).await?;
            let limit = timeouts::SANDBOX;
            tokio::time::timeout(limit, self.running(&name)).await.unwrap_or_else(|_| {
                Err(Step::Sandbox.failed(format_args!("it did not run within {} s", limit.as_secs())))
            })?;
            self.phase(Phase::PodRunning, None).await?;
            self.done(steps::SANDBOX, Value::Bool(true)).await?;
        }
        let client = self.within(Step::Sandbox, timeouts::KEEPER, self.connected(&name)).await;
        match client {
            Ok(client) => Ok((name, client)),
            Err(fault) => Err(self.lost(Step::Sandbox, &name, fault).await),
        }
    }

    /// What its programs are in, where sandboxes have images.
    fn image(&self) -> Option<String> {
        let configured = self.inner.settings.harness_images.get(&self.harness.id);
        let own = self.agent.harness_image.as_ref();
        own.or(configured).or(self.harness.image.as_ref()).cloned()
    }

    /// Its name is stored before it exists, so that none exists that nobody knows of.
    async fn named(&mut self) -> Result<SandboxName, Fault> {
        if let Some(name) = &self.record.sandbox {
            return Ok(name.clone());
        }
        let attempt = self.record.steps.get(steps::ATTEMPT).and_then(Value::as_u64).unwrap_or(1);
        let name = sandbox_name(self.record.id, attempt);
        let (stored, unconfined) = (name.clone(), self.inner.runtime.unconfined());
        self.record = self
            .inner
            .held_coming_up(self.record.id, |record| {
                record.sandbox = Some(stored);
                record.unconfined = unconfined;
            })
            .await?;
        Ok(name)
    }

    async fn running(&mut self, name: &SandboxName) -> Result<(), Fault> {
        let (sender, mut states) = mpsc::channel(PROGRESS);
        let runtime = self.inner.runtime.clone();
        let waiting = runtime.wait_running(name, &sender);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                done = &mut waiting => return done.map_err(|error| sandbox_fault(Step::Sandbox, error)),
                state = states.recv() => if let Some(SandboxState::Pending { detail }) = state {
                    self.detail(detail).await?;
                },
            }
        }
    }

    async fn connected(&self, name: &SandboxName) -> Result<Keeper, Fault> {
        let keeper = self.inner.links.keeper(name);
        keeper.info().await.map_err(|error| keeper_fault(Step::Sandbox, error))?;
        Ok(keeper)
    }
}

/// A session's sandbox is named after it; after a restart it is another one.
pub(in crate::session) fn sandbox_name(id: SessionId, attempt: u64) -> SandboxName {
    match attempt {
        0 | 1 => SandboxName(format!("s-{id}")),
        n => SandboxName(format!("s-{id}-{n}")),
    }
}
