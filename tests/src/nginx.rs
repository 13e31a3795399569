//! A real nginx before a server, as people set it up.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::terminal::NEVER;

/// nginx with one server at three ports. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    dir: TempDir,
    child: Child,
    plain: u16,
    upgrading: u16,
    tls: u16,
}

impl Nginx {
    /// Starts it before the server at this address (`127.0.0.1:4180`).
    ///
    /// # Errors
    /// nginx or openssl is missing, or does not start.
    pub fn start(server: &str) -> Result<Nginx> {
        let dir = tempfile::tempdir()?;
        certificate(dir.path())?;
        // Held together until all are known, so that they differ.
        let free = [
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
        ];
        let mut ports = [0; 3];
        for (port, listener) in ports.iter_mut().zip(&free) {
            *port = listener.local_addr()?.port();
        }
        drop(free);
        fs::write(dir.path().join("nginx.conf"), configuration(dir.path(), server, ports))?;
        let child = Command::new("nginx")
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .arg("-e")
            .arg(dir.path().join("error.log"))
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx is not installed: Debian's package `nginx-light` or `nginx` has it")?;
        let [plain, upgrading, tls] = ports;
        let mut nginx = Nginx { dir, child, plain, upgrading, tls };
        nginx.wait_listening()?;
        Ok(nginx)
    }

    /// As it comes: `proxy_pass` and nothing else.
    #[must_use]
    pub fn plain(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain)
    }

    /// With what upgrades need.
    #[must_use]
    pub fn upgrading(&self) -> String {
        format!("http://127.0.0.1:{}", self.upgrading)
    }

    /// The same over TLS, for `localhost` alone.
    #[must_use]
    pub fn tls(&self) -> String {
        format!("https://localhost:{}", self.tls)
    }

    /// Its certificate, signed by itself.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    fn wait_listening(&mut self) -> Result<()> {
        let started = Instant::now();
        while [self.plain, self.upgrading, self.tls]
            .iter()
            .any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err())
        {
            let said = || fs::read_to_string(self.dir.path().join("error.log")).unwrap_or_default();
            anyhow::ensure!(self.child.try_wait()?.is_none(), "nginx ended: {}", said());
            anyhow::ensure!(started.elapsed() < NEVER, "nginx does not listen: {}", said());
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // As a stop of its own: killed, its workers would stay.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn configuration(dir: &Path, server: &str, [plain, upgrading, tls]: [u16; 3]) -> String {
    let dir = dir.display();
    // Its workers are to read what this user made; only a superuser's nginx changes to another one.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let upgrade = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;";
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {dir}/{name};\n"))
        .concat();
    format!(
        "{user}
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{}}
http {{
  access_log off;
{temporary}
  server {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass http://{server}; }} }}
  server {{ listen 127.0.0.1:{upgrading}; location / {{ proxy_pass http://{server}; {upgrade} }} }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {dir}/cert.pem;
    ssl_certificate_key {dir}/key.pem;
    location / {{ proxy_pass http://{server}; {upgrade} }}
  }}
}}
"
    )
}

/// What `openssl req -x509` makes of itself: a certificate that is an authority's too.
fn certificate(dir: &Path) -> Result<()> {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .context("openssl is not installed")?;
    anyhow::ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
