//! Text in lines.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The text in lines of at most that many columns, broken between words where it can be.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut begun = false;
        for word in paragraph.split(' ') {
            let mut word = word;
            if begun && line.width() + 1 + word.width() > columns {
                lines.push(std::mem::take(&mut line));
            } else if begun {
                line.push(' ');
            }
            begun = true;
            while word.width() > columns && columns > 0 {
                let head: String = head(word, columns);
                word = word.get(head.len()..).unwrap_or_default();
                if head.is_empty() {
                    break;
                }
                lines.push(head);
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

fn head(word: &str, columns: usize) -> String {
    let mut used = 0;
    word.graphemes(true)
        .take_while(|grapheme| {
            used += grapheme.width();
            used <= columns
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_long_words_inside() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one\n\ntwo", 8), ["one", "", "two"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("  indented", 20), ["  indented"]);
    }
}
