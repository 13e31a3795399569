//! A fault of the service's own, at whatever it does: a runtime that panics when it is told to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lap_platform::model::{SessionStatus, Unsaved};
use lap_platform::sandbox::{
    Dialed, SandboxError, SandboxEvent, SandboxName, SandboxRuntime, SandboxSpec, SandboxState,
    SandboxStatus, Tail,
};
use tokio::sync::mpsc;

use crate::support::{World, soon};

/// Panics at so many of the next calls of a kind.
#[derive(Default)]
struct Panics {
    create: AtomicU32,
    delete: AtomicU32,
    list: AtomicU32,
}

struct Faulty {
    runtime: Arc<dyn SandboxRuntime>,
    panics: Arc<Panics>,
}

fn perhaps(panics: &AtomicU32) {
    let told = panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    assert!(told.is_err(), "told to panic");
}

#[async_trait]
impl SandboxRuntime for Faulty {
    fn kind(&self) -> &'static str {
        self.runtime.kind()
    }
    fn unconfined(&self) -> bool {
        self.runtime.unconfined()
    }
    async fn create(&self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        perhaps(&self.panics.create);
        self.runtime.create(spec).await
    }
    async fn wait_running(
        &self,
        name: &SandboxName,
        progress: &mpsc::Sender<SandboxState>,
    ) -> Result<(), SandboxError> {
        self.runtime.wait_running(name, progress).await
    }
    async fn delete(&self, name: &SandboxName) -> Result<(), SandboxError> {
        perhaps(&self.panics.delete);
        self.runtime.delete(name).await
    }
    async fn inspect(&self, name: &SandboxName) -> Result<Option<SandboxStatus>, SandboxError> {
        self.runtime.inspect(name).await
    }
    async fn list(&self) -> Result<Vec<SandboxStatus>, SandboxError> {
        perhaps(&self.panics.list);
        self.runtime.list().await
    }
    async fn watch(&self) -> Result<mpsc::Receiver<SandboxEvent>, SandboxError> {
        self.runtime.watch().await
    }
    async fn dial(&self, name: &SandboxName) -> Result<Dialed, SandboxError> {
        self.runtime.dial(name).await
    }
    async fn logs(&self, name: &SandboxName, tail: Tail) -> Result<String, SandboxError> {
        self.runtime.logs(name, tail).await
    }
    async fn unsaved(&self, name: &SandboxName, ours: &[String]) -> Result<Unsaved, SandboxError> {
        self.runtime.unsaved(name, ours).await
    }
    fn workspace_path(&self, name: &SandboxName) -> Option<PathBuf> {
        self.runtime.workspace_path(name)
    }
    async fn workspaces(&self) -> Result<Vec<String>, SandboxError> {
        self.runtime.workspaces().await
    }
    async fn erase_workspace(&self, workspace: &str) -> Result<(), SandboxError> {
        self.runtime.erase_workspace(workspace).await
    }
    fn marks(&self, name: &SandboxName) -> Vec<(&'static str, String)> {
        self.runtime.marks(name)
    }
    fn home(&self) -> Option<&'static str> {
        self.runtime.home()
    }
    fn workdir(&self, name: &SandboxName) -> String {
        self.runtime.workdir(name)
    }
}

/// A world whose service stands on such a runtime.
async fn world() -> (World, Arc<Panics>) {
    let mut world = World::new().await;
    world.sessions.shutdown().await;
    let panics = Arc::new(Panics::default());
    let runtime = Faulty { runtime: world.runtime.clone(), panics: Arc::clone(&panics) };
    let mut options = world.data.options();
    options.settings.defaults.reconcile_interval = Duration::from_millis(50);
    world.sessions = options.start(world.store.clone(), Arc::new(runtime)).await.unwrap();
    (world, panics)
}

#[tokio::test]
async fn a_session_whose_bring_up_or_end_panics_now_and_then_comes_up_and_ends() {
    let (world, panics) = world().await;
    panics.create.store(2, Ordering::SeqCst);
    let session = world.ready(&world.agent().await).await;
    panics.delete.store(2, Ordering::SeqCst);
    world.sessions.stop(session.id).await.unwrap();
    world.vanishes(session.task_arn.as_deref().unwrap()).await;
    assert_eq!(panics.create.load(Ordering::SeqCst) + panics.delete.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_session_whose_bring_up_panics_each_time_has_failed_and_the_others_go_on() {
    let (world, panics) = world().await;
    panics.create.store(1000, Ordering::SeqCst);
    let agent = world.agent().await;
    let session = world.create(&agent).await;
    let failed = world.reaches(session.id, SessionStatus::Failed).await;
    assert!(failed.failure_reason.unwrap().contains("fault of the server's own"));
    panics.create.store(0, Ordering::SeqCst);
    let next = world.ready(&agent).await;
    world.sessions.stop(next.id).await.unwrap();
}

#[tokio::test]
async fn what_compares_sessions_with_sandboxes_goes_on_after_a_panic() {
    let (world, panics) = world().await;
    panics.list.store(1, Ordering::SeqCst);
    soon("the panic", async {
        while panics.list.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Only a look at everything removes this one.
    let session = world.ready(&world.agent().await).await;
    let stored = world.store.sessions();
    let ended = stored.update::<lap_platform::store::StoreError>(session.id, |record| {
        record.status = SessionStatus::Dead;
        Ok(())
    });
    ended.await.unwrap();
    let sandbox = SandboxName(session.task_arn.unwrap());
    soon("its removal", async {
        while world.runtime.inspect(&sandbox).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
