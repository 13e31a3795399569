//! Whether a skill makes sense.

use super::limits::{SKILL_BYTES, SKILL_DESCRIPTION_CHARS, SKILL_NAME_CHARS};
use super::{Faults, INVALID, REQUIRED, TOO_BIG, TOO_SMALL};
use crate::model::FieldError;
use crate::skill_file::{FrontMatter, front_matter};

/// A skill as it would be, whether it is new or changed. What its name and description are where only its front matter
/// says so is [`skill_said`]'s to tell.
pub fn skill(name: &str, description: &str, content: &str) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    self::name(&mut faults, name);
    if description.trim().is_empty() {
        let message = "is empty; say when the skill is of use, here or in the content's front matter";
        faults.add(REQUIRED, &["description"], message);
    }
    let chars = description.chars().count();
    if chars > SKILL_DESCRIPTION_CHARS {
        let message = format!("is {chars} characters long; at most {SKILL_DESCRIPTION_CHARS} are allowed");
        faults.add(TOO_BIG, &["description"], message);
    }
    if description.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        faults.add(INVALID, &["description"], "has a control character in it");
    }
    if content.trim().is_empty() {
        faults.add(TOO_SMALL, &["content"], "is empty");
    }
    faults.block(&["content"], content, SKILL_BYTES);
    if let Err(error) = front_matter(content) {
        faults.add(INVALID, &["content"], error.to_string());
    }
    faults.into_result()
}

/// Name and description of a skill: those that are given, else those of its front matter.
#[must_use]
pub fn skill_said(name: Option<&str>, description: Option<&str>, content: &str) -> (String, String) {
    let said: FrontMatter = front_matter(content).unwrap_or_default();
    let name = name.map(str::to_owned).or(said.name).unwrap_or_default();
    let description = description.map(str::to_owned).or(said.description).unwrap_or_default();
    (name, description)
}

/// A slug: what agents call it, and its folder's name.
fn name(faults: &mut Faults, name: &str) {
    let chars = name.chars().count();
    let is_slug = name
        .split('-')
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if name.is_empty() {
        faults.add(REQUIRED, &["name"], "is missing; give it here or in the content's front matter");
    } else if chars > SKILL_NAME_CHARS {
        let message = format!("is {chars} characters long; at most {SKILL_NAME_CHARS} are allowed");
        faults.add(TOO_BIG, &["name"], message);
    } else if !is_slug {
        faults.add(INVALID, &["name"], "is no slug: words of a-z and 0-9, with - between them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, description: &str, content: &str) -> Vec<String> {
        let faults = skill(name, description, content).err().unwrap_or_default();
        faults.into_iter().map(|fault| format!("{}: {}", fault.path.join("."), fault.code)).collect()
    }

    #[test]
    fn names_are_slugs_and_texts_have_their_limits() {
        assert_eq!(faults("review-2", "When reviewing.", "text"), Vec::<String>::new());
        for bad in ["Review", "a--b", "-a", "a-", "a_b", "a b", "ä", "../x"] {
            assert_eq!(faults(bad, "d", "text"), ["name: invalid"], "{bad}");
        }
        assert_eq!(faults(&"a".repeat(65), "d", "x"), ["name: too_big"]);
        assert_eq!(faults("", "\n", " "), ["name: required", "description: required", "content: too_small"]);
        assert_eq!(faults("a", &"d".repeat(1025), "x\0"), ["description: too_big", "content: invalid"]);
        assert_eq!(
            faults("a", "\u{1b}[31m", "---\nname: [\n---\n"),
            ["description: invalid", "content: invalid"]
        );
        assert_eq!(faults("a", "d", &"x".repeat(SKILL_BYTES + 1)), ["content: too_big"]);
    }

    #[test]
    fn what_is_given_counts_more_than_what_the_text_says() {
        let content = "---\nname: said\ndescription: Said.\n---\n";
        assert_eq!(skill_said(None, None, content), ("said".into(), "Said.".into()));
        assert_eq!(skill_said(Some("given"), Some("Given."), content), ("given".into(), "Given.".into()));
        assert_eq!(skill_said(None, None, "text"), (String::new(), String::new()));
    }
}
