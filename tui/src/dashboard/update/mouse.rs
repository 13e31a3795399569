//! What the mouse does. Everything it can do has a key too.

use crossterm::event::MouseEventKind;

use super::{browse, layers, palette};
use crate::dashboard::event::{CLICK, Effect, Hit, Where};
use crate::dashboard::model::{Form, Layer, Model, Need, Tab, Value};

/// Rows one notch of the wheel moves.
const WHEEL: isize = 3;

pub(super) fn mouse(model: &mut Model, kind: MouseEventKind, hit: Option<Hit>) -> Vec<Effect> {
    match kind {
        MouseEventKind::ScrollUp => wheel(model, -WHEEL),
        MouseEventKind::ScrollDown => wheel(model, WHEEL),
        kind if kind == CLICK => click(model, hit),
        _ => Vec::new(),
    }
}

pub(super) fn double_click(model: &mut Model, hit: Hit) -> Vec<Effect> {
    match hit {
        Hit::Row(_) | Hit::Preview if model.layer.is_none() => browse::open(model, Where::Here),
        _ => Vec::new(),
    }
}

fn wheel(model: &mut Model, by: isize) -> Vec<Effect> {
    if model.layer.is_some() {
        return layers::scroll_by(model, by);
    }
    browse::step(model, by);
    Vec::new()
}

fn click(model: &mut Model, hit: Option<Hit>) -> Vec<Effect> {
    let over = matches!(
        hit,
        Some(Hit::Field(_) | Hit::Submit | Hit::Cancel | Hit::PaletteItem(_) | Hit::Layer | Hit::Toast(_))
    );
    if model.layer.is_some() && !over {
        // Beside a question that ends something nothing happens; beside the rest one is out.
        if !matches!(model.layer, Some(Layer::Confirm(_) | Layer::Form(_))) {
            model.layer = None;
        }
        return Vec::new();
    }
    match hit {
        Some(Hit::Row(at)) => match model.tab {
            Tab::Agents => model.agent_list.select(at),
            Tab::Sessions => model.session_list.select(at),
        },
        Some(Hit::Tab(tab)) => browse::show_list(model, tab),
        Some(Hit::AgentColumn(sort)) => {
            let list = &mut model.agent_list;
            (list.reverse, list.sort) = (list.sort == sort && !list.reverse, sort);
        }
        Some(Hit::SessionColumn(sort)) => {
            let list = &mut model.session_list;
            (list.reverse, list.sort) = (list.sort == sort && !list.reverse, sort);
        }
        Some(Hit::Hint(action)) => return browse::act(model, action),
        Some(Hit::Offer(at)) => return browse::take_offer(model, at),
        Some(Hit::Toast(at)) => model.toasts.dismiss(at),
        Some(Hit::Cancel) => model.layer = None,
        Some(Hit::Submit) => return go_on(model),
        Some(Hit::Field(at)) => {
            if let Some(Layer::Form(form)) = &mut model.layer {
                point(form, at);
            }
        }
        Some(Hit::PaletteItem(at)) => {
            if let Some(Layer::Palette(palette)) = &mut model.layer {
                palette.selected = at;
                return palette::choose_item(model);
            }
        }
        Some(Hit::Preview | Hit::Layer) | None => {}
    }
    Vec::new()
}

/// Goes to a field; a click on a yes-or-no field changes it, one on a choice takes the next.
fn point(form: &mut Form, at: usize) {
    form.focus = at;
    if let Some(field) = form.fields.get(at)
        && !matches!(field.value, Value::Text(_))
    {
        form.key(crate::dashboard::key::Key::new(
            crossterm::event::KeyCode::Right,
            crossterm::event::KeyModifiers::NONE,
        ));
    }
}

fn go_on(model: &mut Model) -> Vec<Effect> {
    match &model.layer {
        Some(Layer::Form(_)) => layers::submit(model),
        Some(Layer::Confirm(confirm)) if matches!(confirm.need, Need::Yes) => layers::confirmed(model),
        _ => Vec::new(),
    }
}
