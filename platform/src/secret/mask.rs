//! How a secret is shown to a person without showing it.

use std::collections::BTreeMap;

/// Characters at the end that are shown.
const TAIL: usize = 2;
/// A value shorter than this shows nothing of itself: what is left hidden must stay beyond guessing.
const SHORTEST_SHOWN: usize = 16;
/// The longest prefix that is taken for a format's mark (`github_pat_`) rather than for part of the secret.
const LONGEST_PREFIX: usize = 12;

/// How a secret is shown: the mark of its format and its last two characters (`ghp_…9f`), so that a person can tell
/// two of them apart; a short one as `…` alone.
#[must_use]
pub fn mask(value: &str) -> String {
    let chars: Vec<char> = value.chars().collect();
    if chars.is_empty() {
        return String::new();
    }
    if chars.len() < SHORTEST_SHOWN {
        return "…".to_owned();
    }
    let tail: String = chars[chars.len() - TAIL..].iter().collect();
    format!("{}…{tail}", format_mark(value))
}

/// [`mask`] over every value of a map.
#[must_use]
pub fn mask_map(values: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    values.iter().map(|(key, value)| (key.clone(), mask(value))).collect()
}

/// The leading words of a token's format: letters and digits that end in `_` or `-`, as long as only letters are in
/// them (`ghp_`, `sk-ant-`, `github_pat_`). A digit begins the random part.
fn format_mark(value: &str) -> &str {
    let mut end = 0;
    for (at, c) in value.char_indices().take(LONGEST_PREFIX) {
        match c {
            '_' | '-' => end = at + 1,
            c if c.is_ascii_alphabetic() => {}
            _ => break,
        }
    }
    &value[..end]
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn shows_the_mark_of_the_format_and_the_end() {
        assert_eq!(mask("ghp_0123456789abcdef0123456789abcdef9f"), "ghp_…9f");
        assert_eq!(mask("sk-ant-api03-0123456789abcdef-XY"), "sk-ant-…XY");
        assert_eq!(mask("github_pat_11ABCDEFG0123456789zz"), "github_pat_…zz");
        assert_eq!(mask("0123456789abcdef0123"), "…23");
    }

    #[test]
    fn a_short_value_shows_nothing() {
        assert_eq!(mask("hunter2"), "…");
        assert_eq!(mask("ghp_short"), "…");
        assert_eq!(mask(""), "");
    }

    #[test]
    fn letters_of_other_alphabets_do_not_break_it() {
        assert_eq!(mask("пароль-который-длинный"), "…ый");
    }
}
