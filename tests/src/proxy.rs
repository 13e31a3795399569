//! What stands between a client and a far server: an HTTP proxy that delays, cuts, answers in the server's place, gathers
//! streams and strips upgrades, as those do that people have.
//!
//! It passes each request on over a connection of its own, so that what it does with one it does with that one alone.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// The longest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// What a TLS connection begins with.
const TLS_HANDSHAKE: u8 = 0x16;
/// Read at once.
const CHUNK: usize = 16 * 1024;

/// What the proxy does with a request instead of passing it on as it is.
#[derive(Clone, Debug)]
pub enum Lie {
    /// Answers these bytes itself.
    Answer(String),
    /// Closes the connection without a word.
    Cut,
    /// Says nothing, for as long as the client waits.
    Silence,
    /// Passes it on without what makes it an upgrade.
    NoUpgrade,
    /// Passes it on, and keeps the answer's body back until the server has ended it.
    Gather,
}

impl Lie {
    /// A page, as proxies send them.
    #[must_use]
    pub fn page(status: &str) -> Lie {
        let body = format!("<html><body><h1>{status}</h1></body></html>");
        Lie::Answer(format!(
            "HTTP/1.1 {status}\r\nserver: between/1.0\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Sends everything on to another place.
    #[must_use]
    pub fn redirect(to: &str) -> Lie {
        let head = "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nconnection: close\r\n";
        Lie::Answer(format!("{head}location: {to}\r\n\r\n"))
    }
}

/// A lie for requests whose first line has this in it, so many times.
#[derive(Debug)]
struct Rule {
    part: String,
    times: usize,
    lie: Lie,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    delay: Duration,
    /// Both ends of every connection.
    open: Vec<TcpStream>,
    /// The first line of each request there has been.
    asked: Vec<String>,
    over: bool,
}

/// A proxy at a port of its own. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// One in front of the server at this address (`127.0.0.1:4180`).
    ///
    /// # Errors
    /// There is no port.
    pub fn start(server: &str) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, server) = (Arc::clone(&state), server.to_owned());
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if lock(&shared).over {
                    break;
                }
                let (Ok(client), shared, server) = (client, Arc::clone(&shared), server.clone()) else {
                    continue;
                };
                // What becomes of one connection is the client's to tell.
                std::thread::spawn(move || drop(serve(&client, &server, &shared)));
            }
        });
        Ok(Proxy { address, state, accepting: Some(accepting) })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, so many requests whose first line has this in it are lied to.
    pub fn lie(&self, part: &str, times: usize, lie: Lie) {
        lock(&self.state).rules.push(Rule { part: part.to_owned(), times, lie });
    }

    /// From now on it tells the truth.
    pub fn honest(&self) {
        lock(&self.state).rules.clear();
    }

    /// Whatever passes, in either direction, takes so long on its way.
    pub fn delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// Cuts every connection there is.
    pub fn cut(&self) {
        for stream in lock(&self.state).open.drain(..) {
            // Gone already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The requests there have been whose first line has this in it.
    #[must_use]
    pub fn asked(&self, part: &str) -> usize {
        lock(&self.state).asked.iter().filter(|line| line.contains(part)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        lock(&self.state).over = true;
        self.cut();
        // Whoever waits for the next connection gets one.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// What is done with the request that begins with this line.
    fn lie_for(&mut self, line: &str) -> Option<Lie> {
        self.asked.push(line.to_owned());
        let rule = self.rules.iter_mut().find(|rule| rule.times > 0 && line.contains(&rule.part))?;
        rule.times -= 1;
        Some(rule.lie.clone())
    }
}

fn serve(mut client: &TcpStream, server: &str, state: &Arc<Mutex<State>>) -> Result<()> {
    lock(state).open.push(client.try_clone()?);
    let (head, rest) = head_of(client)?;
    let line = head.lines().next().unwrap_or_default();
    let lie = lock(state).lie_for(line);
    let mut upgrades = head.to_ascii_lowercase().contains("\r\nupgrade:");
    let mut gathers = false;
    match lie {
        None => {}
        Some(Lie::Answer(answer)) => {
            client.write_all(answer.as_bytes())?;
            client.shutdown(Shutdown::Write)?;
            // Until the client has had enough of it: closed at once, it might lose what was sent.
            return Ok(std::io::copy(&mut client, &mut std::io::sink()).map(drop)?);
        }
        Some(Lie::Cut) => return Ok(client.shutdown(Shutdown::Both)?),
        Some(Lie::Silence) => return Ok(std::io::copy(&mut client, &mut std::io::sink()).map(drop)?),
        Some(Lie::NoUpgrade) => upgrades = false,
        Some(Lie::Gather) => gathers = true,
    }
    let mut upstream = TcpStream::connect(server)?;
    lock(state).open.push(upstream.try_clone()?);
    for stream in [client, &upstream] {
        stream.set_nodelay(true)?;
    }
    upstream.write_all(rewritten(&head, upgrades).as_bytes())?;
    upstream.write_all(&rest)?;
    let (from, to) = (client.try_clone()?, upstream.try_clone()?);
    let shared = Arc::clone(state);
    let sending = std::thread::spawn(move || pass(&from, &to, &shared));
    if gathers {
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer)?;
        client.write_all(&answer)?;
    } else {
        pass(&upstream, client, state);
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = upstream.shutdown(Shutdown::Both);
    let _ = sending.join();
    Ok(())
}

/// A request's head, and what came with it of what is behind it.
fn head_of(mut client: &TcpStream) -> Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let mut chunk = [0; CHUNK];
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8(read)?, rest));
        }
        anyhow::ensure!(read.len() < MAX_HEAD, "a head without an end");
        if read.first() == Some(&TLS_HANDSHAKE) {
            // A client that speaks TLS sends no head before it has heard something.
            return Ok(("TLS\r\n\r\n".to_owned(), Vec::new()));
        }
        let got = client.read(&mut chunk)?;
        anyhow::ensure!(got > 0, "a request without an end");
        read.extend_from_slice(chunk.get(..got).context("what was read")?);
    }
}

/// The head for a connection of its own; of an upgrade only where it is to be one.
fn rewritten(head: &str, upgrades: bool) -> String {
    let hop = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        name == "connection" || (name == "upgrade" && !upgrades)
    };
    let mut lines: Vec<&str> = head.trim_end().lines().filter(|line| !hop(line)).collect();
    lines.push(if upgrades { "connection: upgrade" } else { "connection: close" });
    lines.join("\r\n") + "\r\n\r\n"
}

/// Passes on what comes, each piece after the delay that holds then, until one side has ended.
fn pass(mut from: &TcpStream, mut to: &TcpStream, state: &Mutex<State>) {
    let mut chunk = [0; CHUNK];
    while let Ok(got) = from.read(&mut chunk) {
        let Some(bytes) = chunk.get(..got).filter(|bytes| !bytes.is_empty()) else { break };
        let delay = lock(state).delay;
        std::thread::sleep(delay);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
