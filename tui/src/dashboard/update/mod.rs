//! What an event makes of the model, and what is to be done outside. Pure: no IO, no clock but [`Model::now`].

mod browse;
mod feed;
mod layers;
mod mouse;
mod palette;
mod wake;

use super::actions::Place;
use super::event::{Effect, Event};
use super::model::{Link, Model, Screen, Tab, ToastKind};

pub use wake::{SLOW, age, countdown, next_wake};

/// Said when something is to be changed while the server is not there.
const NOT_CONNECTED: &str = "Not connected: nothing can be changed now.";
/// Said when the connection is back, unless more is known about it.
const CONNECTED_AGAIN: &str = "Connected again.";
/// What is said when the server of this machine is there again, having started anew.
const SERVER_STARTED: &str = "lap's server had to be started again. Sessions went on meanwhile.";

/// Takes an event. The lists' order is brought up to date by [`Model::settle`] afterwards, once for many events.
pub fn update(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) if model.layer.is_some() => layers::key(model, key),
        Event::Key(key) => browse::key(model, key),
        Event::Paste(text) => paste(model, &text),
        Event::Mouse(kind, hit) => mouse::mouse(model, kind, hit),
        Event::DoubleClick(hit) => mouse::double_click(model, hit),
        Event::Resize(size) => {
            model.size = size;
            Vec::new()
        }
        Event::Feed(event) => feed::feed(model, event),
        Event::Page(page) => feed::page(model, *page),
        Event::Loaded(result) => feed::loaded(model, *result),
        Event::Harnesses(harnesses) => {
            model.harnesses = harnesses;
            Vec::new()
        }
        Event::Finished(task, result) => feed::finished(model, task, *result),
        Event::Unfound(why) => {
            if let Link::Lost { reason, .. } = &mut model.link {
                *reason = why;
            }
            Vec::new()
        }
        Event::ServerStarted => {
            // Both the lists' connection and the terminals' may notice.
            model.toasts.retract(SERVER_STARTED);
            model.toasts.retract(CONNECTED_AGAIN);
            model.toasts.push(ToastKind::Info, SERVER_STARTED, model.now);
            Vec::new()
        }
        Event::Moved(address) => {
            model.address = address;
            Vec::new()
        }
        Event::Notice(text) => {
            model.toasts.push(ToastKind::Info, text, model.now);
            Vec::new()
        }
        Event::PanesChanged(status) => {
            model.panes = status;
            Vec::new()
        }
        Event::PanesLeft => {
            model.screen = Screen::Lists;
            Vec::new()
        }
        Event::Choose(place) => {
            palette::choose(model, place);
            Vec::new()
        }
        Event::RestartPane(session) => browse::restart(model, session),
        Event::Tick => {
            model.toasts.expire(model.now);
            if model.reading.take_due(model.now) { vec![Effect::Load] } else { Vec::new() }
        }
    }
}

fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    if model.layer.is_some() {
        layers::paste(model, text);
    } else if model.filtering {
        browse::filter(model).paste(text);
    }
    Vec::new()
}

/// Where the keys go.
fn place(model: &Model) -> Place {
    match model.tab {
        Tab::Agents => Place::Agents,
        Tab::Sessions => Place::Sessions,
    }
}

/// Whether requests can be sent; says why not if they cannot.
fn connected(model: &mut Model) -> bool {
    let why = match model.link {
        Link::Lost { .. } | Link::Connecting if model.reading.is_without_feed() => return true,
        Link::Lost { .. } => NOT_CONNECTED,
        _ if !model.loaded => "Still reading what there is.",
        _ => return true,
    };
    model.toasts.push(ToastKind::Warning, why, model.now);
    false
}

#[cfg(test)]
mod tests {
    use lap_platform::client::FeedEvent;

    use lap_platform::model::{Session, SessionStatus};

    use super::*;
    use lap_platform::client::ClientError;

    use crate::dashboard::event::{Lists, Reply};
    use crate::dashboard::view::testing::{lost, press, sample, select};

    #[test]
    fn a_session_keeps_its_place_while_it_is_restarted_though_ended_ones_are_hidden() {
        let mut model = sample();
        press(&mut model, &["h"]);
        select(&mut model, "login page");
        let selected = model.session_list.selected;
        press(&mut model, &["R", "y"]);
        let id = selected.unwrap();
        model.sessions.get_mut(&id).unwrap().status = SessionStatus::Dead;
        model.settle(20);
        assert_eq!(model.session_list.selected, selected);
        // The answer has come, and it has ended again: now it is one of those.
        let session = Box::new(model.sessions[&id].clone());
        let task = model.tasks.last().unwrap().id;
        update(&mut model, Event::Finished(task, Box::new(Ok(Reply::Session(session)))));
        model.settle(20);
        assert_ne!(model.session_list.selected, selected);
    }

    #[test]
    fn a_server_that_was_started_again_is_told_once_whichever_is_known_first() {
        let back = || Event::Feed(FeedEvent::Connected { resumed: true });
        for events in [[Event::ServerStarted, back()], [back(), Event::ServerStarted]] {
            let mut model = lost();
            model.toasts.clear();
            events.into_iter().for_each(|event| drop(update(&mut model, event)));
            let told: Vec<_> = model.toasts.iter().map(|toast| toast.text.as_str()).collect();
            assert_eq!(told, [SERVER_STARTED]);
        }
    }

    fn between() -> ClientError {
        ClientError::Between { url: "http://x".into(), reason: "nginx gave a web page with 502".into() }
    }

    fn pass(model: &mut Model, seconds: i64) -> Vec<Effect> {
        model.now = model.now.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        update(model, Event::Tick)
    }

    #[test]
    fn a_first_read_that_fails_is_told_and_asked_for_again_until_it_succeeds() {
        let mut model = sample();
        model.loaded = false;
        model.toasts.clear();
        for attempt in 0..6 {
            assert_eq!(update(&mut model, Event::Loaded(Box::new(Err(between())))), []);
            assert!(model.toasts.iter().count() <= 1, "told once");
            assert!(model.reading.fault().unwrap().contains("502"));
            let due = next_wake(&model, 20).unwrap();
            assert!(due <= model.reading.due().unwrap());
            assert_eq!(pass(&mut model, 15), [Effect::Load], "attempt {attempt}");
            assert_eq!(pass(&mut model, 15), [], "one at a time");
        }
        update(&mut model, Event::Loaded(Box::new(Ok(Lists::default()))));
        assert!(model.loaded && model.reading.fault().is_none());
        assert_eq!(pass(&mut model, 60), []);
    }

    #[test]
    fn pages_are_shown_as_they_come_and_what_the_feed_has_told_is_newer() {
        let mut model = sample();
        let mut rows = std::mem::take(&mut model.sessions).into_values();
        let (first, second) = (rows.next().unwrap(), rows.next().unwrap());
        model.loaded = false;
        let page = |sessions| Event::Page(Box::new(Lists { sessions, ..Lists::default() }));
        update(&mut model, page(vec![first.clone()]));
        assert_eq!(model.sessions.values().collect::<Vec<_>>(), [&first]);
        assert!(!model.loaded, "there may be more");
        let older = Session { title: Some("as it was".into()), ..first.clone() };
        update(&mut model, page(vec![older, second.clone()]));
        assert_eq!((&model.sessions[&first.id], &model.sessions[&second.id]), (&first, &second));
        let whole = Lists { sessions: vec![second.clone()], ..Lists::default() };
        update(&mut model, Event::Loaded(Box::new(Ok(whole))));
        update(&mut model, page(vec![first]));
        assert_eq!(model.sessions.values().collect::<Vec<_>>(), [&second], "a late page counts no more");
    }

    #[test]
    fn a_feed_that_brings_nothing_is_replaced_by_asking_and_everything_can_be_done() {
        let mut model = sample();
        let after = std::time::Duration::from_secs(20);
        let reason = ClientError::TimedOut { url: "http://x".into(), after };
        update(&mut model, Event::Feed(FeedEvent::Lost { reason, retry_in: after }));
        assert!(!connected(&mut model));
        assert_eq!(pass(&mut model, 3), [Effect::Load]);
        update(&mut model, Event::Loaded(Box::new(Ok(Lists::default()))));
        assert!(connected(&mut model), "the server answers");
        assert_eq!(pass(&mut model, 10), [Effect::Load]);
        update(&mut model, Event::Loaded(Box::new(Err(between()))));
        assert!(!connected(&mut model));
    }
}
