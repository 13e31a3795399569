//! Device control strings: two kinds are questions with an answer, all others (pictures, for one) are passed
//! over.

use vte::Params;

use crate::limits::MAX_CAPABILITIES_ASKED;
use crate::model::Model;
use crate::snapshot::sgr_of;

/// What the string being received is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Dcs {
    /// Nothing known: its content does not matter.
    #[default]
    Ignored,
    /// `DCS $ q`: a setting, named by the end of the sequence that sets it.
    SettingQuery,
    /// `DCS + q`: capabilities, named in hexadecimal.
    CapabilityQuery,
}

impl Model {
    pub(crate) fn begin_dcs(&mut self, _: &Params, intermediates: &[u8], ignored: bool, action: char) {
        self.dcs = match (intermediates, action) {
            ([b'$'], 'q') if !ignored => Dcs::SettingQuery,
            ([b'+'], 'q') if !ignored => Dcs::CapabilityQuery,
            _ => Dcs::Ignored,
        };
    }

    /// `content` is nothing if the string was cancelled or too long.
    pub(crate) fn end_dcs(&mut self, content: Option<&[u8]>) {
        let Some(content) = content else { return };
        match std::mem::take(&mut self.dcs) {
            Dcs::Ignored => {}
            Dcs::SettingQuery => self.report_setting(content),
            Dcs::CapabilityQuery => self.report_capabilities(content),
        }
    }

    /// DECRQSS.
    fn report_setting(&mut self, name: &[u8]) {
        let setting = match name {
            b"m" => sgr_of(&self.brush.style()),
            b"r" => format!("{};{}r", self.top + 1, self.bottom + 1),
            b" q" => format!("{} q", self.cursor_style),
            b"\"q" => {
                let attributes = self.brush.style().attributes;
                format!("{}\"q", u8::from(attributes.contains(crate::style::Attributes::PROTECTED)))
            }
            b"\"p" => "62;1\"p".to_owned(),
            _ => return self.reply("\x1bP0$r\x1b\\"),
        };
        self.reply(format!("\x1bP1$r{setting}\x1b\\"));
    }

    /// XTGETTCAP: a few that programs ask for to learn what the terminal can do.
    fn report_capabilities(&mut self, names: &[u8]) {
        for name in names.split(|byte| *byte == b';').take(MAX_CAPABILITIES_ASKED) {
            if name.is_empty() || !name.iter().all(u8::is_ascii_hexdigit) {
                continue;
            }
            let name = String::from_utf8_lossy(name);
            let value = match &*name.to_ascii_lowercase() {
                "544e" | "6e616d65" => "xterm-256color",
                "436f" | "636f6c6f7273" => "256",
                "524742" => "8/8/8",
                _ => {
                    self.reply(format!("\x1bP0+r{name}\x1b\\"));
                    continue;
                }
            };
            let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
            self.reply(format!("\x1bP1+r{name}={hex}\x1b\\"));
        }
    }
}
