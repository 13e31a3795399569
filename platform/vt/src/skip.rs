//! Passing over text that cannot matter any more.
//!
//! A program that floods its terminal with plain lines pushes all but the last of them out of the scrollback. A
//! reader that is behind gets such lines by the megabyte, and this finds where the part begins that alone decides
//! the state, so that the rest need not be printed.
//!
//! Why it is exact: let text be printable ASCII, CR, LF and TAB on the main screen, wrapping, with the whole screen
//! as region. A row's cost in the scrollback is at least [`ROW_BYTES`] and the cells of the characters written in
//! it, and characters without CR or TAB between them are written to different cells. Then, from the end backwards:
//! 1. what stands before as many line feeds as there are rows has left the screen;
//! 2. once lines before these cost more than the scrollback holds, nothing older is in it. Let that part begin
//!    behind a CR LF;
//! 3. as many line feeds again as there are rows before that, and the cursor stands on the bottom row, freshly
//!    scrolled in, in its first column, when part 2 begins: whatever stood on the screen when part 3 began.
//!
//! So everything before part 3 may be left out.

use memchr::memrchr;

use crate::collect::ROW_BYTES;
use crate::model::Model;

/// The number of bytes at the start that need not be fed; 0 where that cannot be told.
pub(crate) fn skippable(model: &Model, bytes: &[u8]) -> usize {
    // No line costs more for its bytes than an empty one.
    let too_short = |text: &[u8]| text.len() * ROW_BYTES <= model.scrollback.limit();
    if too_short(bytes) || !applies(model) {
        return 0;
    }
    let text = plain_prefix(bytes);
    if too_short(text) { 0 } else { from_the_end(model, text).unwrap_or(0) }
}

fn applies(model: &Model) -> bool {
    let modes = &model.modes;
    !modes.alternate
        && modes.autowrap
        && !modes.insert
        && model.shift == 0
        && (model.top, model.bottom) == (0, model.rows - 1)
}

fn from_the_end(model: &Model, text: &[u8]) -> Option<usize> {
    let mut end = memrchr(b'\n', text)?;
    for _ in 0..model.rows {
        end = memrchr(b'\n', &text[..end])?;
    }
    let mut cost = 0;
    loop {
        let begin = memrchr(b'\n', &text[..end])?;
        cost += least_cost(&text[begin + 1..end]);
        end = begin;
        let at_first_column = model.modes.newline || text[..end].last() == Some(&b'\r');
        if cost > model.scrollback.limit() && at_first_column {
            break;
        }
    }
    for _ in 0..model.rows {
        end = memrchr(b'\n', &text[..end])?;
    }
    Some(end + 1)
}

fn least_cost(line: &[u8]) -> usize {
    let stretches = line.split(|byte| matches!(byte, b'\r' | b'\t'));
    let longest = stretches.map(<[u8]>::len).max().unwrap_or(0);
    ROW_BYTES + longest * size_of::<crate::cell::Cell>()
}

/// Whole blocks only: what is left over is for the usual way.
fn plain_prefix(bytes: &[u8]) -> &[u8] {
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e | b'\t' | b'\n' | b'\r');
    let (blocks, _) = bytes.as_chunks::<64>();
    let whole =
        blocks.iter().take_while(|block| block.iter().fold(true, |all, byte| all & plain(byte))).count();
    &bytes[..whole * 64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Limits, Size};

    fn model(scrollback_bytes: usize) -> Model {
        Model::new(Size { cols: 10, rows: 3 }, &Limits { scrollback_bytes })
    }

    #[test]
    fn of_a_flood_only_the_end_is_printed() {
        let text = b"some text\r\n".repeat(10_000);
        let skipped = skippable(&model(1000), &text);
        // Three rows, ten of 104 bytes, three more, and what is left of a block.
        assert!(text.len() - skipped < 11 * 18 + 64, "{skipped} of {}", text.len());
        assert_eq!(skippable(&model(usize::MAX / 64), &text), 0, "all of it fits");
        assert_eq!(skippable(&model(1000), &b"no line ends ".repeat(1000)), 0);
    }

    #[test]
    fn a_screen_where_lines_do_not_simply_go_by_is_left_alone() {
        let text = b"some text\r\n".repeat(1000);
        for change in [
            |model: &mut Model| model.modes.alternate = true,
            |model: &mut Model| model.modes.autowrap = false,
            |model: &mut Model| model.modes.insert = true,
            |model: &mut Model| model.top = 1,
            |model: &mut Model| model.shift = 2,
        ] {
            let mut model = model(1000);
            change(&mut model);
            assert_eq!(skippable(&model, &text), 0);
        }
    }
}
