//! Coming back, and coming up: from a new connection to the right screen, from a request to a prompt.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lap_vt::{Limits, Size, Terminal};
use lap_wire::ChannelId;
use lap_wire::control::{Mode, Open, ServerMessage};
use lap_wire::flow::Since;

use crate::attach::{ANSWER, Attach};
use crate::line::Line;
use crate::pty::{COLS, Pty, ROWS};
use crate::report::{Report, Target};
use crate::sample::Samples;
use crate::stand::Stand;

const CHANNEL: ChannelId = ChannelId(1);
/// Shells started.
const STARTS: usize = 30;

/// A viewer with the screen it shows.
struct Watcher {
    attach: Attach,
    screen: Terminal,
}

impl Watcher {
    /// Opens the session, from where it left or anew, and takes in what was missing.
    fn open(mut attach: Attach, session: &str, since: Option<(Since, Terminal)>) -> Result<Watcher> {
        let (since, screen) = since.unzip();
        let screen =
            screen.unwrap_or_else(|| Terminal::new(Size { cols: COLS, rows: ROWS }, Limits::default()));
        let open = Open { since, ..Open::new(session, Mode::View) };
        attach.open_with(CHANNEL.0, open)?;
        let mut watcher = Watcher { attach, screen };
        watcher.until("ready", |w| w.attach.seen(CHANNEL).is_some_and(|seen| seen.ready))?;
        Ok(watcher)
    }

    fn until(&mut self, what: &str, done: impl Fn(&Watcher) -> bool) -> Result<()> {
        let deadline = Instant::now() + ANSWER;
        while !done(self) {
            let screen = &mut self.screen;
            if !self.attach.pump(deadline, &mut |_, bytes| screen.feed(bytes))? {
                bail!("no {what} within {ANSWER:?}; the screen is\n{}", self.screen.screen_text());
            }
            if let Some(error) = self.attach.seen(CHANNEL).and_then(|seen| seen.error.clone()) {
                bail!("{error}");
            }
        }
        Ok(())
    }

    fn shows(&self, text: &str) -> bool {
        self.screen.screen_text().contains(text)
    }

    /// Leaves, with what is needed to go on.
    fn leave(self) -> Result<(Since, Terminal)> {
        let seen = self.attach.seen(CHANNEL).context("the channel")?;
        let Some(ServerMessage::Opened { epoch, size_generation, .. }) = seen.opened else {
            bail!("not opened")
        };
        Ok((Since { epoch, offset: seen.position(), size_generation }, self.screen))
    }
}

/// A viewer leaves, the screen changes, it comes back: until its screen is the one of a viewer that never left.
pub(crate) fn reconnect(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "reconnect to the right screen (socket, upgrade, hello, open, screen)";
    let rounds = (stand.keys / 10).max(20);
    let server = stand.server()?;
    let session = server.session()?.to_string();
    let mut typist = server.socket()?;
    let keys = typist.open(1, &session, Mode::Interact)?;
    for exact in [true, false] {
        let mut stayed = Watcher::open(server.socket()?, &session, None)?;
        let mut left = Watcher::open(server.socket()?, &session, None)?.leave()?;
        let mut times = Vec::new();
        for round in 0..rounds {
            let token = format!("{}-{round}", if exact { "exact" } else { "fresh" });
            // The shell's echo of the command does not have the token in one piece.
            let typed =
                format!("seq {round} {}; printf '%s-%s\\n' {}\r", round + 60, token.replace('-', " "));
            typist.input(keys, typed.as_bytes())?;
            stayed.until("the token", |w| w.shows(&token))?;
            typist.pump(Instant::now(), &mut |_, _| {})?;
            let began = Instant::now();
            let mut back = Watcher::open(server.socket()?, &session, exact.then_some(left))?;
            back.until("the token", |w| w.shows(&token))?;
            times.push(began.elapsed());
            let settled = Instant::now() + Duration::from_millis(20);
            for watcher in [&mut stayed, &mut back] {
                let screen = &mut watcher.screen;
                while watcher.attach.pump(settled, &mut |_, bytes| screen.feed(bytes))? {}
            }
            if back.screen.screen_text() != stayed.screen.screen_text() {
                bail!("the screen after reconnect {round} is not the one of a viewer that stayed");
            }
            left = back.leave()?;
        }
        let samples = Samples::new(times);
        let subject = if exact { "ours, resumed exactly" } else { "ours, by a snapshot" };
        let (p99, p50) = (samples.percentile(0.99) / 1e3, samples.p50() / 1e3);
        report.judge(
            MEASURE,
            subject,
            p99,
            "ms p99",
            Target::AtMost(150.0),
            format!("p50 {p50:.2} ms, {rounds} times"),
        );
    }
    Ok(())
}

/// From the request for a session to the shell's prompt on a viewer's screen.
pub(crate) fn create(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "session create to prompt";
    let server = stand.server()?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut attach = server.socket()?;
        let began = Instant::now();
        let made = server.create()?;
        server.ready(made.id)?;
        let channel = attach.open(1, &made.id.to_string(), Mode::View)?;
        attach.wait("a prompt", |a| a.seen(channel).is_some_and(|seen| seen.printed))?;
        times.push(began.elapsed());
    }
    let samples = Samples::new(times);
    let (p50, p90) = (samples.p50() / 1e3, samples.percentile(0.9) / 1e3);
    report.judge(
        MEASURE,
        "ours",
        p50,
        "ms p50",
        Target::AtMost(150.0),
        format!("p90 {p90:.1} ms, {STARTS} times"),
    );
    // Held against the same shell in a PTY of ours.
    let (mut bare, home) = (Vec::new(), stand.dir().join("server/home"));
    let home = home.to_str().context("a path in UTF-8")?;
    for _ in 0..STARTS {
        let began = Instant::now();
        let mut pty = Pty::spawn("bash", &["-l"], &[("HOME", home)])?;
        let mut out = Vec::new();
        pty.receive(&mut out, began + ANSWER)?;
        bare.push(began.elapsed());
    }
    report.add(MEASURE, "bash in a raw PTY", Samples::new(bare).p50() / 1e3, "ms p50", String::new());
    Ok(())
}
