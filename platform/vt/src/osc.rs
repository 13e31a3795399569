//! Operating system commands: titles, colours, links, notifications, the clipboard.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::colors::Rgb;
use crate::events::{AgentState, Event, Progress};
use crate::limits::{MAX_DIRECTORY_BYTES, MAX_LINK_BYTES, MAX_TITLE_BYTES};
use crate::model::{Link, Model};

/// Text from outside: valid UTF-8, no control characters, at most `max` bytes of whole characters.
fn clean(bytes: &[u8], max: usize) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()) {
        if text.len() + c.len_utf8() > max {
            break;
        }
        text.push(c);
    }
    text
}

fn number(bytes: &[u8]) -> Option<u16> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// The text up to the next `;`, and what follows it.
fn cut(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b';', bytes) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

impl Model {
    /// `content` is what stood between `ESC ]` and the terminator, without control characters.
    pub(crate) fn system_command(&mut self, content: &[u8], by_bell: bool) {
        self.follows_print = false;
        let (code, rest) = cut(content);
        let Some(code) = number(code) else { return };
        let text = rest.unwrap_or(&[]);
        match code {
            0..=2 if rest.is_some() => self.set_titles(code, text),
            4 => self.palette(text, by_bell),
            104 => self.reset_palette(text),
            10..=19 if rest.is_some() => self.dynamic_colors(code, text, by_bell),
            110..=119 => {
                self.colors.dynamic.remove(&((code - 100) as u8));
            }
            7 if rest.is_some() => self.directory = Some(clean(text, MAX_DIRECTORY_BYTES)),
            8 => self.hyperlink(text),
            9 => self.growl(text),
            52 => self.clipboard(text),
            99 => self.kitty_notification(text),
            777 => self.urxvt_notification(text),
            7501 => self.agent_state(text),
            _ => {}
        }
    }

    fn set_titles(&mut self, code: u16, text: &[u8]) {
        let title = clean(text, MAX_TITLE_BYTES);
        if code != 2 {
            self.titles.icon = Some(title.clone());
        }
        if code != 1 {
            self.titles.window = Some(title);
            self.announce_title();
        }
    }

    pub(crate) fn announce_title(&mut self) {
        self.host.events.push(Event::Title(self.titles.window.clone().unwrap_or_default()));
    }

    /// OSC 4: pairs of index and colour, or `?` to ask.
    fn palette(&mut self, text: &[u8], by_bell: bool) {
        let mut parts = text.split(|byte| *byte == b';');
        while let (Some(index), Some(spec)) = (parts.next(), parts.next()) {
            let Some(index) = number(index).and_then(|index| u8::try_from(index).ok()) else { continue };
            if spec == b"?" {
                self.report_palette(index, by_bell);
            } else if let Some(color) = Rgb::parse(spec) {
                self.colors.palette.insert(index, color);
            }
        }
    }

    fn reset_palette(&mut self, text: &[u8]) {
        if text.is_empty() {
            self.colors.palette.clear();
        }
        for index in text.split(|byte| *byte == b';').filter_map(number) {
            if let Ok(index) = u8::try_from(index) {
                self.colors.palette.remove(&index);
            }
        }
    }

    /// OSC 10 and up: each further part is for the next number.
    fn dynamic_colors(&mut self, first: u16, text: &[u8], by_bell: bool) {
        for (code, spec) in (first..=19).zip(text.split(|byte| *byte == b';')) {
            if spec == b"?" {
                self.report_dynamic_color(code as u8, by_bell);
            } else if let Some(color) = Rgb::parse(spec) {
                self.colors.dynamic.insert(code as u8, color);
            }
        }
    }

    /// OSC 8: `parameters ; address`. An empty address ends the link.
    fn hyperlink(&mut self, text: &[u8]) {
        let (parameters, Some(uri)) = cut(text) else { return };
        let id = parameters.split(|byte| *byte == b':').find_map(|pair| pair.strip_prefix(b"id="));
        // One byte more than allowed is enough to tell.
        let link =
            Link { id: clean(id.unwrap_or(&[]), MAX_LINK_BYTES + 1), uri: clean(uri, MAX_LINK_BYTES + 1) };
        let link = if link.uri.is_empty() || link.id.len() + link.uri.len() > MAX_LINK_BYTES {
            0
        } else {
            if self.tables.links.is_full() {
                self.collect();
            }
            self.tables.links.number(&link)
        };
        self.brush.change(|pen| pen.link = link);
    }

    /// OSC 9: a notification in iTerm2's form, or ConEmu's progress.
    fn growl(&mut self, text: &[u8]) {
        match text {
            [b'4', b';', rest @ ..] => self.progress(rest),
            // ConEmu's other commands are numbers as well.
            [b'1'..=b'9', b';', ..] => {}
            _ => self.notify(b"", text),
        }
    }

    fn progress(&mut self, text: &[u8]) {
        let (state, percent) = cut(text);
        let percent = percent.and_then(|text| number(cut(text).0)).unwrap_or(0).min(100) as u8;
        let progress = match state {
            b"0" => Progress::None,
            b"1" => Progress::Running(percent),
            b"2" => Progress::Failed(percent),
            b"3" => Progress::Indeterminate,
            b"4" => Progress::Paused(percent),
            _ => return,
        };
        self.host.events.push(Event::Progress(progress));
    }

    /// OSC 777: `notify ; title ; body`.
    fn urxvt_notification(&mut self, text: &[u8]) {
        let (command, Some(rest)) = cut(text) else { return };
        if command == b"notify" {
            let (title, body) = cut(rest);
            self.notify(title, body.unwrap_or(&[]));
        }
    }

    /// OSC 99: `key=value : ... ; payload`. Parts of one notification come as notifications of their own.
    fn kitty_notification(&mut self, text: &[u8]) {
        let (metadata, Some(payload)) = cut(text) else { return };
        let value = |key: &[u8]| metadata.split(|byte| *byte == b':').find_map(|pair| pair.strip_prefix(key));
        let decoded = match value(b"e=") {
            Some(b"1") => BASE64.decode(payload).unwrap_or_default(),
            _ => payload.to_vec(),
        };
        match value(b"p=") {
            None | Some(b"title") => self.notify(&decoded, b""),
            Some(b"body") => self.notify(b"", &decoded),
            _ => {}
        }
    }

    fn notify(&mut self, title: &[u8], body: &[u8]) {
        let (title, body) = (clean(title, MAX_TITLE_BYTES), clean(body, MAX_DIRECTORY_BYTES));
        if !title.is_empty() || !body.is_empty() {
            self.host.events.push(Event::Notification { title, body });
        }
    }

    /// OSC 52: `selections ; base64`. Asking for the clipboard is not answered: it would hand the viewer's
    /// secrets to the program.
    fn clipboard(&mut self, text: &[u8]) {
        let (selection, Some(data)) = cut(text) else { return };
        if data == b"?" {
            return;
        }
        if let Ok(data) = BASE64.decode(data) {
            self.host.events.push(Event::Clipboard { selection: clean(selection, 16), data });
        }
    }

    /// OSC 7501: `state=working`, with other pairs around it.
    fn agent_state(&mut self, text: &[u8]) {
        let state = text.split(|byte| *byte == b';').find_map(|pair| pair.strip_prefix(b"state="));
        let state = match state {
            Some(b"working") => AgentState::Working,
            Some(b"done") => AgentState::Done,
            Some(b"idle") => AgentState::Idle,
            _ => return,
        };
        self.host.events.push(Event::State(state));
    }
}
