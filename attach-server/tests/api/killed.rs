//! Programs killed on purpose while somebody is attached.

use lap_platform::client::attach::{
    AttachClient, ChannelEvent, ChannelSpec, Command, Credentials, Endpoint, Event, new_channel,
};
use lap_wire::control::Mode;
use tokio::time::timeout;

use crate::support::{AGENTS, Api, KEY, PATIENCE, SESSIONS};

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        credentials: Credentials::Bearer(KEY.to_owned()),
        socket: None,
        same_machine: false,
    }
}

#[tokio::test]
async fn a_killed_keeper_ends_its_session_with_the_reason_and_tells_the_viewers() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let mut client = AttachClient::to("test", endpoint(&api.url));
    let channel = new_channel();
    client.command(Command::Open { channel, spec: ChannelSpec::new(&id, Mode::View) }).unwrap();
    let mut until_closed = async |kill: bool| {
        loop {
            match client.next().await {
                Event::Channel(_, ChannelEvent::Ready) if kill => api.dir.kill_keepers(),
                Event::Channel(_, ChannelEvent::Closed { reason }) => return reason,
                _ => {}
            }
        }
    };
    let told = timeout(PATIENCE, until_closed(true)).await.unwrap();
    let dead = api.until(&id, |session| session["status"] == "dead").await;
    let reason = dead["failure_reason"].as_str().unwrap();
    assert!(reason.contains("keeper"), "{reason}");
    assert!(told.contains("keeper") || told.contains("dead"), "viewers are told why: {told}");
    let issues = api.get(&format!("{SESSIONS}/{id}/diagnose")).await.json();
    assert!(
        issues["failure_reason"].is_null() && issues["session"]["failure_reason"] == reason,
        "{issues:#}"
    );
    api.delete(&format!("{AGENTS}/{agent}")).await;
}
