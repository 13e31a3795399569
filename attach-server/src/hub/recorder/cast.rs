//! One recording's file: asciicast v3 lines, and now and then how far they go.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use lap_wire::control::Size;
use lap_wire::flow::Since;
use serde_json::json;

use super::Gap;

/// How much of a recording's end is read to find its last position: a flush writes one at the least this often.
const TAIL: u64 = 4 * 1024 * 1024;
/// What a position's line begins with; lines that begin with `#` are comments in asciicast v3.
const POSITION: &str = "#lap ";

/// The last position in a recording, and where in the file its line ends.
pub(super) fn last_position(file: &mut File) -> io::Result<Option<(Since, u64)>> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let mut end = tail.len();
    while let Some(newline) = tail[..end].iter().rposition(|b| *b == b'\n') {
        let begin = tail[..newline].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let line = std::str::from_utf8(&tail[begin..newline]).unwrap_or_default();
        if let Some(since) = line.strip_prefix(POSITION).and_then(|p| serde_json::from_str(p).ok()) {
            return Ok(Some((since, from + newline as u64 + 1)));
        }
        end = newline;
    }
    Ok(None)
}

/// A recording that is being written.
pub(super) struct Cast {
    file: BufWriter<File>,
    pub(super) written: u64,
    pub(super) last: Option<Instant>,
    pub(super) since: Option<Since>,
    pub(super) unmarked: usize,
    /// The beginning of a character whose rest is still to come.
    pub(super) partial: Vec<u8>,
}

impl Cast {
    pub(super) fn create(path: &Path, size: Size) -> io::Result<Cast> {
        let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
        let mut cast = Cast::of(file, 0);
        let timestamp = jiff::Timestamp::now().as_second();
        let term = json!({ "cols": size.cols, "rows": size.rows, "type": "xterm-256color" });
        cast.line(&json!({ "version": 3, "term": term, "timestamp": timestamp }).to_string())?;
        Ok(cast)
    }

    pub(super) fn resume(path: &Path) -> io::Result<Option<Cast>> {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((since, end)) = last_position(&mut file)? else { return Ok(None) };
        file.set_len(end)?;
        file.seek(SeekFrom::End(0))?;
        let mut cast = Cast::of(file, end);
        cast.since = Some(since);
        Ok(Some(cast))
    }

    fn of(file: File, written: u64) -> Cast {
        let file = BufWriter::new(file);
        Cast { file, written, last: None, since: None, unmarked: 0, partial: Vec::new() }
    }

    pub(super) fn output(&mut self, at: Instant, bytes: &[u8]) -> io::Result<()> {
        let joined;
        let bytes = if self.partial.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.partial).as_slice(), bytes].concat();
            &joined
        };
        let whole = whole_characters(bytes);
        self.partial.extend_from_slice(&bytes[whole..]);
        if whole == 0 {
            return Ok(());
        }
        self.event(at, "o", &String::from_utf8_lossy(&bytes[..whole]))
    }

    pub(super) fn event(&mut self, at: Instant, code: &str, data: &str) -> io::Result<()> {
        let interval = self.last.map_or(Duration::ZERO, |last| at.saturating_duration_since(last));
        self.last = Some(at);
        let line = format!("[{:.6}, {}, {}]", interval.as_secs_f64(), json!(code), json!(data));
        self.line(&line)
    }

    /// Says what is missing here, if anything is.
    pub(super) fn left_out(&mut self, at: Instant, gap: Option<Gap>) -> io::Result<()> {
        gap.map_or(Ok(()), |gap| self.event(at, "m", gap.mark()))
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.written += line.len() as u64 + 1;
        self.unmarked += line.len() + 1;
        Ok(())
    }

    /// Writes all of it out, and how far it goes. A character cut in two belongs to what comes after the position.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        if self.unmarked > 0
            && let Some(since) = self.since
        {
            let offset = since.offset.saturating_sub(self.partial.len() as u64);
            let position = json!(Since { offset, ..since }).to_string();
            self.line(&format!("{POSITION}{position}"))?;
            self.unmarked = 0;
        }
        self.file.flush()
    }
}

/// How many of the bytes are whole characters: at most the last three are the beginning of one.
fn whole_characters(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    for at in (from..bytes.len()).rev() {
        let need = match bytes[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return bytes.len(),
        };
        return if bytes.len() - at < need { at } else { bytes.len() };
    }
    bytes.len()
}
