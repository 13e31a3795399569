//! What is known about a session: how far it came and how long each step took, why it ended, what it last said.

use lap_platform::model::{Diagnosis, Phase, Severity};
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::text::wrap;
use super::{Canvas, Layout, popup};
use crate::dashboard::actions::Action;
use crate::dashboard::event::Hit;
use crate::dashboard::model::{DiagnosisState, DiagnosisView, Model, session_name};
use crate::dashboard::theme::Theme;
use crate::dashboard::update::age;

const WIDTH: u16 = 104;
const HIGHEST: u16 = 40;
/// So that it does not jump much when the answer comes.
const LOWEST: u16 = 12;
/// Columns of the labels.
const LABELS: usize = 22;

type Line = Vec<(String, Style)>;

pub(super) fn draw(model: &Model, view: &DiagnosisView, canvas: &mut Canvas<'_>, layout: &Layout) {
    let name = model.sessions.get(&view.session).map_or_else(|| view.session.to_string(), session_name);
    let theme = canvas.theme;
    let wide = usize::from(WIDTH.min(layout.screen.width.saturating_sub(2)).saturating_sub(6));
    let mut lines = match &view.state {
        DiagnosisState::Loading => vec![vec![("Gathering what is known…".to_owned(), theme.dim)]],
        DiagnosisState::Failed(why) => vec![vec![(why.clone(), theme.error)]],
        DiagnosisState::Ready(diagnosis) => lines(model, diagnosis, theme, wide),
    };
    lines.insert(0, Vec::new());
    let high = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(4).clamp(LOWEST, HIGHEST);
    let area = popup::open(canvas, layout.screen, (WIDTH, high), &name);
    let list = Rect { height: area.height.saturating_sub(2), ..area };
    let rows = usize::from(list.height);
    let top = view.top.min(lines.len().saturating_sub(rows));
    for (y, line) in (0..).zip(lines.iter().skip(top).take(rows)) {
        let mut x = 0;
        for (text, style) in line {
            x += canvas.text(list, x, y, text, *style);
        }
    }
    let key = |action| {
        model.keymap.hint(action).map_or_else(String::new, |key: super::super::key::Key| key.to_string())
    };
    let (again, restart, stop) = (key(Action::Diagnose), key(Action::Restart), key(Action::Stop));
    let more = lines.len().saturating_sub(top + rows);
    let more = if more > 0 { format!("{more} more lines") } else { String::new() };
    let mut buttons = vec![
        ("esc", "go back", Hit::Cancel),
        (&again, "look again", Hit::Layer),
        (&restart, "restart", Hit::Layer),
    ];
    if model.sessions.get(&view.session).is_some_and(|session| session.status.is_live()) {
        buttons.push((&stop, "stop", Hit::Layer));
    }
    if !more.is_empty() {
        buttons.push(("down", &more, Hit::Layer));
    }
    popup::buttons(canvas, area, &buttons);
}

fn lines(model: &Model, diagnosis: &Diagnosis, theme: &Theme, wide: usize) -> Vec<Line> {
    let session = &diagnosis.session;
    let mut lines: Vec<Line> = Vec::new();
    let plain = |text: &str, style: Style| vec![(text.to_owned(), style)];
    let (glyph, style) = super::sessions::glyph(session, theme);
    let state = match &session.failure_reason {
        Some(_) => session.status.as_str().to_owned(),
        None => super::sessions::state(session),
    };
    lines.push(vec![(format!("{glyph} "), style), (state, style)]);
    if let Some(why) = &session.failure_reason {
        lines.extend(
            wrap(why, wide.saturating_sub(2)).iter().map(|line| plain(&format!("  {line}"), theme.text)),
        );
    }
    for issue in &diagnosis.detected_issues {
        let style = match issue.severity {
            Severity::High => theme.error,
            Severity::Med => theme.attention,
            Severity::Info => theme.text,
        };
        lines.push(Vec::new());
        lines.extend(wrap(&issue.message, wide).iter().map(|line| plain(line, style)));
        for text in [&issue.evidence, &issue.recommended_action].into_iter().flatten() {
            lines.extend(
                wrap(text, wide.saturating_sub(2)).iter().map(|line| plain(&format!("  {line}"), theme.text)),
            );
        }
    }
    lines.push(Vec::new());
    lines.push(plain("How far it came", theme.heading));
    lines.extend(phases(diagnosis, theme));
    lines.push(Vec::new());
    lines.push(plain("What runs", theme.heading));
    lines.extend(facts(model, diagnosis, theme));
    lines.push(Vec::new());
    lines.push(plain("Its last output", theme.heading));
    match (&diagnosis.harness.error, diagnosis.harness.last_output.is_empty()) {
        (Some(error), true) => lines.push(plain(error, theme.dim)),
        (None, true) => lines.push(plain("none", theme.dim)),
        (_, false) => {
            let said = printed(&diagnosis.harness.last_output);
            lines.extend(said.iter().map(|line| plain(line, theme.text)));
        }
    }
    lines
}

/// The lines without the empty ones around them: a screen is mostly empty.
fn printed(lines: &[String]) -> &[String] {
    let said = |line: &String| !line.trim().is_empty();
    let first = lines.iter().position(said).unwrap_or(lines.len());
    let end = lines.iter().rposition(said).map_or(first, |last| last + 1);
    lines.get(first..end).unwrap_or_default()
}

fn phases(diagnosis: &Diagnosis, theme: &Theme) -> Vec<Line> {
    let session = &diagnosis.session;
    let timings = if diagnosis.timings.is_empty() { &session.timings } else { &diagnosis.timings };
    let mut lines: Vec<Line> =
        timings.iter().map(|(phase, ms)| row(phase_words(*phase), &spent(*ms), theme.text, theme)).collect();
    if !timings.contains_key(&session.phase) && session.phase != Phase::Ready {
        let detail = session.phase_detail.as_deref().unwrap_or("not finished");
        lines.push(row(phase_words(session.phase), detail, theme.busy, theme));
    }
    if lines.is_empty() {
        lines.push(vec![(String::from("nothing is recorded"), theme.dim)]);
    }
    lines
}

fn facts(model: &Model, diagnosis: &Diagnosis, theme: &Theme) -> Vec<Line> {
    let (harness, sandbox) = (&diagnosis.harness, &diagnosis.sandbox);
    let program = match (&harness.error, harness.alive, harness.pid, &harness.exit_status) {
        (Some(error), ..) => error.clone(),
        (None, true, Some(pid), _) => format!("running, pid {pid}"),
        (None, true, None, _) => String::from("running"),
        (None, false, _, Some(status)) => format!("ended: {status}"),
        (None, false, _, None) => String::from("not running"),
    };
    let state = match (&sandbox.error, sandbox.present, &sandbox.state) {
        (Some(error), ..) => error.clone(),
        (None, true, Some(state)) => state.clone(),
        (None, true, None) => String::from("there"),
        (None, false, _) => String::from("gone"),
    };
    let name = sandbox.name.as_deref().unwrap_or("–");
    let mut lines = vec![
        row("program", &program, theme.text, theme),
        row("sandbox", &format!("{name} · {state}"), theme.text, theme),
        row("agent", &model.agent_name(diagnosis.session.agent_id), theme.text, theme),
        row("asked for", &format!("{} ago", age(diagnosis.session.created_at, model.now)), theme.text, theme),
    ];
    if let Some(at) = diagnosis.session.last_seen_at {
        lines.push(row("last active", &format!("{} ago", age(at, model.now)), theme.text, theme));
    }
    lines
}

fn row(label: &str, text: &str, style: Style, theme: &Theme) -> Line {
    vec![(format!("{label:LABELS$}"), theme.dim), (text.to_owned(), style)]
}

fn spent(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=59_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// A step of the bring-up, in words.
pub(super) fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::CreatingSandbox => "creating the sandbox",
        Phase::PodPending => "waiting for a place",
        Phase::PodRunning => "sandbox running",
        Phase::InjectingFiles => "placing files",
        Phase::WaitingHarness => "starting the program",
        Phase::CloningRepo => "cloning",
        Phase::InstallingDeps => "installing",
        Phase::HarnessListening => "program listening",
        Phase::HarnessReady => "program ready",
        Phase::Ready => "ready",
    }
}

#[cfg(test)]
mod tests {
    use crate::dashboard::view::testing::{diagnose, press, sample, select, snapshot};

    #[test]
    fn a_failed_session_shows_where_and_why_it_stopped() {
        let mut model = sample();
        select(&mut model, "broken clone");
        press(&mut model, &["d"]);
        snapshot("diagnosis_loading", &model, 100, 0..12);
        diagnose(&mut model);
        snapshot("diagnosis", &model, 110, 0..30);
    }
}
