//! The laws of a terminal, over a connection to its keeper that breaks at any moment: every viewer has every byte once
//! and in order, or is told what it does not get and given a snapshot; what is typed is written once and in order; the
//! end comes last, and the sandbox is not given up before everybody has it.

mod keeper;
mod person;
mod world;

use std::time::Duration;

use lap_wire::Epoch;
use lap_wire::control::{ErrorCode, WireError};
use lap_wire::limits::MAX_PAYLOAD;
use proptest::prelude::*;

use super::{Effect, Key};
use keeper::{Down, Keeper};
use world::{PEOPLE, World};

fn printed(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn typed(stream: u64, offset: u64) -> u8 {
    printed(offset ^ stream << 40)
}

#[derive(Clone, Debug)]
enum Step {
    Print(usize),
    Resize,
    Read(usize),
    KeeperServes(usize),
    Up(usize),
    Down(usize),
    Cut,
    Connect,
    Attach(usize),
    Detach(usize),
    Visible(usize, bool),
    Busy(usize, bool),
    Serve(usize, usize),
    Look(usize, usize),
    Ask(usize),
    Type(usize, usize),
    Wait,
    Pieces(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE;
    prop_oneof![
        5 => (1..4000usize).prop_map(Step::Print),
        1 => (4000..150_000usize).prop_map(Step::Print),
        1 => Just(Step::Resize),
        2 => (1..60_000usize).prop_map(Step::Read),
        6 => (1..6usize).prop_map(Step::KeeperServes),
        6 => (1..8usize).prop_map(Step::Up),
        6 => (1..8usize).prop_map(Step::Down),
        2 => Just(Step::Cut),
        4 => Just(Step::Connect),
        4 => who.clone().prop_map(Step::Attach),
        1 => who.clone().prop_map(Step::Detach),
        1 => (who.clone(), any::<bool>()).prop_map(|(w, v)| Step::Visible(w, v)),
        2 => (who.clone(), any::<bool>()).prop_map(|(w, b)| Step::Busy(w, b)),
        5 => (who.clone(), 1..MAX_PAYLOAD).prop_map(|(w, n)| Step::Serve(w, n)),
        5 => (who.clone(), 1..8usize).prop_map(|(w, n)| Step::Look(w, n)),
        1 => who.clone().prop_map(Step::Ask),
        3 => (who.clone(), 1..50usize).prop_map(|(w, n)| Step::Type(w, n)),
        1 => (who, 50..100_000usize).prop_map(|(w, n)| Step::Type(w, n)),
        2 => Just(Step::Wait),
        1 => (1..4usize).prop_map(Step::Pieces),
    ]
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Print(n) => {
                let bytes: Vec<u8> = (self.keeper.ring.end()..).map(printed).take(n).collect();
                self.keeper.ring.push(&bytes);
            }
            Step::Resize => self.keeper(Keeper::resize),
            Step::Read(n) => self.keeper(|keeper, out| keeper.read(n, out)),
            Step::KeeperServes(n) => self.keeper(|keeper, out| keeper.serve(n, out)),
            Step::Up(n) => self.up(n),
            Step::Down(n) => self.down(n),
            Step::Cut => self.cut(),
            Step::Connect => self.connect(),
            Step::Attach(who) => self.attach(who),
            Step::Detach(who) => self.detach(who),
            Step::Visible(who, visible) => {
                self.people[who].visible = visible;
                if self.people[who].here {
                    self.terminal.visible(self.people[who].id, visible, self.now);
                    self.settle();
                }
            }
            Step::Busy(who, busy) => self.people[who].client.socket.borrow_mut().busy = busy,
            Step::Serve(who, size) => self.serve(who, size),
            Step::Look(who, n) => self.look(who, n),
            Step::Ask(who) => {
                if self.people[who].here && self.people[who].opened {
                    self.terminal.wants_snapshot(self.people[who].id, 1000);
                    self.settle();
                }
            }
            Step::Type(who, n) => self.type_in(who, n),
            Step::Wait => self.wait(),
            Step::Pieces(n) => self.keeper.pieces = n,
        }
    }

    fn end_program(&mut self) {
        self.keeper.exit = true;
    }
}

proptest! {
    #[test]
    fn whatever_breaks_every_viewer_has_every_byte_and_every_key_is_written_once(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.heal();
        world.check();
        prop_assert!(!world.ended && !world.delivered);
    }

    #[test]
    fn the_end_reaches_every_viewer_at_its_own_pace_before_the_sandbox_is_given_up(
        steps in prop::collection::vec(step(), 1..80),
        after in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.end_program();
        for step in &after {
            // A program that has ended prints nothing, and takes nothing that is typed.
            if !matches!(step, Step::Print(_) | Step::Type(..) | Step::Resize) {
                world.step(step);
            }
            prop_assert!(world.people.iter().all(|person| !person.exited), "told before the row says so");
        }
        world.heal();
        prop_assert!(world.ended && !world.delivered);
        world.row_is_dead = true;
        world.terminal.row_is_dead(world.now);
        world.settle();
        world.heal();
        world.check();
        for person in world.people.iter().filter(|person| person.here && person.visible) {
            prop_assert!(person.exited);
        }
        prop_assert!(world.delivered);
    }
}

#[test]
fn a_viewer_whose_seat_is_refused_is_told_why_and_is_gone() {
    let mut world = World::new();
    world.connect();
    world.attach(0);
    let key = Key::Seat(world.people[0].id);
    let error = WireError::new(ErrorCode::Overloaded, "128 are here").retryable();
    world.link.borrow_mut().to_hub.push_back((key, Down::Closed(error.clone())));
    world.down(usize::MAX);
    world.look(0, usize::MAX);
    assert_eq!(world.people[0].refused, Some(error));
    assert_eq!(world.people[0].closed.as_deref(), Some("128 are here"));
    assert!(world.effects.contains(&Effect::Unused));
}

#[test]
fn a_viewer_that_takes_nothing_holds_the_end_up_for_so_long_and_no_longer() {
    let mut world = World::new();
    world.attach(0);
    world.attach(2);
    world.heal();
    // The first takes nothing from here on; the other everything.
    world.people[0].client.socket.borrow_mut().busy = true;
    world.step(&Step::Print(5000));
    world.end_program();
    for _ in 0..5 {
        world.keeper(|keeper, out| keeper.serve(50, out));
        world.up(usize::MAX);
        world.down(usize::MAX);
        world.look(2, usize::MAX);
    }
    world.row_is_dead = true;
    world.terminal.row_is_dead(world.now);
    world.settle();
    world.serve(2, MAX_PAYLOAD);
    world.look(2, usize::MAX);
    assert!(world.people[2].exited && !world.delivered);
    let began = world.now;
    for _ in 0..20 {
        world.wait();
    }
    assert!(world.delivered);
    assert!(world.now - began < Duration::from_secs(30), "{:?}", world.now - began);
}

#[test]
fn a_terminal_that_is_lost_gives_everybody_what_is_held_for_them_and_then_the_reason() {
    let mut world = World::new();
    for who in 0..PEOPLE {
        world.attach(who);
    }
    world.heal();
    world.people[0].client.socket.borrow_mut().busy = true;
    world.step(&Step::Print(9000));
    for _ in 0..5 {
        world.keeper(|keeper, out| keeper.serve(50, out));
        world.down(usize::MAX);
    }
    world.cut();
    assert!(world.effects.contains(&Effect::Locate));
    world.terminal.end(WireError::new(ErrorCode::SandboxLost, "the sandbox is gone"), world.now);
    world.settle();
    world.people[0].client.socket.borrow_mut().busy = false;
    for who in 0..PEOPLE {
        world.serve(who, 1000);
        world.look(who, usize::MAX);
        world.serve(who, 1000);
        world.look(who, usize::MAX);
        assert_eq!(world.people[who].seen, Some(9000), "{who}");
        assert_eq!(world.people[who].closed.as_deref(), Some("the sandbox is gone"), "{who}");
    }
    assert!(world.link.borrow().held.is_empty());
}

#[test]
fn another_life_of_the_program_ends_the_terminal_and_is_not_mixed_with_the_first() {
    let mut world = World::new();
    world.attach(0);
    world.step(&Step::Print(100));
    world.heal();
    world.cut();
    world.connect();
    world.up(usize::MAX);
    for (_, down) in &mut world.link.borrow_mut().to_hub {
        if let Down::Opened(opened) = down {
            opened.epoch = Epoch(2);
        }
    }
    world.down(usize::MAX);
    world.look(0, usize::MAX);
    assert_eq!(world.people[0].closed.as_deref(), Some(super::RESTARTED));
}
