//! Skills, their versions, and the agents that have them.

use super::*;
use crate::model::{Skill, SkillId};

type Change = Result<(), StoreError>;

fn new_skill(name: &str) -> NewSkill {
    NewSkill {
        id: SkillId::new(),
        name: name.to_owned(),
        description: format!("How to {name}."),
        content: "# Schritte\n1. Lesen 二\n".to_owned(),
        in_library: true,
    }
}

impl Bench {
    async fn skill(&self, name: &str) -> SkillId {
        self.pass(1);
        self.store.skills().create(new_skill(name)).await.unwrap().id
    }

    async fn attach(&self, agent: AgentId, ids: &[SkillId]) -> Result<u64, StoreError> {
        let agents = self.store.agents();
        let change = agents.update(agent, |agent| -> Change {
            agent.attached_skill_ids = ids.to_vec();
            Ok(())
        });
        change.await.map(|row| row.agent.config_generation)
    }
}

fn agents_of(skill: &Skill) -> Vec<&str> {
    skill.attached_agents.iter().map(|agent| agent.name.as_str()).collect()
}

on_every_database! {
    async fn it_comes_back_whole_and_its_name_is_its_own(bench) {
        let made = bench.store.skills().create(new_skill("review")).await.unwrap();
        assert_eq!((made.version, made.content.as_deref()), (1, Some("# Schritte\n1. Lesen 二\n")));
        assert_eq!(bench.store.skills().get(made.id).await.unwrap(), made);
        let taken = bench.store.skills().create(new_skill("review")).await.unwrap_err();
        assert!(matches!(&taken, StoreError::Conflict(what) if what.contains("\"review\"")), "{taken}");
        let apart = NewSkill { in_library: false, ..new_skill("review") };
        bench.store.skills().create(apart).await.unwrap();
        let page = bench.store.skills().list(&SkillsQuery::default()).await.unwrap();
        assert_eq!((page.total, page.data[0].content.as_deref()), (1, None));
    }

    async fn an_edit_makes_a_version_and_none_is_lost(bench) {
        let id = bench.skill("review").await;
        let skills = bench.store.skills();
        let edit = |text: &'static str| skills.update(id, move |skill| -> Change {
            skill.content = Some(text.to_owned());
            Ok(())
        });
        bench.pass(5);
        assert_eq!(edit("two").await.unwrap().version, 2);
        assert_eq!(edit("two").await.unwrap().version, 2, "nothing has changed");
        let renamed = skills.update(id, |skill| -> Change { skill.name = "check".into(); Ok(()) }).await.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.version), ("check", 2));
        let versions = skills.versions(id).await.unwrap();
        assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((versions[0].content_bytes, versions[0].created_at), (3, bench.now()));
        let first = skills.version(id, 1).await.unwrap();
        assert_eq!(first.content.as_deref(), Some("# Schritte\n1. Lesen 二\n"));
        assert!(matches!(skills.version(id, 3).await, Err(StoreError::NotFound(_))));
        assert!(matches!(skills.versions(SkillId::new()).await, Err(StoreError::NotFound(_))));
    }

    async fn agents_have_skills_that_there_are(bench) {
        let (one, two) = (bench.agent("one").await, bench.agent("two").await);
        let (review, deploy) = (bench.skill("review").await, bench.skill("deploy").await);
        assert_eq!(bench.attach(one, &[deploy, review]).await.unwrap(), 2);
        bench.attach(two, &[review]).await.unwrap();
        let unknown = bench.attach(one, &[review, SkillId::new()]).await;
        assert!(matches!(unknown, Err(StoreError::NotFound(_))));
        assert_eq!(bench.store.agents().get(one).await.unwrap().agent.attached_skill_ids, [deploy, review]);
        let read = bench.store.skills().get(review).await.unwrap();
        assert_eq!(agents_of(&read), ["one", "two"]);
        let names: Vec<String> =
            bench.store.skills().of_ids(&[deploy, SkillId::new(), review]).await.unwrap().into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["deploy", "review"]);

        bench.store.skills().delete(review).await.unwrap();
        let left = bench.store.agents().get(one).await.unwrap().agent;
        assert_eq!((left.attached_skill_ids, left.config_generation), (vec![deploy], 3));
        assert!(matches!(bench.store.skills().get(review).await, Err(StoreError::NotFound(_))));
        bench.store.agents().delete(one).await.unwrap();
        assert_eq!(agents_of(&bench.store.skills().get(deploy).await.unwrap()), Vec::<&str>::new());
    }

    async fn one_of_an_agent_alone_goes_with_it(bench) {
        let agent = bench.agent("one").await;
        let own = NewSkill { in_library: false, ..new_skill("own") };
        let id = bench.store.skills().create_for(agent, own).await.unwrap().id;
        assert_eq!(bench.store.agents().get(agent).await.unwrap().agent.attached_skill_ids, [id]);
        let other = bench.agent("two").await;
        assert!(matches!(bench.attach(other, &[id]).await, Err(StoreError::NotFound(_))), "it is nobody else's");
        assert_eq!(bench.attach(agent, &[id]).await.unwrap(), 2, "it stays where it is");
        bench.attach(agent, &[]).await.unwrap();
        assert!(matches!(bench.store.skills().get(id).await, Err(StoreError::NotFound(_))));
    }

    async fn the_library_is_searched_and_paged(bench) {
        for name in ["alpha", "beta", "gamma"] {
            bench.skill(name).await;
        }
        let list = |query: SkillsQuery| {
            let store = bench.store.clone();
            async move { store.skills().list(&query).await.unwrap() }
        };
        let found = list(SkillsQuery { search: Some("TO BET".into()), ..SkillsQuery::default() }).await;
        assert_eq!((found.total, found.data[0].name.as_str()), (1, "beta"));
        let found = list(SkillsQuery { name: Some("bet".into()), ..SkillsQuery::default() }).await;
        assert_eq!(found.total, 0);
        let mut query = SkillsQuery { limit: Some(2), ..SkillsQuery::default() };
        let page = list(query.clone()).await;
        query.cursor = page.next_cursor;
        let rest = list(query).await;
        let names: Vec<&str> = page.data.iter().chain(&rest.data).map(|skill| skill.name.as_str()).collect();
        assert_eq!(names, ["gamma", "beta", "alpha"]);
    }
}
