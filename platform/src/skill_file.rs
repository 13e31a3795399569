//! A skill as the file that agents read: `SKILL.md`, Markdown behind YAML front matter with its name and description
//! (<https://agentskills.io/specification>).

use serde::Deserialize;

/// The line before and behind front matter.
const FENCE: &str = "---";

/// What a skill's text says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct FrontMatter {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// When it is of use.
    #[serde(default)]
    pub description: Option<String>,
}

/// Front matter that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrontMatterError {
    /// It begins and does not end.
    #[error("begins with front matter (a line ---) that no second line --- ends")]
    NoEnd,
    /// It is no YAML, or not of the form it must have.
    #[error("has front matter that cannot be read: {0}")]
    Unreadable(String),
}

/// What a text says of itself; nothing where it has no front matter.
///
/// # Errors
/// Where it has some that cannot be read.
pub fn front_matter(content: &str) -> Result<FrontMatter, FrontMatterError> {
    let Some((matter, _)) = split(content)? else { return Ok(FrontMatter::default()) };
    if matter.trim().is_empty() {
        return Ok(FrontMatter::default());
    }
    serde_saphyr::from_str(matter).map_err(|error| {
        let words = error.to_string();
        FrontMatterError::Unreadable(words.lines().next().unwrap_or_default().trim().to_owned())
    })
}

/// The whole file. What its front matter says besides name and description stays.
#[must_use]
pub fn skill_file(name: &str, description: &str, content: &str) -> String {
    let (matter, body) = split(content).ok().flatten().unwrap_or(("", content));
    // A string in JSON is one in YAML.
    let description = serde_json::Value::from(description).to_string();
    let mut file = format!("{FENCE}\nname: {name}\ndescription: {description}\n");
    let mut is_ours = false;
    for line in matter.lines() {
        // What a key has behind it goes on in lines that are indented or empty.
        if !line.starts_with([' ', '\t']) && !line.trim().is_empty() {
            is_ours = ["name:", "description:"].iter().any(|key| line.starts_with(key));
        }
        if !is_ours {
            file.push_str(line);
            file.push('\n');
        }
    }
    file.push_str(FENCE);
    file.push('\n');
    if !body.starts_with('\n') {
        file.push('\n');
    }
    file.push_str(body);
    if !file.ends_with('\n') {
        file.push('\n');
    }
    file
}

/// Front matter and what is behind it; nothing where the text does not begin with any.
fn split(content: &str) -> Result<Option<(&str, &str)>, FrontMatterError> {
    let is_fence = |line: &str| line.trim_end() == FENCE;
    let mut lines = content.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| is_fence(line)) else { return Ok(None) };
    let mut at = first.len();
    for line in lines {
        if is_fence(line) {
            return Ok(Some((&content[first.len()..at], &content[at + line.len()..])));
        }
        at += line.len();
    }
    Err(FrontMatterError::NoEnd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_says_of_itself_is_read() {
        let said = |content: &str| front_matter(content).unwrap();
        assert_eq!(said("# No front matter\n---\n"), FrontMatter::default());
        assert_eq!(said("---\n---\ntext"), FrontMatter::default());
        let both = said("---\r\nname: review\r\ndescription: >-\r\n  Of use\r\n  in reviews.\r\n---\r\ntext");
        assert_eq!(
            (both.name.as_deref(), both.description.as_deref()),
            (Some("review"), Some("Of use in reviews."))
        );
        let other = said("---\nlicense: MIT\nmetadata:\n  a: [1, 2]\ndescription: \"a: b\"\n---\n");
        assert_eq!((other.name, other.description.as_deref()), (None, Some("a: b")));
        assert_eq!(front_matter("---\nname: x\n"), Err(FrontMatterError::NoEnd));
        for broken in ["a: b: c", "name: [1", "- 1\n- 2", "name:\n  x: y"] {
            let error = front_matter(&format!("---\n{broken}\n---\n")).unwrap_err();
            assert!(matches!(error, FrontMatterError::Unreadable(_)), "{broken}: {error}");
        }
    }

    #[test]
    fn the_file_says_what_the_skill_is_called_and_keeps_the_rest() {
        let plain = skill_file("review", "Say \"why\".\nAlways.", "# Steps");
        assert_eq!(plain, "---\nname: review\ndescription: \"Say \\\"why\\\".\\nAlways.\"\n---\n\n# Steps\n");
        let said = front_matter(&plain).unwrap();
        assert_eq!(said.description.as_deref(), Some("Say \"why\".\nAlways."));
        let content =
            "---\nname: old\nlicense: MIT\ndescription: |\n  one\n\n  two\nallowed-tools: Read\n---\nBody\n";
        let file = skill_file("new", "d", content);
        assert_eq!(
            file,
            "---\nname: new\ndescription: \"d\"\nlicense: MIT\nallowed-tools: Read\n---\n\nBody\n"
        );
        assert_eq!(skill_file("new", "d", &file), file, "it is the same when it is made again");
    }
}
