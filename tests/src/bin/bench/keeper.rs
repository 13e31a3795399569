//! A keeper of our own, without a server: what the server adds is the difference.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lap_wire::control::{Mode, Size};
use lap_wire::keeper::{Call, ProgramIo, ProgramSpec, Reply};

use crate::attach::{Attach, AttachLine};
use crate::pty::{COLS, ROWS};

/// How long it may take to listen.
const START: Duration = Duration::from_secs(5);

/// The process. It ends, with its programs, when this is dropped.
pub(crate) struct Keeper {
    process: Child,
    socket: PathBuf,
    programs: u32,
}

impl Keeper {
    pub(crate) fn start(bin: &Path, dir: &Path) -> Result<Keeper> {
        let (program, socket) = (bin.join("lap-keeper"), dir.join("keeper.sock"));
        let process = Command::new(&program).arg("run").arg("--socket").arg(&socket).spawn();
        let mut process = process.with_context(|| format!("cannot start {}", program.display()))?;
        let deadline = Instant::now() + START;
        while Attach::keeper(&socket).is_err() {
            if process.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the keeper does not listen");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Keeper { process, socket, programs: 0 })
    }

    /// Two new shells on one connection.
    pub(crate) fn shells(&mut self) -> Result<AttachLine> {
        let mut attach = Attach::keeper(&self.socket)?;
        let mut channels = Vec::new();
        for id in 1..=2 {
            self.programs += 1;
            let name = format!("shell-{}", self.programs);
            let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("TERM", "xterm-256color"), ("PS1", "$ ")];
            let spec = ProgramSpec::new(
                name.clone(),
                vec!["sh".into(), "-i".into()],
                env.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
                "/",
                ProgramIo::Pty { size: Size { cols: COLS, rows: ROWS } },
            );
            match attach.call(Call::Start(spec))? {
                Reply::Started(_) => channels.push(attach.open(id, &name, Mode::Interact)?),
                other => bail!("the keeper answered {other:?}"),
            }
        }
        match channels[..] {
            [first, second] => Ok(AttachLine::new(attach, first, second)),
            _ => bail!("two shells"),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Ok(mut attach) = Attach::keeper(&self.socket) {
            let _ = attach.call(Call::Shutdown { grace_ms: 500 });
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
