//! The right to work on a session: one server at a time, renewed while the work goes on, taken over when the server is
//! gone.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::{Inner, SessionError};
use crate::model::SessionId;
use crate::sandbox::local::process::ProcessId;
use crate::store::SessionRecord;

/// A lease is renewed when a third of its time is over: two renewals may fail before it is lost.
const RENEWALS: u32 = 3;
/// Begins the name of an owner of which it can be told whether it still runs.
const PROCESS: &str = "process";

/// The name of this service among all that work on the same store: no other process, on any machine, ever has it.
/// Where it can be, it also says which process that is, so that the next one on the same machine need not wait for the
/// leases of one that was killed.
pub(super) fn owner_name() -> String {
    let random = Uuid::new_v4();
    match i32::try_from(std::process::id()).ok().and_then(ProcessId::of) {
        Some(process) => {
            format!("{PROCESS}/{}/{}/{}/{random}", process.boot_id, process.pid, process.start_time)
        }
        None => format!("other/{random}"),
    }
}

/// Whether this owner was a process of this machine that has ended. Of another machine's nothing can be said.
fn has_ended(owner: &str) -> bool {
    let parts: Vec<&str> = owner.split('/').collect();
    let [PROCESS, boot_id, pid, start_time, _] = parts.as_slice() else { return false };
    let (Ok(pid), Ok(start_time)) = (pid.parse(), start_time.parse()) else { return false };
    let process = ProcessId { pid, start_time, boot_id: (*boot_id).to_owned() };
    // Another boot id is another machine, or this one before it was started again: the lease's time will tell.
    !process.is_of_earlier_boot() && !process.is_alive()
}

/// What came of asking for a lease.
pub(super) enum Claim {
    /// It is ours, and this is the session as it was when it became so.
    Ours(Box<SessionRecord>),
    /// Another server has it, for at most so long.
    Another(Duration),
}

impl Inner {
    /// Takes a session's lease.
    pub(super) async fn claim(&self, id: SessionId) -> Result<Claim, SessionError> {
        let not_found = SessionError::of_session(id);
        let sessions = self.store.sessions();
        let time = self.settings.defaults.lease;
        // The second time after a dead owner's lease was given back for it.
        for _ in 0..2 {
            if let Some(record) = sessions.claim(id, &self.owner, time).await.map_err(&not_found)? {
                return Ok(Claim::Ours(Box::new(record)));
            }
            let held = sessions.get(id).await.map_err(&not_found)?.lease;
            match held {
                Some(lease) if has_ended(&lease.owner) => {
                    tracing::info!(session = %id, "going on with what a server that has ended was doing");
                    sessions.release(id, &lease.owner).await?;
                }
                _ => break,
            }
        }
        Ok(Claim::Another(time))
    }

    /// Does `work` while keeping the lease.
    ///
    /// # Errors
    /// Those of the work; `Unavailable` as soon as the lease cannot be kept: then another server may be at it.
    pub(super) async fn holding<T>(
        &self,
        id: SessionId,
        work: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        tokio::select! {
            done = work => done,
            lost = self.keep(id) => Err(lost),
        }
    }

    async fn keep(&self, id: SessionId) -> SessionError {
        let time = self.settings.defaults.lease;
        loop {
            tokio::time::sleep(time / RENEWALS).await;
            match self.store.sessions().claim(id, &self.owner, time).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    return SessionError::Unavailable("another server has taken the session over".to_owned());
                }
                // Whoever writes next finds out whether it still holds.
                Err(error) => tracing::warn!(session = %id, %error, "cannot renew a lease; trying again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_owner_known_to_have_ended_is_taken_for_dead() {
        let own = owner_name();
        assert!(!has_ended(&own));
        let parts: Vec<&str> = own.split('/').collect();
        let [process, boot, pid, start, random] = parts.as_slice() else { panic!("{own}") };
        let earlier: u64 = start.parse::<u64>().unwrap() - 1;
        assert!(has_ended(&format!("{process}/{boot}/{pid}/{earlier}/{random}")), "its pid is another's now");
        assert!(!has_ended(&format!("{process}/other-boot/{pid}/{earlier}/{random}")), "another machine's");
        assert!(!has_ended("other/x"));
        assert!(!has_ended(""));
    }
}
