//! Streams as programs might write them, and as none should: every feature of the model by its weight, out of
//! range as often as in range, with garbage in between.

use crate::random::Random;

/// What a stream is made of: everything by weight, or one feature with text in between.
pub(crate) const FEATURES: [&str; 27] = [
    "all",
    "text",
    "move",
    "edit",
    "selective",
    "region",
    "origin",
    "saved",
    "alternate",
    "screens",
    "autowrap",
    "insert",
    "charsets",
    "tabs",
    "modes",
    "keyboard",
    "cursor style",
    "titles",
    "colors",
    "links",
    "repeat",
    "resets",
    "strings",
    "malformed",
    "bytes",
    "sync",
    "queries",
];

/// Weights in per cent, for "all".
const WEIGHTS: [(&str, usize); 26] = [
    ("text", 12),
    ("long line", 3),
    ("wide", 3),
    ("control", 5),
    ("position", 4),
    ("sgr", 4),
    ("edit", 10),
    ("selective", 1),
    ("region", 5),
    ("origin", 3),
    ("saved", 5),
    ("alternate", 4),
    ("autowrap", 3),
    ("insert", 3),
    ("charsets", 4),
    ("tabs", 3),
    ("modes", 6),
    ("keyboard", 4),
    ("cursor style", 2),
    ("titles", 3),
    ("colors", 3),
    ("links", 3),
    ("repeat", 2),
    ("resets", 1),
    ("strings", 2),
    ("malformed", 2),
];

pub(crate) struct Grammar<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) cols: usize,
    pub(crate) rows: usize,
}

impl Grammar<'_> {
    /// A stream of this many items.
    pub(crate) fn stream(&mut self, feature: &str, items: usize) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..items {
            let item = match feature {
                "all" => {
                    let kind = self.weighted();
                    self.item(kind)
                }
                _ if self.random.one_in(3) => self.item(feature),
                _ => {
                    let kind = self.random.pick(&[
                        "text",
                        "text",
                        "long line",
                        "wide",
                        "control",
                        "position",
                        "sgr",
                    ]);
                    self.item(kind)
                }
            };
            stream.extend_from_slice(item.as_bytes());
            if matches!(feature, "all" | "bytes") && self.random.one_in(60) {
                for _ in 0..=self.random.below(3) {
                    stream.push(self.random.below(256) as u8);
                }
            }
        }
        stream
    }

    fn weighted(&mut self) -> &'static str {
        let mut left = self.random.below(100);
        for (kind, weight) in WEIGHTS {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        if left.is_multiple_of(2) { "move" } else { "sync" }
    }

    fn n(&mut self, below: usize) -> usize {
        self.random.below(below)
    }

    fn set_or_reset(&mut self) -> char {
        if self.random.one_in(2) { 'h' } else { 'l' }
    }

    fn item(&mut self, kind: &str) -> String {
        let (rows, cols) = (self.rows, self.cols);
        match kind {
            "text" => (0..self.n(14)).map(|_| char::from(b' ' + self.n(95) as u8)).collect(),
            "long line" => (0..self.n(cols * 3 / 2)).map(|_| char::from(b'a' + self.n(26) as u8)).collect(),
            "wide" => (0..=self.n(5))
                .map(|_| {
                    self.random.pick(&[
                        "漢",
                        "字",
                        "😀",
                        "é",
                        "e\u{301}",
                        "─",
                        "ﾊ",
                        "가",
                        "👍🏽",
                        "❤️",
                        "🇫🇷",
                        "👨‍👩‍👧",
                        "\u{200d}",
                        "ß",
                        "\u{300}",
                    ])
                })
                .collect(),
            "control" => self
                .random
                .pick(&["\r\n", "\n", "\r", "\r\n\r\n", "\x08", "\t", "\x0b", "\x0c", "\x07"])
                .into(),
            "position" => format!("\x1b[{};{}H", self.n(rows + 2), self.n(cols + 2)),
            "sgr" => self.sgr(),
            "edit" => {
                let (n, m) = (self.n(8), self.n(4));
                let kind = self.random.pick(&["@", "P", "X", "L", "M", "S", "T", "K", "J"]);
                format!("\x1b[{}{kind}", if matches!(kind, "K" | "J") { m } else { n })
            }
            "selective" => {
                let n = self.n(3);
                let what = self.random.pick(&["\"q", "\"q"]);
                if self.random.one_in(2) {
                    format!("\x1b[{n}{what}")
                } else {
                    format!("\x1b[?{n}{}", self.random.pick(&["J", "K"]))
                }
            }
            "region" if self.random.one_in(4) => "\x1b[r".into(),
            "region" => {
                let then = self.random.pick(&["", "\x1bM", "\x1bD\x1bD", "\n\n\n"]);
                format!("\x1b[{};{}r{then}", self.n(rows), self.n(rows + 1))
            }
            "origin" => format!("\x1b[?6{}", self.set_or_reset()),
            "saved" => self.random.pick(&["\x1b7", "\x1b8", "\x1b[s", "\x1b[u", "\x1b7", "\x1b8"]).into(),
            "alternate" => format!("\x1b[?1049{}", self.set_or_reset()),
            "screens" => {
                let mode = [47, 1047, 1048, 1049][self.n(4)];
                format!("\x1b[?{mode}{}", self.set_or_reset())
            }
            "autowrap" => format!("\x1b[?7{}", self.set_or_reset()),
            "insert" => format!("\x1b[4{}", self.set_or_reset()),
            "charsets" => self
                .random
                .pick(&[
                    "\x1b(0", "\x1b(B", "\x1b)0", "\x1b)B", "\x0e", "\x0f", "\x1b*0", "\x1bn", "\x1bo",
                    "\x1bN", "\x1bO", "lqqk", "\x1b+0", "\x1b(A",
                ])
                .into(),
            "tabs" => match self.n(6) {
                0 => "\x1bH".into(),
                1 => "\x1b[g".into(),
                2 => "\x1b[3g".into(),
                3 => format!("\x1b[{}G\x1bH", self.n(cols) + 1),
                4 => format!("\x1b[{}I", self.n(4)),
                _ => format!("\x1b[{}Z", self.n(4)),
            },
            "modes" => self.mode(),
            "keyboard" => match self.n(4) {
                0 | 1 => format!("\x1b[>{}u", self.n(32)),
                2 => format!("\x1b[<{}u", self.n(3)),
                _ => format!("\x1b[={};{}u", self.n(32), 1 + self.n(3)),
            },
            "cursor style" if self.random.one_in(4) => format!("\x1b[?12{}", self.set_or_reset()),
            "cursor style" => format!("\x1b[{} q", self.n(8)),
            "titles" => match self.n(5) {
                0 => format!("\x1b]0;ti{}\x07", self.n(99)),
                1 => format!("\x1b]2;t;u{}\x1b\\", self.n(99)),
                2 => "\x1b[22;0t".into(),
                3 => "\x1b[23;0t".into(),
                _ => format!("\x1b]1;i{}\x07", self.n(99)),
            },
            "colors" => {
                let (r, g, b) = (self.n(256), self.n(256), self.n(256));
                match self.n(5) {
                    0 => format!("\x1b]4;{};rgb:{r:02x}/{g:02x}/{b:02x}\x07", self.n(258)),
                    1 => format!("\x1b]{};#{r:02x}{g:02x}{b:02x}\x1b\\", 10 + self.n(3)),
                    2 => format!("\x1b]104;{}\x07", self.n(256)),
                    3 => "\x1b]104\x07".into(),
                    _ => format!("\x1b]{}\x07", 110 + self.n(3)),
                }
            }
            "links" => match self.n(3) {
                0 => "\x1b]8;;\x1b\\".into(),
                1 => format!("\x1b]8;;http://a/{}\x1b\\", self.n(3)),
                _ => format!("\x1b]8;id=x{};http://b/{};q\x07", self.n(2), self.n(3)),
            },
            "repeat" => format!("{}\x1b[{}b", self.random.pick(&["x", "漢", "", "\x1b[1m"]), self.n(cols)),
            "resets" => self.random.pick(&["\x1bc", "\x1b[!p", "\x1b#8", "\x1b[0m"]).into(),
            "strings" => self
                .random
                .pick(&[
                    "\x1bPq#0;2;0;0;0~-\x1b\\",
                    "\x1bP+q544e\x1b\\",
                    "\x1b_Gf=32;AAAA\x1b\\",
                    "\x1b^pm\x1b\\",
                    "\x1bXsos\x1b\\",
                    "\x1b]52;c;aGk=\x07",
                    "\x1b]133;A\x07",
                    "\x1b]7;file:///tmp\x07",
                    "\x1bP1$r0m\x18",
                    "\x1bP$qm\x1b\\",
                    "\x1bP0;1<q\x1b\\",
                    "\x1b]L;x\x07",
                    "\x1b]9;4;1;50\x07",
                    "\x1b]9;hey\x07",
                    "\x1b]7501;state=done\x07",
                ])
                .into(),
            "malformed" => self
                .random
                .pick(&[
                    "\x1b[3\n1m",
                    "\x1b[1;\x1b[2m",
                    "\x1b[?1;?2h",
                    "\x1b[38;5m",
                    "\x1b[999999999C",
                    "\x1b[1:2:3m",
                    "\x1b]0;abc\x18",
                    "\x1b\x1b[A",
                    "\x1b[ 3;1z",
                    "\x1b(\x1b(B",
                    "\x7f",
                    "\x1b[\x0d5C",
                    "\u{85}",
                    "\x1b]8;;u\x1b[1m",
                    "\x1b[1;2!#$%z",
                    "\x1b()*+B",
                    "\x1bP1?2q",
                    "\x1b]4;1;2;3\x07",
                ])
                .into(),
            "move" => format!(
                "\x1b[{}{}",
                self.n(12),
                self.random.pick(&["A", "B", "C", "D", "E", "F", "G", "d", "a", "e", "`", "I", "Z"])
            ),
            "sync" => format!("\x1b[?2026{}", self.set_or_reset()),
            "queries" => self
                .random
                .pick(&[
                    "\x1b[c",
                    "\x1b[6n",
                    "\x1b[?u",
                    "\x1b[>q",
                    "\x1b]11;?\x07",
                    "\x1b[?2026$p",
                    "\x1b[18t",
                    "\x1b[>4;2m",
                    "\x1b[?4m",
                ])
                .into(),
            _ => String::new(),
        }
    }

    fn sgr(&mut self) -> String {
        let parameters: Vec<String> = (0..=self.n(3))
            .map(|_| match self.n(9) {
                0 => "0".into(),
                1 => format!("{}", 1 + self.n(9)),
                2 => format!("{}", 30 + self.n(8)),
                3 => format!("{}", 40 + self.n(8)),
                4 => format!("38;5;{}", self.n(256)),
                5 => format!("48;2;{};{};{}", self.n(256), self.n(256), self.n(256)),
                6 => format!("4:{}", self.n(6)),
                7 => format!("58:2::{}:{}:{}", self.n(256), self.n(256), self.n(256)),
                _ => {
                    let rare = [21, 22, 23, 24, 25, 27, 28, 29, 39, 49, 53, 55, 59, 90, 97, 100, 107];
                    rare[self.n(rare.len())].to_string()
                }
            })
            .collect();
        format!("\x1b[{}m", parameters.join(";"))
    }

    fn mode(&mut self) -> String {
        const REMEMBERED: [u16; 15] =
            [1000, 1002, 1003, 1004, 1005, 1006, 2004, 2027, 2031, 1007, 5, 1015, 1016, 9, 2048];
        match self.n(12) {
            0 => format!("\x1b[?1{}", self.set_or_reset()),
            1 => "\x1b=".into(),
            2 => "\x1b>".into(),
            3 => format!("\x1b[?25{}", self.set_or_reset()),
            4 => format!("\x1b[20{}", self.set_or_reset()),
            _ => format!("\x1b[?{}{}", REMEMBERED[self.n(REMEMBERED.len())], self.set_or_reset()),
        }
    }
}
