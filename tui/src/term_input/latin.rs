//! Keyboards without Latin letters: which character of a US keyboard stands in a key's place.
//!
//! Terminals with kitty's protocol tell it with the key. For the others these are the usual keyboards of some scripts;
//! where they are wrong a command is not found, as it is not without them.

/// A US keyboard's letters in the order of the rows below.
const LATIN: &str = "qwertyuiop[]asdfghjkl;'zxcvbnm,./";

/// Per script, what stands in those places; `_` where that is a Latin character or varies.
const SCRIPTS: [&str; 5] = [
    // Russian.
    "йцукенгшщзхъфывапролджэячсмитьбю.",
    // Ukrainian and Belarusian, where they differ.
    "________ў__ї_і________є__________",
    // Greek.
    "_ςερτυθιοπ__ασδφγηξκλ__ζχψωβνμ___",
    // Hebrew.
    "__קראטוןםפ__שדגכעיחלךף_זסבהנמצתץ_",
    // Arabic.
    "ضصثقفغعهخحجدشسيبلاتنمكطئءؤر_ىةوزظ",
];

/// Signs on a US keyboard, without and with Shift.
const SIGNS: [(char, char); 21] = [
    ('1', '!'),
    ('2', '@'),
    ('3', '#'),
    ('4', '$'),
    ('5', '%'),
    ('6', '^'),
    ('7', '&'),
    ('8', '*'),
    ('9', '('),
    ('0', ')'),
    ('-', '_'),
    ('=', '+'),
    ('[', '{'),
    (']', '}'),
    ('\\', '|'),
    (';', ':'),
    ('\'', '"'),
    (',', '<'),
    ('.', '>'),
    ('/', '?'),
    ('`', '~'),
];

/// The character in the place of this one on a US keyboard, without Shift.
pub(super) fn place(c: char) -> Option<char> {
    let mut lower = c.to_lowercase();
    let (Some(c), None) = (lower.next(), lower.next()) else { return None };
    if c.is_ascii() {
        return None;
    }
    let at = SCRIPTS.iter().find_map(|script| script.chars().position(|other| other == c))?;
    LATIN.chars().nth(at)
}

/// What Shift makes of a key on a US keyboard.
pub(super) fn shifted(c: char) -> char {
    SIGNS.iter().find(|(plain, _)| *plain == c).map_or(c.to_ascii_uppercase(), |(_, shifted)| *shifted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_names_each_place_once() {
        for script in SCRIPTS {
            assert_eq!(script.chars().count(), LATIN.chars().count(), "{script}");
            let letters: Vec<char> = script.chars().filter(|c| *c != '_' && *c != '.').collect();
            for (at, letter) in letters.iter().enumerate() {
                assert!(!letters[at + 1..].contains(letter), "{letter} twice in {script}");
            }
        }
    }

    #[test]
    fn letters_of_other_scripts_are_found_by_their_places() {
        for (written, latin) in
            [('с', 'c'), ('в', 'd'), ('ъ', ']'), ('х', '['), ('Ж', ';'), ('і', 's'), ('ψ', 'c')]
        {
            assert_eq!(place(written), Some(latin), "{written}");
        }
        for none in ['c', 'é', 'ß', '漢', '.'] {
            assert_eq!(place(none), None, "{none}");
        }
        assert_eq!([';', 'a', '5', '['].map(shifted), [':', 'A', '%', '{']);
    }
}
