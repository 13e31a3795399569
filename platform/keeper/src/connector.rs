//! `lap-keeper connect`: a pipe between stdio and the keeper's socket, so that one exec into a sandbox carries
//! everything. It knows nothing of the protocol, and so never has to change with it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::socket::dial;

/// Bytes moved at a time.
const CHUNK: usize = 64 * 1024;

/// Joins standard input and output to the socket until either side ends. Blocks; the process is to end after it.
///
/// # Errors
/// When the keeper cannot be reached. The end of either side is no error.
pub fn connect(socket: &Path) -> io::Result<()> {
    let from_keeper = dial(socket)?;
    let to_keeper = from_keeper.try_clone()?;
    // The descriptors of an exec may be shared with other processes, so they are not made non-blocking; each
    // direction blocks in a thread of its own.
    std::thread::Builder::new().name("to-keeper".into()).spawn(move || upward(&to_keeper))?;
    pass(&from_keeper, io::stdout().lock());
    Ok(())
}

fn upward(keeper: &UnixStream) {
    pass(io::stdin().lock(), keeper);
    // The keeper sees the end, closes its side, and that ends the other direction and the process.
    let _ = keeper.shutdown(Shutdown::Write);
}

/// Until one side ends or breaks; both mean the same to a connector.
fn pass(mut from: impl Read, mut to: impl Write) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => return,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let Some(bytes) = chunk.get(..n) else { return };
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
