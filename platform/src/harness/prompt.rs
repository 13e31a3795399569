//! The instructions of a session, put together: what its agent remembers, the agent's own prompt, which skills there are.
//! Empty parts are left out.

use std::fmt::Write as _;

use crate::model::{Memory, ToldSkill};

/// The most bytes of all of it.
const MAX_BYTES: usize = 512 * 1024;

/// It is longer than a harness is told; says what is large.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the instructions are {total} bytes long, and at most {MAX_BYTES} are given: {memories} of memories, {prompt} of \
     the agent's prompt, {skills} of the list of skills"
)]
pub struct PromptTooLong {
    total: usize,
    memories: usize,
    prompt: usize,
    skills: usize,
}

/// All of it as one text. Each skill comes with its description.
///
/// # Errors
/// Where it is too long.
pub fn prompt(
    memories: &[Memory],
    prompt: &str,
    skills: &[(ToldSkill, String)],
) -> Result<String, PromptTooLong> {
    let (memories, skills) = (memory_block(memories), skill_index(skills));
    let parts = [memories.as_str(), prompt, skills.as_str()];
    let whole = parts.into_iter().filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join("\n\n");
    if whole.len() > MAX_BYTES {
        let (memories, prompt, skills) = (memories.len(), prompt.len(), skills.len());
        return Err(PromptTooLong { total: whole.len(), memories, prompt, skills });
    }
    Ok(whole)
}

/// A line for each: `- [type, tag, …] text`.
fn memory_block(memories: &[Memory]) -> String {
    let mut block = String::new();
    for memory in memories {
        if block.is_empty() {
            block.push_str("# Remembered from earlier sessions\n");
        }
        let labels = std::iter::once(memory.kind.as_str()).chain(memory.tags.iter().map(String::as_str));
        let labels = labels.collect::<Vec<_>>().join(", ");
        // Writing into a string cannot fail.
        let _ = write!(block, "\n- [{labels}] {}", one_line(&memory.text));
    }
    block
}

/// A line for each: its name, where it is, when it is of use.
fn skill_index(skills: &[(ToldSkill, String)]) -> String {
    let mut index = String::new();
    for (skill, description) in skills {
        if index.is_empty() {
            index.push_str("# Skills\n\nRead a skill's file when what you do is what it is for.\n");
        }
        let _ = write!(index, "\n- {} ({}): {}", skill.name, skill.path, one_line(description));
    }
    index
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{AgentId, MemoryId, MemorySource, MemoryType, SkillId};

    fn memory(text: &str, tags: &[&str]) -> Memory {
        Memory {
            id: MemoryId::new(),
            agent_id: AgentId::new(),
            text: text.to_owned(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            kind: MemoryType::Constraint,
            priority: 0,
            pinned: false,
            disabled: false,
            times_applied: 0,
            last_applied_at: None,
            source: MemorySource::Api,
            source_session_id: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn skill(name: &str) -> (ToldSkill, String) {
        let path = format!(".claude/skills/{name}/SKILL.md");
        (
            ToldSkill { id: SkillId::new(), name: name.to_owned(), version: 1, path },
            "For\nreviews.".to_owned(),
        )
    }

    #[test]
    fn the_parts_stand_in_their_order_and_empty_ones_are_left_out() {
        let memories = [memory("never push\nto main", &["git", "ci"]), memory("be kind", &[])];
        let whole = prompt(&memories, "Be brief.", &[skill("review")]).unwrap();
        assert_eq!(
            whole,
            "# Remembered from earlier sessions\n\n- [constraint, git, ci] never push to main\n- [constraint] be kind\n\n\
             Be brief.\n\n\
             # Skills\n\nRead a skill's file when what you do is what it is for.\n\n\
             - review (.claude/skills/review/SKILL.md): For reviews."
        );
        assert_eq!(prompt(&[], "Be brief.", &[]).unwrap(), "Be brief.");
        assert_eq!(prompt(&[], " \n", &[]).unwrap(), "");
    }

    #[test]
    fn what_is_too_long_is_said_with_its_parts() {
        let long = "x".repeat(MAX_BYTES);
        assert_eq!(prompt(&[], &long, &[]).unwrap().len(), MAX_BYTES);
        let error = prompt(&[memory("m", &[])], &long, &[]).unwrap_err().to_string();
        assert!(error.contains("524288 of the agent's prompt") && error.contains("of memories"), "{error}");
    }
}
