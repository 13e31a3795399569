//! Server-sent events, as the HTML standard describes the stream
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>).

use std::collections::VecDeque;

/// One line, and all data lines of one event together: a session or agent row is a few kilobytes, a prompt 256 KiB.
const MAX_EVENT: usize = 1024 * 1024;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct SseEvent {
    /// The last `id` seen up to this event.
    pub(super) id: Option<String>,
    /// Its name; empty where it has none.
    pub(super) name: String,
    /// Its data lines, joined.
    pub(super) data: String,
}

/// Turns the stream's bytes, cut anywhere, into events.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    at_start: bool,
    id: Option<String>,
    /// Of the event whose lines are arriving: it counts once the event is whole, or a cut would lose that one.
    next_id: Option<String>,
    name: String,
    data: String,
    has_data: bool,
    done: VecDeque<SseEvent>,
}

/// The peer sent an event over [`MAX_EVENT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLarge;

impl SseParser {
    pub(super) fn new() -> SseParser {
        SseParser { at_start: true, ..SseParser::default() }
    }

    /// Takes in the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        for &byte in bytes {
            let ends_crlf = byte == b'\n' && std::mem::take(&mut self.after_cr);
            if ends_crlf {
                continue;
            }
            self.after_cr = byte == b'\r';
            if byte == b'\n' || byte == b'\r' {
                self.end_line()?;
            } else if self.line.len() + self.data.len() < MAX_EVENT {
                self.line.push(byte);
            } else {
                return Err(TooLarge);
            }
        }
        Ok(())
    }

    /// The next complete event.
    pub(super) fn next_event(&mut self) -> Option<SseEvent> {
        self.done.pop_front()
    }

    /// The last id of a whole event. Once all events are taken, everything up to it has been.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn end_line(&mut self) -> Result<(), TooLarge> {
        let line = std::mem::take(&mut self.line);
        let mut text = String::from_utf8_lossy(&line);
        if std::mem::take(&mut self.at_start)
            && let Some(rest) = text.strip_prefix('\u{feff}')
        {
            text = rest.to_owned().into();
        }
        if text.is_empty() {
            self.dispatch();
            return Ok(());
        }
        let (field, value) = match text.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (text.as_ref(), ""),
        };
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
                // Replacing invalid bytes can make a line longer than it came.
                if self.data.len() > MAX_EVENT {
                    return Err(TooLarge);
                }
            }
            "id" if !value.contains('\0') => self.next_id = Some(value.to_owned()),
            "event" => self.name = value.to_owned(),
            // `retry` is ours to decide; comments keep the line alive.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self) {
        if let Some(id) = self.next_id.take() {
            self.id = Some(id);
        }
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if std::mem::take(&mut self.has_data) {
            self.done.push_back(SseEvent { id: self.id.clone(), name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(chunks: &[&[u8]]) -> Vec<SseEvent> {
        let mut parser = SseParser::new();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(chunk).unwrap();
            events.extend(std::iter::from_fn(|| parser.next_event()));
        }
        events
    }

    fn event(id: &str, data: &str) -> SseEvent {
        SseEvent { id: Some(id.to_owned()), name: String::new(), data: data.to_owned() }
    }

    #[test]
    fn an_event_that_was_cut_off_has_not_been_seen() {
        let mut parser = SseParser::new();
        parser.push(b"id: 1\ndata: a\n\nid: 2\ndata: half").unwrap();
        assert_eq!(parser.next_event(), Some(event("1", "a")));
        assert_eq!((parser.next_event(), parser.last_id()), (None, Some("1")));
        parser.push(b"\n\nid: 3\n\n").unwrap();
        assert_eq!((parser.next_event(), parser.last_id()), (Some(event("2", "half")), Some("3")));
    }

    #[test]
    fn lines_end_in_any_of_the_three_ways() {
        let expected = vec![event("1", "a\nb"), event("2", "c")];
        for end in ["\n", "\r\n", "\r"] {
            let stream =
                ["id: 1", "data: a", "data: b", "", ": beat", "", "id:2", "data:c", "", ""].join(end);
            assert_eq!(parse(&[stream.as_bytes()]), expected, "{end:?}");
        }
    }

    #[test]
    fn an_event_without_data_is_none_but_its_id_stays() {
        assert_eq!(parse(&[b"id: 7\n\ndata: x\n\n"]), [event("7", "x")]);
    }

    #[test]
    fn a_byte_order_mark_at_the_start_is_not_part_of_the_field() {
        assert_eq!(
            parse(&["\u{feff}data: x\n\n".as_bytes()]),
            [SseEvent { data: "x".into(), ..SseEvent::default() }]
        );
    }

    #[test]
    fn an_event_without_end_is_refused_at_the_limit() {
        let mut parser = SseParser::new();
        let chunk = [b'x'; 4096];
        let pushed = (0..1024).take_while(|_| parser.push(&chunk).is_ok()).count();
        assert_eq!(pushed, MAX_EVENT / 4096);
        let mut lines = SseParser::new();
        let refused = (0..1024).any(|_| {
            lines.push(b"data: ").is_err() || lines.push(&[b'y'; 4095]).is_err() || lines.push(b"\n").is_err()
        });
        assert!(refused);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(
            data in proptest::collection::vec("[a-zA-Zé:\u{1f600} ]{0,12}", 1..6),
            crlf: bool,
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let stream: String =
                data.iter().enumerate().map(|(i, d)| format!("id: {i}{end}data: {d}{end}{end}")).collect();
            let bytes = stream.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let expected: Vec<SseEvent> =
                data.iter().enumerate().map(|(i, d)| event(&i.to_string(), d)).collect();
            prop_assert_eq!(parse(&chunks), expected);
        }
    }
}
