//! Whether a text has something in it that looks like a credential: then it is not to be kept where others read it.

/// What credentials of well-known makers begin with, and how many more letters, digits, `-` and `_` follow at least.
const BEGINNINGS: [(&str, usize); 18] = [
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("ghu_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("sk-ant-", 20),
    ("sk-proj-", 20),
    ("sk-", 32),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AKIA", 16),
    ("AIza", 30),
    ("npm_", 30),
    ("lap_sk_", 20),
    ("lap_agent_", 20),
];
/// What a private key in PEM has in it.
const PEM: &str = "PRIVATE KEY-----";

/// Whether a text looks as if it had a credential in it.
#[must_use]
pub fn looks_secret(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let of_maker = |(beginning, least): &(&str, usize)| {
        text.match_indices(beginning).any(|(at, _)| {
            let begins = !text[..at].ends_with(word);
            let rest = &text[at + beginning.len()..];
            begins && rest.chars().take_while(|c| word(*c)).count() >= *least
        })
    };
    // Three parts of base64 with dots between, the first an object in JSON.
    let token = |word: &str| {
        let parts: Vec<&str> = word.split('.').collect();
        word.starts_with("eyJ") && parts.len() == 3 && parts.iter().all(|part| part.len() >= 10)
    };
    text.contains(PEM)
        || BEGINNINGS.iter().any(of_maker)
        || text.split(|c: char| c.is_whitespace() || "\"'`()[]{}<>,;=".contains(c)).any(token)
}

#[cfg(test)]
mod tests {
    use super::looks_secret;

    #[test]
    fn credentials_are_known_and_other_words_are_not() {
        let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCD";
        for secret in [
            format!("the token is ghp_{letters}"),
            format!("KEY=sk-ant-{letters}"),
            format!("(AKIA{})", &letters[..16].to_uppercase()),
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc".to_owned(),
            format!("Bearer eyJ{letters}.{letters}.{letters}"),
        ] {
            assert!(looks_secret(&secret), "{secret}");
        }
        for plain in [
            "Use task-runner-for-the-whole-repository-of-the-company-and-its-friends",
            "tokens begin with ghp_ or sk-",
            "the disk-encryption-key-is-in-the-safe-of-the-office-on-the-third-floor",
            "see eyJ.x.y",
        ] {
            assert!(!looks_secret(plain), "{plain}");
        }
    }
}
