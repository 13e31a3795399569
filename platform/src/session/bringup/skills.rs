//! The files of a session's skills: each as `<skills folder>/<name>/SKILL.md`, where its harness looks for them.

use super::{BringUp, Fault, Step, keeper_fault};
use crate::harness::Telling;
use crate::link::Keeper;
use crate::model::{Skill, SkillId, Told, ToldSkill};
use crate::skill_file::skill_file;

/// Where skills go for a harness that has no folder of its own for them, or one in a home that is not written to. The list
/// of skills says where they are.
const FOLDER: &str = ".lap/skills";

impl BringUp<'_> {
    /// The skills of the agent and of this session alone, each once, as they are now.
    pub(super) async fn skills(&self) -> Result<Vec<Skill>, Fault> {
        let mut ids: Vec<SkillId> = self.agent.attached_skill_ids.clone();
        ids.extend(&self.request.skill_ids);
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        let skills = self.inner.store.skills().of_ids(&ids).await;
        skills.map_err(|error| Fault::Again(error.into()))
    }

    /// What a skill is told as.
    pub(super) fn told_skill(&self, skill: &Skill, telling: &Telling<'_>) -> ToldSkill {
        let own = self.harness.skills_dir.as_deref();
        let folder = own.filter(|folder| telling.confined || !folder.starts_with('~')).unwrap_or(FOLDER);
        let path = format!("{folder}/{}/SKILL.md", skill.name);
        ToldSkill { id: skill.id, name: skill.name.clone(), version: skill.version, path }
    }

    /// Puts the skills' files in place, but for those whose place a repository has taken, which are left out. `before`: what
    /// was told before a restart.
    pub(super) async fn place_skills(
        &self,
        client: &Keeper,
        cwd: &str,
        skills: Vec<(ToldSkill, Skill)>,
        before: &Told,
    ) -> Result<Vec<(ToldSkill, String)>, Fault> {
        let home = self.inner.runtime.home().unwrap_or_default();
        let mut placed = Vec::with_capacity(skills.len());
        for (told, skill) in skills {
            let path = match told.path.strip_prefix('~') {
                Some(rest) => format!("{home}{rest}"),
                None => format!("{cwd}/{}", told.path),
            };
            let ours = before.skills.iter().any(|before| before.path == told.path);
            if !ours && !told.path.starts_with('~') && self.is_there(client, &path, cwd).await {
                let name = &skill.name;
                tracing::warn!(session = %self.record.id, %path, "the repository has a skill {name} of its own");
                continue;
            }
            let content = skill.content.as_deref().unwrap_or_default();
            let file = skill_file(&skill.name, &skill.description, content);
            let written = client.write_file(&path, 0o644, file.as_bytes()).await;
            written.map_err(|error| keeper_fault(Step::Files, error))?;
            placed.push((told, skill.description));
        }
        Ok(placed)
    }
}
