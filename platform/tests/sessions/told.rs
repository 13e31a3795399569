//! What sessions are told: instructions, memories, skills, and where they are put.

use std::collections::BTreeMap;
use std::path::Path;

use lap_platform::model::{
    Agent, CreateSession, Memory, MemoryId, MemorySource, MemoryType, Session, SessionStatus, Skill, SkillId,
    Unsaved,
};
use lap_platform::store::{NewSkill, StoreError};

use crate::support::{World, repository};

/// A harness that reads instructions from a file and skills from a folder.
const READER: &str = "[reader]\nname = 'Reader'\nfamily = ['terminal']\nneeds_model = false\ncommand = ['/bin/sh']\n\
                      instructions_file = 'RULES.md'\nskills_dir = '.reader/skills'\n";

async fn world() -> World {
    World::with(|options| options.harnesses = READER.parse().unwrap()).await
}

async fn memory(world: &World, agent: &Agent, text: &str) -> MemoryId {
    let memory = Memory {
        id: MemoryId::new(),
        agent_id: agent.id,
        text: text.to_owned(),
        tags: vec![],
        kind: MemoryType::Convention,
        priority: 0,
        pinned: false,
        disabled: false,
        times_applied: 0,
        last_applied_at: None,
        source: MemorySource::Api,
        source_session_id: None,
        created_at: jiff::Timestamp::UNIX_EPOCH,
        updated_at: jiff::Timestamp::UNIX_EPOCH,
    };
    world.store.memories().create(memory).await.unwrap().id
}

async fn skill(world: &World, name: &str) -> SkillId {
    let new = NewSkill {
        id: SkillId::new(),
        name: name.to_owned(),
        description: format!("When to {name}."),
        content: format!("How to {name}."),
        in_library: true,
    };
    world.store.skills().create(new).await.unwrap().id
}

async fn used(world: &World, agent: &Agent, memory: MemoryId) -> u64 {
    world.store.memories().get(agent.id, memory).await.unwrap().times_applied
}

async fn workdir(world: &World, session: &Session) -> String {
    world.runtime.workdir(&world.sessions.resolve(session.id).await.unwrap().sandbox)
}

#[tokio::test]
async fn a_session_is_told_what_its_agent_remembers_and_which_skills_there_are() {
    let world = world().await;
    let (review, deploy) = (skill(&world, "review").await, skill(&world, "deploy").await);
    let agent = world
        .agent_with(|agent| {
            agent.harness_id = "reader".to_owned();
            agent.prompt = Some("Be brief.".to_owned());
            agent.attached_skill_ids = vec![review];
        })
        .await;
    let known = memory(&world, &agent, "use tabs").await;
    let request = CreateSession { skill_ids: vec![deploy, review], ..CreateSession::default() };
    let session = world.sessions.create(agent.id, request, "api").await.unwrap();
    let session = world.reaches(session.id, SessionStatus::Ready).await;
    let told = world.sessions.told(session.id).await.unwrap();
    let instructions = told.instructions.unwrap();
    let places = [
        "- [convention] use tabs",
        "Be brief.",
        "- review (.reader/skills/review/SKILL.md): When to review.",
    ];
    let places: Vec<usize> = places.iter().map(|part| instructions.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{instructions}");
    let names: Vec<_> = told.skills.iter().map(|skill| (skill.name.as_str(), skill.version)).collect();
    assert_eq!((names, told.memories), (vec![("review", 1), ("deploy", 1)], vec![known]));
    let dir = workdir(&world, &session).await;
    let read = |path: &str| std::fs::read_to_string(Path::new(&dir).join(path)).unwrap();
    assert_eq!(read("RULES.md"), instructions);
    let file = read(".reader/skills/deploy/SKILL.md");
    assert_eq!(file, "---\nname: deploy\ndescription: \"When to deploy.\"\n---\n\nHow to deploy.\n");
    // None of this is anybody's work.
    assert_eq!(
        world.sessions.work(session.id).await.unwrap().unsaved,
        Some(Unsaved { files: 0, commits: 0 })
    );

    // A restart tells it what is known then, and counts as use what is new to it alone.
    assert_eq!(used(&world, &agent, known).await, 1);
    let news = memory(&world, &agent, "two spaces").await;
    let change = |skill: &mut Skill| -> Result<(), StoreError> {
        skill.content = Some("Another way.".to_owned());
        Ok(())
    };
    world.store.skills().update(review, change).await.unwrap();
    world.sessions.restart(session.id, None).await.unwrap();
    let session = world.reaches(session.id, SessionStatus::Ready).await;
    assert_eq!((used(&world, &agent, known).await, used(&world, &agent, news).await), (1, 1));
    let told = world.sessions.told(session.id).await.unwrap();
    assert_eq!((told.skills[0].version, told.memories), (2, vec![news, known]));
    let dir = workdir(&world, &session).await;
    let file = std::fs::read_to_string(Path::new(&dir).join(".reader/skills/review/SKILL.md")).unwrap();
    assert!(file.ends_with("Another way.\n"), "{file}");
}

#[tokio::test]
async fn what_is_put_into_a_repository_is_no_change_of_it_and_nothing_of_its_own_is_written_over() {
    let world = world().await;
    let origin = world.data.path().join("origin");
    let url = repository(&origin, &[(".reader/skills/review/SKILL.md", "the repository's own")]);
    let (review, deploy) = (skill(&world, "review").await, skill(&world, "deploy").await);
    let agent = world
        .agent_with(|agent| {
            agent.harness_id = "reader".to_owned();
            agent.repo_url = Some(url);
            agent.prompt = Some("Be brief.".to_owned());
            agent.attached_skill_ids = vec![review, deploy];
        })
        .await;
    let session = world.ready(&agent).await;
    let told = world.sessions.told(session.id).await.unwrap();
    let names: Vec<_> = told.skills.iter().map(|skill| skill.name.as_str()).collect();
    assert_eq!(names, ["deploy"], "it has a review of its own");
    let repo = format!("{}/repo", workdir(&world, &session).await);
    let own = std::fs::read_to_string(Path::new(&repo).join(".reader/skills/review/SKILL.md")).unwrap();
    assert_eq!(own, "the repository's own");
    assert_eq!(
        world.sessions.work(session.id).await.unwrap().unsaved,
        Some(Unsaved { files: 0, commits: 0 })
    );
    let status =
        std::process::Command::new("git").current_dir(&repo).args(["status", "--porcelain"]).output();
    assert_eq!(String::from_utf8_lossy(&status.unwrap().stdout), "");
}

#[tokio::test]
async fn a_harness_that_takes_no_instructions_says_so_and_too_many_are_refused() {
    let world = world().await;
    let shell = world.agent_with(|agent| agent.prompt = Some("Be brief.".to_owned())).await;
    let session = world.ready(&shell).await;
    let told = world.sessions.told(session.id).await.unwrap();
    assert!(told.delivered.unwrap().starts_with("not: "));
    let agent = world
        .agent_with(|agent| {
            agent.harness_id = "reader".to_owned();
            agent.prompt = Some("x".repeat(256 * 1024));
            agent.preload_memory_limit = 50;
            agent.env_vars = BTreeMap::new();
        })
        .await;
    for n in 0..20 {
        memory(&world, &agent, &format!("{n} {}", "y".repeat(16_000))).await;
    }
    let session = world.sessions.create(agent.id, CreateSession::default(), "api").await.unwrap();
    let session = world.reaches(session.id, SessionStatus::Failed).await;
    let reason = session.failure_reason.unwrap();
    assert!(reason.contains("of memories") && reason.contains("524288"), "{reason}");
}

#[tokio::test]
async fn instructions_go_into_a_file_of_ours_and_never_over_a_repositorys_own() {
    let world = World::with(|options| {
        let reads = |id: &str, file: &str| {
            format!(
                "[{id}]\nname = 'Reads'\nfamily = ['terminal']\nneeds_model = false\ncommand = ['/bin/sh']\n\
                 instructions_file = '{file}'\n"
            )
        };
        options.harnesses = (reads("rules", "RULES.md") + &reads("hello", "hello.txt")).parse().unwrap();
    })
    .await;
    let url = repository(&world.data.path().join("origin"), &[]);
    for (harness, file, delivered, contents) in [
        ("rules", "RULES.md", "RULES.md", "be brief"),
        ("hello", "hello.txt", "not: the repository has its own hello.txt", "hello again"),
    ] {
        let agent = world
            .agent_with(|agent| {
                agent.harness_id = harness.to_owned();
                agent.repo_url = Some(url.clone());
                agent.prompt = Some("be brief".to_owned());
            })
            .await;
        let session = world.ready(&agent).await;
        // Again after a restart, which goes on in the same workspace.
        for again in [false, true] {
            if again {
                world.sessions.restart(session.id, None).await.unwrap();
                world.reaches(session.id, SessionStatus::Ready).await;
            }
            let told = world.sessions.told(session.id).await.unwrap();
            assert_eq!(told.delivered.as_deref(), Some(delivered), "{again}");
            let sandbox = world.sessions.resolve(session.id).await.unwrap().sandbox;
            let path = format!("{}/repo/{file}", world.runtime.workdir(&sandbox));
            assert_eq!(std::fs::read_to_string(path).unwrap(), contents);
        }
        world.sessions.stop(session.id).await.unwrap();
    }
}
