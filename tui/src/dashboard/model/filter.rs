//! Which rows a filter lets through.

/// Whether every word of the filter is in one of the texts, in any case; a word after `!` must be in none.
#[must_use]
pub fn matches(filter: &str, texts: &[&str]) -> bool {
    filter.split_whitespace().all(|word| {
        let (word, wanted) = match word.strip_prefix('!') {
            // A lone `!` is the beginning of a word being typed.
            Some("") => return true,
            Some(rest) => (rest, false),
            None => (word, true),
        };
        let word = word.to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&word)) == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn every_word_counts_and_a_bang_excludes() {
        let row = ["Fix the login", "backend", "ready"];
        assert!(matches("", &row));
        assert!(matches("LOGIN back", &row));
        assert!(!matches("login front", &row));
        assert!(!matches("!ready", &row));
        assert!(matches("login !dead", &row));
        assert!(matches("login !", &row));
    }
}
