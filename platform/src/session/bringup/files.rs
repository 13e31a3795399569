//! The step that puts a session's files into its workspace.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{BringUp, Fault, Step, keeper_fault, steps};
use crate::link::Keeper;
use crate::model::{Attachment, Phase};
use crate::sandbox::SandboxName;
use crate::session::settings::timeouts;

impl BringUp<'_> {
    /// Puts what the session was asked for with into the sandbox: the pictures of its first prompt, as
    /// `.lap/attachments/…` in the workspace.
    pub(super) async fn files(&mut self, client: &Keeper, sandbox: &SandboxName) -> Result<(), Fault> {
        if self.is_done(steps::FILES) || self.request.initial_attachments.is_empty() {
            return Ok(());
        }
        let count = self.request.initial_attachments.len();
        self.phase(Phase::InjectingFiles, Some(format!("{count} attachments"))).await?;
        let workspace = self.inner.runtime.workdir(sandbox);
        let writing = async {
            for (index, attachment) in self.request.initial_attachments.iter().enumerate() {
                let bytes = STANDARD.decode(&attachment.base64);
                let bytes =
                    bytes.map_err(|error| Step::Files.failed(format_args!("attachment {index}: {error}")))?;
                let path = format!("{workspace}/.lap/attachments/{}", file_name(index, attachment));
                client
                    .write_file(&path, 0o644, &bytes)
                    .await
                    .map_err(|error| keeper_fault(Step::Files, error))?;
            }
            Ok(())
        };
        if let Err(fault) = self.within(Step::Files, timeouts::FILES, writing).await {
            return Err(self.lost(Step::Files, sandbox, fault).await);
        }
        self.done(steps::FILES, Value::Bool(true)).await
    }
}

/// The attachment's own name as far as it is one, numbered so that two of the same name are two files.
fn file_name(index: usize, attachment: &Attachment) -> String {
    let fine = |c: char| if c.is_alphanumeric() || ".-_ ".contains(c) { c } else { '_' };
    let name: String = attachment.name.as_deref().unwrap_or_default().chars().map(fine).collect();
    let name = name.trim_matches(['.', ' ']);
    if !name.is_empty() {
        return format!("{index}-{name}");
    }
    let extension = attachment.mime_type.rsplit('/').next().unwrap_or("bin");
    format!("{index}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leaves_the_folder() {
        let of = |name: Option<&str>| {
            let attachment = Attachment {
                name: name.map(str::to_owned),
                mime_type: "image/png".to_owned(),
                base64: String::new(),
            };
            file_name(3, &attachment)
        };
        assert_eq!(of(Some("screen shot.png")), "3-screen shot.png");
        assert_eq!(of(Some("../../etc/passwd")), "3-_.._etc_passwd");
        assert_eq!(of(Some("..")), "3.png");
        assert_eq!(of(Some("a\0b\n")), "3-a_b_");
        assert_eq!(of(None), "3.png");
    }
}
