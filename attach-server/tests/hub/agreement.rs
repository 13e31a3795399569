//! Two servers in front of one keeper agree on whatever the keeper decides: size, who answers, who may type, who is there.

use lap_wire::ChannelId;
use lap_wire::control::{ClientMessage, ErrorCode, LeaseAction, ServerMessage, Size, Viewer};
use lap_wire::frame::{Frame, FrameType, flags};
use lap_wire::keeper::SizePolicy;

use crate::client::{Client, Event, interact, view};
use crate::world::{RAW_CAT, World, wait_for};

/// Reads until this viewer has been told of a size and of who is there, in whichever order.
fn sees(client: &mut Client, cols: u16, who: impl Fn(&[Viewer]) -> bool) -> Vec<Viewer> {
    let (mut sized, mut there) = (false, Vec::new());
    client.until("a size and a presence", |event| {
        match event {
            Event::Control(1, ServerMessage::Resized { size, .. } | ServerMessage::Opened { size, .. }) => {
                sized = size.cols == cols;
            }
            Event::Control(1, ServerMessage::Presence { viewers }) => there.clone_from(viewers),
            _ => {}
        }
        (sized && who(&there)).then(|| there.clone())
    })
}

#[test]
fn viewers_of_both_servers_see_each_other_and_one_size() {
    let world = World::new();
    let (other, other_sessions) = world.another_hub();
    let session = world.session(RAW_CAT);
    let sized = |cols, rows, input: &str| {
        let mut open = interact(session, input);
        open.size = Size::checked(cols, rows);
        open
    };
    let mut here = world.connect();
    here.open(1, sized(90, 30, "here"));
    sees(&mut here, 90, |viewers| viewers.len() == 1);
    let mut there = world.connect_to(&other.hub);
    there.open(1, sized(120, 50, "there"));
    let both = |viewers: &[Viewer]| viewers.len() == 2 && viewers[1].active;
    let seen_there = sees(&mut there, 120, both);
    let seen_here = sees(&mut here, 120, both);
    assert!(seen_here[0].you && !seen_here[1].you && !seen_there[0].you && seen_there[1].you);
    let ids = |viewers: &[Viewer]| viewers.iter().map(|viewer| viewer.id).collect::<Vec<_>>();
    assert_eq!(ids(&seen_here), ids(&seen_there));
    // Whoever typed last decides, for both.
    here.input(1, 0, b"x");
    sees(&mut there, 90, |viewers| viewers[0].active);
    let mut watcher = world.connect_to(&other.hub);
    watcher.open(1, view(session));
    watcher.until_ready(1);
    for sessions in [&world.sessions, &other_sessions] {
        wait_for("both count the same", || {
            (sessions.heard.lock().unwrap().viewers.get(&session) == Some(&(3, 2))).then_some(())
        });
    }
    drop(here);
    sees(&mut there, 120, |viewers| viewers.len() == 2);
    drop((there, watcher));
    world.stop(other);
}

#[test]
fn one_answers_and_one_at_a_time_types_whichever_server_they_are_at() {
    let world = World::new();
    let (other, _) = world.another_hub();
    let session = world.session_with(RAW_CAT, SizePolicy::Latest, true);
    let mut here = world.connect();
    here.open(1, interact(session, "here"));
    here.until_ready(1);
    let mut there = world.connect_to(&other.hub);
    there.open(1, interact(session, "there"));
    there.until_ready(1);
    let mine = |client: &mut Client, wanted| {
        client.until("the lease", |e| match e {
            Event::Control(1, ServerMessage::Lease { mine, .. }) => (*mine == wanted).then_some(()),
            _ => None,
        });
    };
    here.control(1, &ClientMessage::Lease { action: LeaseAction::Acquire });
    mine(&mut here, true);
    there.input(1, 0, b"no");
    assert_eq!(there.until_error(1).code, ErrorCode::NotWritable);
    here.input(1, 0, b"here");
    there.until_text(1, "here");
    there.control(1, &ClientMessage::Lease { action: LeaseAction::Steal });
    mine(&mut there, true);
    mine(&mut here, false);
    there.input(1, 0, b"there");
    here.until_text(1, "there");
    // Whoever typed last answers queries.
    let reply = |client: &mut Client, bytes: &[u8]| {
        client.frame(&Frame::new(FrameType::Input, ChannelId(1), 0, bytes).with_flags(flags::REPLY));
    };
    reply(&mut here, b"<not asked>");
    reply(&mut there, b"<answer>");
    there.input(1, 5, b"!");
    let mut text = String::new();
    here.until("all of it", |e| {
        if let Event::Output(1, _, bytes) = e {
            text.push_str(std::str::from_utf8(bytes).unwrap());
        }
        text.ends_with('!').then_some(())
    });
    assert_eq!(text, "<answer>!");
    drop((here, there));
    world.stop(other);
}
