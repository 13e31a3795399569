//! What is asked before something ends.

use super::*;

#[tokio::test]
async fn a_session_is_stopped_only_after_a_second_key() {
    play(async |world| {
        world.connect(lists()).await;
        world.sees("login page").await;
        world.press("x").await;
        world.sees("Stop this session?").await;
        world.sees("“login page” of backend ends").await;
        world.sees("Counting unsaved work").await;
        world.tells_unsaved().await;
        world.sees("Unsaved work: 3 files and 1 commit, kept.").await;
        // Enter, or the same key again, is what is pressed by accident.
        world.press("enter x").await;
        world.press("n").await;
        world.sees_no_more("Stop this session?").await;
        world.press("x").await;
        world.tells_unsaved().await;
        world.press("y").await;
        let (task, request) = world.asked_request().await;
        let id = session(10, 1, "login page", "ready", 12).id;
        assert_eq!(request, Request::Stop(id));
        world.say(Event::Finished(task, Box::new(Err(refused(503, "try again later"))))).await;
        world.sees("Stopping login page: try again later").await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_with_several_sessions_is_deleted_only_by_its_name() {
    play(async |world| {
        let mut lists = lists();
        lists.sessions.push(session(12, 1, "second", "ready", 5));
        world.connect(lists).await;
        world.press("A D").await;
        world.sees("these 2 sessions of it end:").await;
        world.tells_unsaved().await;
        world.press("b a c k e n enter").await;
        world.press("d enter").await;
        let (task, request) = world.asked_request().await;
        let id = agent(1, "backend", "claude-code", "opus").agent.id;
        assert_eq!(request, Request::DeleteAgent(id));
        world.say(Event::Finished(task, Box::new(Ok(Reply::Deleted(id))))).await;
        world.sees("backend is deleted.").await;
    })
    .await;
}
