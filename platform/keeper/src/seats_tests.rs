//! The laws of seats, for any order of events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn viewer(key: &str, mode: Mode, size: Option<Size>) -> Newcomer {
    let (key, name, person) = (key.into(), format!("{key}@host"), format!("p-{key}"));
    Newcomer { key, name, person, mode, size, visible: true }
}

fn size(cols: u16, rows: u16) -> Option<Size> {
    Some(Size { cols, rows })
}

fn place(channel: u32) -> Place {
    (1, ChannelId(channel))
}

fn seated(seats: &mut Seats, key: &str, id: SeatId, wanted: Option<Size>) -> SeatId {
    seats.take(viewer(key, Mode::Interact, wanted), id, place(id as u32)).unwrap().seat
}

#[test]
fn each_policy_picks_its_viewer() {
    let decided = |policy| {
        let mut seats = Seats::new(policy, false);
        assert_eq!(seats.size(), None);
        let first = seated(&mut seats, "a", 1, size(80, 50));
        seated(&mut seats, "b", 2, size(200, 40));
        seated(&mut seats, "c", 3, size(100, 60));
        seats.take(viewer("watcher", Mode::View, size(1, 1)), 4, place(4)).unwrap();
        seated(&mut seats, "tty", 5, None);
        let before = seats.size();
        seats.typed(first);
        (before, seats.size())
    };
    assert_eq!(decided(SizePolicy::Latest), (size(100, 60), size(80, 50)));
    assert_eq!(decided(SizePolicy::Owner), (size(80, 50), size(80, 50)));
    assert_eq!(decided(SizePolicy::Smallest), (size(80, 40), size(80, 40)));
    assert_eq!(decided(SizePolicy::Fixed), (None, None));
}

#[test]
fn a_seat_that_lost_its_link_keeps_size_and_lease_but_answers_nothing() {
    let now = Instant::now();
    let mut seats = Seats::new(SizePolicy::Latest, true);
    let other = seated(&mut seats, "other", 1, size(80, 24));
    let lost = seated(&mut seats, "lost", 2, size(100, 30));
    seats.lease(lost, LeaseAction::Acquire).unwrap();
    assert_eq!((seats.active(), seats.size()), (Some(lost), size(100, 30)));
    seats.lose(lost, now);
    assert_eq!((seats.active(), seats.size()), (None, size(100, 30)), "the model answers");
    assert!(seats.may_type(other).is_err(), "the lease is kept");
    seats.expire(now + GRACE - Duration::from_millis(1));
    let back = seats.take(viewer("lost", Mode::Interact, size(100, 30)), 3, place(9)).unwrap();
    assert_eq!(back, Taken { seat: lost, from: None });
    assert_eq!((seats.active(), seats.due()), (Some(lost), None));
    seats.lose(lost, now);
    seats.expire(now + GRACE);
    assert_eq!((seats.active(), seats.size()), (Some(other), size(80, 24)));
    assert_eq!(seats.lease, None);
}

#[test]
fn one_that_comes_back_before_its_old_link_is_missed_takes_over() {
    let mut seats = Seats::new(SizePolicy::Latest, false);
    let id = seated(&mut seats, "a", 1, size(80, 24));
    let again = seats.take(viewer("a", Mode::View, None), 2, place(7)).unwrap();
    assert_eq!(again, Taken { seat: id, from: Some(place(1)) });
    assert_eq!(seats.active(), None, "it only watches now");
}

#[test]
fn who_goes_on_typing_decides_nothing_new() {
    let mut seats = Seats::new(SizePolicy::Latest, false);
    let a = seated(&mut seats, "a", 1, size(80, 24));
    let b = seated(&mut seats, "b", 2, size(90, 24));
    let sizeless = seated(&mut seats, "c", 3, None);
    assert!(seats.typed(a));
    assert!(seats.publish());
    assert!(!seats.typed(a) && !seats.publish());
    assert!(!seats.typed(sizeless) && !seats.publish(), "nothing hangs on one without a size");
    assert!(seats.typed(b) && seats.publish());
}

#[test]
fn seats_are_bounded_and_the_fullest_presence_fits_a_message() {
    let mut seats = Seats::new(SizePolicy::Latest, false);
    for i in 0..MAX_VIEWERS as u64 {
        let mut new = viewer(&i.to_string(), Mode::Interact, size(1000, 500));
        (new.name, new.person) = ("ü".repeat(100), "p".repeat(64));
        seats.take(new, (1 << 53) - i, place(1)).unwrap();
    }
    let refused = seats.take(viewer("x", Mode::View, None), 999, place(2)).unwrap_err();
    assert_eq!((refused.code, refused.retryable), (ErrorCode::Overloaded, true));
    assert!(
        seats.take(viewer("5", Mode::View, None), 999, place(2)).is_ok(),
        "one that comes back has a seat"
    );
    seats.publish();
    lap_wire::control::to_payload(&seats.presence(None)).unwrap();
}

#[derive(Clone, Debug)]
enum Event {
    Open { key: usize, interact: bool, size: Option<Size>, visible: bool },
    Close(usize),
    Break(usize),
    Resize(usize, Size),
    Show(usize, bool),
    Type(usize),
    Lease(usize, LeaseAction),
    Pass(u64),
    Turn,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let key = || 0..6usize;
    let sizes = (1..5u16, 1..5u16).prop_map(|(cols, rows)| Size { cols, rows });
    let action =
        prop_oneof![Just(LeaseAction::Acquire), Just(LeaseAction::Release), Just(LeaseAction::Steal)];
    let open = (key(), prop::bool::weighted(0.8), prop::option::weighted(0.8, sizes.clone()), any::<bool>());
    let event = prop_oneof![
        4 => open.prop_map(|(key, interact, size, visible)| Event::Open { key, interact, size, visible }),
        2 => key().prop_map(Event::Close),
        3 => key().prop_map(Event::Break),
        2 => (key(), sizes).prop_map(|(key, size)| Event::Resize(key, size)),
        2 => (key(), any::<bool>()).prop_map(|(key, visible)| Event::Show(key, visible)),
        4 => key().prop_map(Event::Type),
        3 => (key(), action).prop_map(|(key, action)| Event::Lease(key, action)),
        2 => (0..15_000u64).prop_map(Event::Pass),
        4 => Just(Event::Turn),
    ];
    prop::collection::vec(event, 0..60)
}

/// The same, told as plainly as can be: one line for each viewer that is there, in the order they came, and the order of
/// their acts as a list.
#[derive(Default)]
struct Told {
    there: Vec<There>,
    acted: Vec<usize>,
    lease: Option<usize>,
}

#[derive(Clone)]
struct There {
    key: usize,
    id: SeatId,
    interact: bool,
    size: Option<Size>,
    visible: bool,
    gone_at: Option<u64>,
}

impl Told {
    fn get(&mut self, key: usize) -> Option<&mut There> {
        self.there.iter_mut().find(|t| t.key == key && t.gone_at.is_none())
    }

    fn acts(&mut self, key: usize) {
        self.acted.retain(|k| *k != key);
        self.acted.push(key);
    }

    fn tidy(&mut self, ms: u64) {
        self.there.retain(|t| t.gone_at.is_none_or(|at| at + SEAT_GRACE_MS > ms));
        let held = self.there.iter().any(|t| Some(t.key) == self.lease && t.interact);
        self.lease = self.lease.filter(|_| held);
    }

    fn counting(&self) -> Vec<&There> {
        self.there.iter().filter(|t| t.interact && t.visible && t.size.is_some()).collect()
    }

    fn latest(&self) -> Option<&There> {
        let counting = self.counting();
        self.acted.iter().rev().find_map(|key| counting.iter().find(|t| t.key == *key).copied())
    }

    fn size(&self, policy: SizePolicy) -> Option<Size> {
        let counting = self.counting();
        match policy {
            SizePolicy::Latest => self.latest().and_then(|t| t.size),
            SizePolicy::Owner => counting.first().and_then(|t| t.size),
            SizePolicy::Smallest => Some(Size {
                cols: counting.iter().filter_map(|t| t.size).map(|s| s.cols).min()?,
                rows: counting.iter().filter_map(|t| t.size).map(|s| s.rows).min()?,
            }),
            SizePolicy::Fixed => None,
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_everybody_is_told_the_same_and_it_is_so(
        events in events(),
        policy in prop_oneof![
            Just(SizePolicy::Latest), Just(SizePolicy::Owner), Just(SizePolicy::Smallest), Just(SizePolicy::Fixed)
        ],
        exclusive: bool,
    ) {
        let start = Instant::now();
        let mut seats = Seats::new(policy, exclusive);
        let mut told = Told::default();
        let (mut ms, mut last_id, mut ever) = (0, 0, BTreeSet::new());
        let mut shown = (Vec::new(), None, Generations::default());
        for event in events {
            match event {
                Event::Open { key, interact, size, visible } => {
                    last_id += 1;
                    let mode = if interact { Mode::Interact } else { Mode::View };
                    let new = Newcomer { visible, ..viewer(&key.to_string(), mode, size) };
                    let taken = seats.take(new, last_id, place(key as u32)).unwrap();
                    let there = There { key, id: taken.seat, interact, size, visible, gone_at: None };
                    match told.there.iter_mut().find(|t| t.key == key) {
                        Some(old) => {
                            prop_assert_eq!(taken.seat, old.id);
                            prop_assert_eq!(taken.from.is_some(), old.gone_at.is_none());
                            *old = there;
                        }
                        None => {
                            prop_assert!(ever.insert(taken.seat), "an id is given once");
                            told.there.push(there);
                            told.acts(key);
                        }
                    }
                }
                Event::Close(key) => {
                    if let Some(id) = told.get(key).map(|t| t.id) {
                        seats.leave(id);
                        told.there.retain(|t| t.key != key);
                    }
                }
                Event::Break(key) => {
                    if let Some(there) = told.get(key) {
                        there.gone_at = Some(ms);
                        seats.lose(there.id, start + Duration::from_millis(ms));
                    }
                }
                Event::Resize(key, size) => {
                    if let Some(there) = told.get(key) {
                        there.size = Some(size);
                        seats.resize(there.id, size);
                        told.acts(key);
                    }
                }
                Event::Show(key, visible) => {
                    if let Some(there) = told.get(key) {
                        there.visible = visible;
                        seats.show(there.id, visible);
                        told.acts(key);
                    }
                }
                Event::Type(key) => {
                    let lease = told.lease;
                    if let Some(there) = told.get(key) {
                        let may = there.interact && (!exclusive || lease == Some(key));
                        prop_assert_eq!(seats.may_type(there.id).is_ok(), may);
                        if may {
                            seats.typed(there.id);
                            told.acts(key);
                        }
                    }
                }
                Event::Lease(key, action) => {
                    if let Some(there) = told.get(key) {
                        let (id, interact) = (there.id, there.interact);
                        prop_assert_eq!(seats.lease(id, action).is_ok(), interact);
                        told.lease = match action {
                            _ if !interact => told.lease,
                            LeaseAction::Acquire => told.lease.or(Some(key)),
                            LeaseAction::Release => told.lease.filter(|k| *k != key),
                            LeaseAction::Steal => Some(key),
                        };
                    }
                }
                Event::Pass(more) => {
                    ms += more;
                    let now = start + Duration::from_millis(ms);
                    let due = told.there.iter().any(|t| t.gone_at.is_some_and(|at| at + SEAT_GRACE_MS <= ms));
                    prop_assert_eq!(seats.due().is_some_and(|at| at <= now), due);
                    seats.expire(now);
                }
                Event::Turn => {
                    let changed = seats.publish();
                    prop_assert_eq!(changed, seats.generations() != shown.2);
                    let now = (seats.shown.clone(), seats.lease_shown, seats.generations());
                    prop_assert_eq!(now.2.presence != shown.2.presence, now.0 != shown.0, "told when changed, only then");
                    prop_assert_eq!(now.2.lease != shown.2.lease, now.1 != shown.1);
                    shown = now;
                }
            }
            told.tidy(ms);
            prop_assert_eq!(seats.size(), told.size(policy));
            let active = told.latest().filter(|t| t.gone_at.is_none()).map(|t| t.id);
            prop_assert_eq!(seats.active(), active);
            let holder = told.there.iter().find(|t| Some(t.key) == told.lease).map(|t| t.id);
            prop_assert_eq!(seats.lease, holder);
        }
        seats.publish();
        // Nobody's channel and each viewer's own are told the same people.
        let people = |you| match seats.presence(you) {
            ServerMessage::Presence { viewers } => viewers,
            other => panic!("{other:?}"),
        };
        let ids: Vec<SeatId> = told.there.iter().map(|t| t.id).collect();
        prop_assert_eq!(people(None).iter().map(|v| v.id).collect::<Vec<_>>(), ids.clone());
        prop_assert!(people(None).iter().filter(|v| v.active).count() <= 1);
        for id in ids {
            let mut mine = people(Some(id));
            prop_assert_eq!(mine.iter().filter(|v| v.you).map(|v| v.id).collect::<Vec<_>>(), vec![id]);
            mine.iter_mut().for_each(|v| v.you = false);
            prop_assert_eq!(mine, people(None));
        }
        // In the end, when all links are broken and nobody comes back, nobody is left.
        let ids: Vec<SeatId> = told.there.iter().map(|t| t.id).collect();
        ids.iter().for_each(|id| seats.lose(*id, start));
        seats.expire(start + GRACE);
        seats.publish();
        prop_assert_eq!((seats.size(), seats.active(), seats.lease, seats.due()), (None, None, None, None));
        prop_assert!(seats.shown.is_empty());
    }
}
