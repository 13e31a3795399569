//! The dashboard's first frame: how long after the server's answer it stands on the screen.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::lap;
use crate::line::{Line, read_until};
use crate::pty::{COLS, ROWS};
use crate::report::{Report, Target};
use crate::sample::Samples;
use crate::server::AGENT;
use crate::stand::Stand;

/// Starts measured.
const STARTS: usize = 15;
const PATIENCE: Duration = Duration::from_secs(10);
/// What a terminal says when it is asked for its foreground, its background and what it is (OSC 10, OSC 11, DA1).
const COLOURS: &[u8] = b"\x1b]10;rgb:d0d0/d0d0/d0d0\x1b\\\x1b]11;rgb:1010/1010/1010\x1b\\\x1b[?62;22c";
/// One read of the tap.
const READ: usize = 64 * 1024;

/// A wire tap between `lap` and the server: it passes everything on, and notes when the list of agents went by.
struct Tap {
    address: String,
    answered: Arc<Mutex<Option<Instant>>>,
}

impl Tap {
    fn before(server: &str) -> Result<Tap> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let answered = Arc::new(Mutex::new(None));
        let (server, noted) = (server.to_owned(), answered.clone());
        // Ends with the process: it waits for connections and nothing else.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(upstream) = TcpStream::connect(&server) {
                    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
                    let _ = join(client, upstream, noted.clone());
                }
            }
        });
        Ok(Tap { address, answered })
    }
}

fn join(client: TcpStream, server: TcpStream, answered: Arc<Mutex<Option<Instant>>>) -> Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ];
        while let Ok(n @ 1..) = from_server.read(&mut buffer) {
            let list = buffer[..n].windows(AGENT.len()).any(|w| w == AGENT.as_bytes());
            if let (true, Ok(mut answered)) = (list, answered.lock()) {
                answered.get_or_insert_with(Instant::now);
            }
            if to_client.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Write);
    });
    Ok(())
}

/// See the module.
pub(crate) fn first_frame(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "dashboard: from the server's answer to the first frame that shows it";
    let server = stand.server()?;
    let tap = Tap::before(server.address())?;
    server.announce(&tap.address)?;
    let (mut after_answer, mut after_start) = (Vec::new(), Vec::new());
    let outcome: Result<()> = (0..STARTS).try_for_each(|_| {
        if let Ok(mut answered) = tap.answered.lock() {
            *answered = None;
        }
        let began = Instant::now();
        let mut client = lap(stand, &[], COLS, ROWS)?;
        // Any terminal in use answers these at once; for one that does not, lap waits 200 ms.
        read_until(&mut client, b"\x1b[c", began + PATIENCE)?;
        client.send(COLOURS)?;
        read_until(&mut client, AGENT.as_bytes(), began + PATIENCE)?;
        let shown = Instant::now();
        let answered = tap.answered.lock().ok().and_then(|answered| *answered);
        after_answer.push(shown.saturating_duration_since(answered.context("lap did not ask this server")?));
        after_start.push(shown - began);
        Ok(())
    });
    let server = stand.server()?;
    let address = server.address().to_owned();
    server.announce(&address)?;
    outcome?;
    if after_answer.is_empty() {
        bail!("nothing was measured");
    }
    let (answer, start) = (Samples::new(after_answer).p50() / 1e3, Samples::new(after_start).p50() / 1e3);
    let note = format!("{start:.1} ms after the program's start, {STARTS} times");
    report.judge(MEASURE, "lap", answer, "ms p50", Target::AtMost(30.0), note);
    Ok(())
}
