//! The link to a sandbox's keeper, with real keepers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod cut;
mod cuttable;
mod dropped;
mod keeper;
mod owners;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use lap_platform::link::{Connect, Keeper, Links, Run};
use lap_platform::sandbox::local::LocalRuntime;
use lap_platform::sandbox::{SandboxName, SandboxRuntime, SandboxSpec};
use support::Data;
use tokio::runtime::Handle;

/// A sandbox of its own, with the means to reach its keeper.
pub struct Sandbox {
    pub runtime: LocalRuntime,
    pub name: SandboxName,
    pub data: Data,
    pub links: Links,
}

impl Sandbox {
    pub async fn new() -> Sandbox {
        Sandbox::reached_by(|runtime| Arc::new(Arc::new(runtime) as Arc<dyn SandboxRuntime>)).await
    }

    /// One whose streams are made in a way of the test's own.
    pub async fn reached_by(connect: impl FnOnce(LocalRuntime) -> Arc<dyn Connect>) -> Sandbox {
        let data = Data::new();
        let runtime = data.options().runtime().unwrap();
        let links = Links::start(connect(runtime.clone()), Handle::current()).unwrap();
        let name = SandboxName(format!("s-{}", uuid::Uuid::new_v4()));
        let sandbox = Sandbox { runtime, name, data, links };
        sandbox.start(&sandbox.name).await;
        sandbox
    }

    /// Starts one more sandbox beside it.
    pub async fn start(&self, name: &SandboxName) {
        let spec = SandboxSpec {
            name: name.clone(),
            image: None,
            resources: Default::default(),
            labels: BTreeMap::new(),
        };
        self.runtime.create(&spec).await.unwrap();
        let (progress, _states) = tokio::sync::mpsc::channel(8);
        self.runtime.wait_running(name, &progress).await.unwrap();
    }

    pub fn keeper(&self) -> Keeper {
        self.links.keeper(&self.name)
    }

    /// The sandbox's folder.
    pub fn workdir(&self) -> String {
        self.runtime.workdir(&self.name)
    }

    pub fn run(&self, script: &str) -> Run {
        Run {
            id: "r".to_owned(),
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: self.env(),
            cwd: self.workdir(),
            stdin: Vec::new(),
            keep: 1024 * 1024,
            timeout: support::DEADLINE,
        }
    }

    /// Marked, so that the test leaves nothing running.
    pub fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("LAP_SANDBOX".to_owned(), self.name.0.clone()),
        ])
    }

    /// Files in the sandbox's folder, hidden ones too.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.workdir()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
