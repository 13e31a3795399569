//! Echo over a slow link while another terminal on the same socket floods. The link is a pair of virtual interfaces
//! into a network namespace of our own, shaped in both directions; that needs root and iproute2.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use lap_wire::control::Mode;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::attach::AttachLine;
use crate::echo::{ECHO, echo, flooded};
use crate::line::prepare;
use crate::report::{Report, Target};
use crate::sample::{Jitter, median};
use crate::server::Server;
use crate::stand::Stand;

/// One way, where the kernel has netem; a round trip is twice that. Where it has not, the link is slow but short.
const DELAY_MS: u32 = 20;
/// Of the link: a poor mobile connection.
const RATE: &str = "8mbit";
/// Packets the link queues before it drops: 300 KB or 300 ms, as home routers do.
const QUEUE: u32 = 200;
/// The same in bytes.
const QUEUE_BYTES: u32 = QUEUE * 1500;
/// An address block that is set aside for benchmarks (RFC 2544).
const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 2);

/// The namespace and its link; both are gone when this is dropped.
struct Link {
    name: String,
}

impl Link {
    fn make() -> Result<Link> {
        if !rustix::process::geteuid().is_root() {
            bail!("a network namespace needs root");
        }
        let link = Link { name: format!("lapb{}", std::process::id()) };
        let (name, here, there) = (&link.name, format!("{}h", link.name), format!("{}t", link.name));
        let inside = ["netns", "exec", name.as_str(), "ip"];
        ip(&["netns", "add", name])?;
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", name])?;
        ip(&["addr", "add", &format!("{HERE}/30"), "dev", &here])?;
        ip(&["link", "set", &here, "up"])?;
        ip(&[&inside[..], &["addr", "add", &format!("{THERE}/30"), "dev", &there]].concat())?;
        ip(&[&inside[..], &["link", "set", &there, "up"]].concat())?;
        let (delay, queue, bytes) = (format!("{DELAY_MS}ms"), QUEUE.to_string(), QUEUE_BYTES.to_string());
        let far = ["root", "netem", "delay", &delay, "rate", RATE, "limit", &queue];
        let near = ["root", "tbf", "rate", RATE, "burst", "3000", "limit", &bytes];
        let shape = |how: &[&str]| -> Result<()> {
            run("tc", &[&["qdisc", "replace", "dev", &here], how].concat())?;
            ip(&[&["netns", "exec", name, "tc", "qdisc", "replace", "dev", &there], how].concat())
        };
        shape(&far).or_else(|_| shape(&near))?;
        Ok(link)
    }

    /// A connection made from inside: the socket stays there, whoever uses it.
    fn connect(&self, address: SocketAddr) -> Result<TcpStream> {
        let namespace = File::open(format!("/run/netns/{}", self.name))?;
        let thread = std::thread::spawn(move || -> Result<TcpStream> {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(TcpStream::connect(address)?)
        });
        thread.join().map_err(|_| anyhow!("the connecting thread panicked"))?
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &format!("{}h", self.name)]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let out = Command::new(program).args(arguments).output().context("iproute2 is not installed")?;
    if !out.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

/// See the module.
pub(crate) fn slow_link(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "keystroke echo over a slow link (8 Mbit/s) beside a flood on the same socket";
    let file = stand.long_lines()?;
    let link = match Link::make() {
        Ok(link) => link,
        Err(why) => {
            report.missing(MEASURE, "ours", &why);
            return Ok(());
        }
    };
    let mut server = Server::start(&stand.bin, &stand.dir().join("slow"), &HERE.to_string())?;
    let (first, second) = (server.session()?.to_string(), server.session()?.to_string());
    let mut attach = server.greet(link.connect(server.address().parse()?)?)?;
    // Often enough for the server to know the link.
    attach.ack_every = 4 * 1024;
    let first = attach.open(1, &first, Mode::Interact)?;
    let second = attach.open(2, &second, Mode::Interact)?;
    let mut line = AttachLine::new(attach, first, second);
    prepare(&mut line, ECHO)?;
    let quiet = echo(&mut line, 50, &mut Jitter::new(3))?.p50() / 1e3;
    let note = format!("the round trip; {} ms of it by netem where the kernel has that", 2 * DELAY_MS);
    report.add(MEASURE, "ours, quiet", quiet, "ms p50", note);
    for (name, command) in [
        ("cat of long lines", format!("while :; do cat {}; done\r", file.display())),
        ("yes", "yes\r".into()),
    ] {
        let beside = flooded(&mut line, &command, stand)?;
        let (p50, p90) = (median(&beside.flooded) / 1e3, median(&beside.p90) / 1e3);
        let note = format!("p90 {p90:.1} ms, {:.2} MB/s of flood", median(&beside.rate));
        let target = Target::AtMost(quiet + 20.0);
        report.judge(MEASURE, &format!("ours, {name}"), p50, "ms p50", target, note);
    }
    Ok(())
}
