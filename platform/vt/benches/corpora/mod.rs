//! What the benches feed: generated, so that a figure can be had again.

use std::fmt::Write as _;

/// Bytes of each corpus.
pub(crate) const BYTES: usize = 4 << 20;

/// A log without colours.
pub(crate) fn plain_log() -> String {
    repeat(|i, out| {
        let _ = write!(
            out,
            "2026-11-23T12:{:02}:{:02}.{:06}Z INFO server::request{{id={i}}}: handled GET /api/v1/items/{} in {} us\r\n",
            i / 60 % 60,
            i % 60,
            i * 7919 % 1_000_000,
            i * 31 % 1000,
            i * 17 % 5000,
        );
    })
}

/// A build's log: a colour change every few words.
pub(crate) fn coloured_log() -> String {
    repeat(|i, out| {
        let _ = write!(
            out,
            "\x1b[32m{i:8}\x1b[0m   \x1b[1;34mCompiling\x1b[0m some-crate v1.{i}.0 (/path/to/some/dir/{i})\r\n"
        );
    })
}

const SAME: &str = "some text that stays the same from frame to frame";

/// What agents do while they work: a frame of some twenty short pieces inside synchronized output, most of it the
/// same as before, and now and then lines that scroll.
pub(crate) fn redraw() -> String {
    repeat(|i, out| {
        out.push_str("\x1b[?2026h\x1b[?25l");
        if i % 8 == 0 {
            out.push_str("\x1b[24;1H\r\n\x1b[2m  \u{23bf}  Read 120 lines (ctrl+r to expand)\x1b[22m\r\n");
        }
        for row in 0..18 {
            let _ = write!(
                out,
                "\x1b[{};1H\x1b[38;5;{}m\u{2502}\x1b[39m \x1b[1mtask {row}\x1b[22m {SAME} \x1b[38;2;215;119;87mstep {i}\x1b[39m\x1b[K",
                row + 4,
                240 + row % 8,
            );
        }
        let spinner = ['\u{b7}', '\u{2722}', '\u{2733}', '\u{2736}'][i % 4];
        let _ = write!(
            out,
            "\x1b[28;1H\x1b[38;2;215;119;87m{spinner} Thinking\u{2026}\x1b[39m ({i}s)\x1b[K\x1b[30;3H"
        );
        out.push_str("\x1b[?25h\x1b[?2026l");
    })
}

/// Wide characters and emoji.
pub(crate) fn cjk() -> String {
    repeat(|i, out| {
        let _ = write!(
            out,
            "日本語テキスト漢字かな交じり文 한국어 中文字符 \u{1f600}\u{1f680}\u{2705} e\u{301} {i} plain tail\r\n"
        );
    })
}

/// A picture in cells: each with colours of its own.
pub(crate) fn truecolor() -> String {
    repeat(|i, out| {
        if i % 100 == 0 {
            out.push_str("\x1b[0m\r\n");
        }
        let (r, g, b) = (i * 7 % 256, i * 13 % 256, i / 50 % 256);
        let _ = write!(out, "\x1b[38;2;{r};{g};{b};48;2;{b};{r};{g}m\u{2580}");
    })
}

fn repeat(mut item: impl FnMut(usize, &mut String)) -> String {
    let mut out = String::with_capacity(BYTES + 4096);
    for i in 0.. {
        if out.len() >= BYTES {
            break;
        }
        item(i, &mut out);
    }
    out
}
