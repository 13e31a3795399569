//! The library of skills over REST, and which of them agents have.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{AGENTS, Api};

const SKILLS: &str = "/api/v1/skills";

#[tokio::test]
async fn a_skill_lives_with_all_its_versions() {
    let api = Api::start().await;
    let content = "---\nname: review\ndescription: Of use in reviews.\n---\n# Steps\n";
    let made = api.post(SKILLS, &json!({ "content": content })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let skill = made.json();
    assert_eq!((&skill["name"], &skill["description"]), (&json!("review"), &json!("Of use in reviews.")));
    assert_eq!((&skill["version"], &skill["content"]), (&json!(1), &json!(content)));
    let path = format!("{SKILLS}/{}", skill["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.json(), skill);
    let listed = api.get(SKILLS).await.json();
    assert_eq!((&listed["total"], listed["data"][0].get("content")), (&json!(1), None));

    let edited = api.patch(&path, &json!({ "content": "# Other steps\n" })).await.json();
    assert_eq!((&edited["version"], &edited["description"]), (&json!(2), &json!("Of use in reviews.")));
    let versions = api.get(&format!("{path}/versions")).await.json();
    let numbers: Vec<_> =
        versions["data"].as_array().unwrap().iter().map(|version| &version["version"]).collect();
    assert_eq!(numbers, [&json!(2), &json!(1)]);
    assert_eq!(api.get(&format!("{path}/versions/1")).await.json()["content"], content);
    let restored = api.post(&format!("{path}/versions/1/restore"), &json!({})).await.json();
    assert_eq!((&restored["version"], &restored["content"]), (&json!(3), &json!(content)));
    for number in ["0", "9", "x"] {
        assert_eq!(
            api.get(&format!("{path}/versions/{number}")).await.status,
            StatusCode::NOT_FOUND,
            "{number}"
        );
    }
    let taken = api.post(SKILLS, &json!({ "content": content })).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert!(taken.error().contains("review"), "{}", taken.text);
    assert_eq!(api.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_all_its_faults() {
    let api = Api::start().await;
    for (body, faults) in [
        (json!({ "content": "text" }), vec!["description: required", "name: required"]),
        (json!({ "name": "Two Words", "description": "d", "content": "t" }), vec!["name: invalid"]),
        (
            json!({ "name": "a", "description": "d", "content": "---\nname: [\n---\n" }),
            vec!["content: invalid"],
        ),
        (json!({ "name": "a", "description": "d", "content": "" }), vec!["content: too_small"]),
        (
            json!({ "name": "a", "description": "d", "content": "x".repeat(262_145) }),
            vec!["content: too_big"],
        ),
        (json!({ "name": "a", "description": "d" }), vec!["content: required"]),
    ] {
        let mut found = api.post(SKILLS, &body).await.faults();
        found.sort();
        assert_eq!(found, faults);
    }
}

#[tokio::test]
async fn an_agent_is_given_skills_and_loses_them_again() {
    let api = Api::start().await;
    let agent = api.agent("builder").await;
    let body = json!({ "name": "review", "description": "d", "content": "text" });
    let review = api.post(SKILLS, &body).await.json()["id"].clone();
    let path = format!("{AGENTS}/{agent}/skill");
    for _ in 0..2 {
        let given = api.post(&path, &json!({ "skill_id": review })).await;
        assert_eq!(given.status, StatusCode::OK, "{}", given.text);
        assert_eq!(given.json()["attached_skill_ids"], json!([review]));
    }
    // One that is sent along, into the library or not.
    let sent = |name: &str, library: bool| json!({ "name": name, "description": "d", "content": "text", "save_to_library": library });
    api.post(&path, &sent("kept", true)).await;
    let with_own = api.post(&path, &sent("own", false)).await.json();
    let own = with_own["attached_skill_ids"][2].clone();
    assert_eq!(api.get(SKILLS).await.json()["total"], 2, "its own is in no library");
    let read = api.get(&format!("{SKILLS}/{}", own.as_str().unwrap())).await.json();
    assert_eq!(
        (&read["in_library"], &read["attached_agents"][0]["name"]),
        (&json!(false), &json!("builder"))
    );
    let other = api.post(AGENTS, &json!({ "model": "m", "skill_ids": [own] })).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND, "it is nobody else's");

    let gone = api.delete(&format!("{path}?skill_id={}", own.as_str().unwrap())).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&format!("{SKILLS}/{}", own.as_str().unwrap())).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        api.delete(&format!("{path}?skill_id={}", own.as_str().unwrap())).await.status,
        StatusCode::NOT_FOUND
    );
    let both = json!({ "skill_id": review, "content": "x" });
    assert_eq!(api.post(&path, &both).await.faults(), ["content: invalid"]);
    assert_eq!(api.post(&path, &json!({})).await.faults(), ["skill_id: required"]);
    // An agent that has a skill loses it with the skill.
    api.delete(&format!("{SKILLS}/{}", review.as_str().unwrap())).await;
    let left = api.get(&format!("{AGENTS}/{agent}")).await.json();
    assert_eq!(left["attached_skill_ids"].as_array().unwrap().len(), 1);
}
