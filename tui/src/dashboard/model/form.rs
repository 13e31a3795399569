//! Forms: a few fields, checked before they are sent.

use crossterm::event::KeyCode;
use lap_platform::model::{Agent, AgentId, AgentSpec, CreateSession, FieldError, Harness, SessionId};
use tui_input::InputRequest;

use crate::dashboard::key::Key;

/// The longest text of a field: what the API takes as a prompt.
const MAX_TEXT: usize = 256 * 1024;

/// One line that is typed into.
#[derive(Clone, Debug, Default)]
pub struct Input(tui_input::Input);

impl Input {
    /// With that text in it.
    #[must_use]
    pub fn with(text: &str) -> Input {
        Input(tui_input::Input::from(text))
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.value()
    }

    /// The cursor's place and the first column shown, in a field that wide.
    #[must_use]
    pub fn cursor(&self, width: usize) -> (usize, usize) {
        let scroll = self.0.visual_scroll(width.saturating_sub(1));
        (self.0.visual_cursor().saturating_sub(scroll), scroll)
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Types a text, as one line.
    pub fn paste(&mut self, text: &str) {
        for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if self.text().len() + c.len_utf8() > MAX_TEXT {
                return;
            }
            self.0.handle(InputRequest::InsertChar(c));
        }
    }

    /// Takes a key as a line editor does. Tells whether it was one for it.
    pub fn key(&mut self, key: Key) -> bool {
        let request = match (key.code(), key.ctrl(), key.alt()) {
            (KeyCode::Backspace, true, _) | (KeyCode::Backspace, _, true) => InputRequest::DeletePrevWord,
            (KeyCode::Backspace, ..) => InputRequest::DeletePrevChar,
            (KeyCode::Delete, ..) => InputRequest::DeleteNextChar,
            (KeyCode::Left, true, _) | (KeyCode::Left, _, true) => InputRequest::GoToPrevWord,
            (KeyCode::Right, true, _) | (KeyCode::Right, _, true) => InputRequest::GoToNextWord,
            (KeyCode::Left, ..) => InputRequest::GoToPrevChar,
            (KeyCode::Right, ..) => InputRequest::GoToNextChar,
            (KeyCode::Home, ..) | (KeyCode::Char('a'), true, _) => InputRequest::GoToStart,
            (KeyCode::End, ..) | (KeyCode::Char('e'), true, _) => InputRequest::GoToEnd,
            (KeyCode::Char('u'), true, _) => InputRequest::DeleteFromStart,
            (KeyCode::Char('k'), true, _) => InputRequest::DeleteTillEnd,
            (KeyCode::Char('w'), true, _) => InputRequest::DeletePrevWord,
            _ => match key.typed() {
                Some(c) if self.text().len() < MAX_TEXT => InputRequest::InsertChar(c),
                _ => return false,
            },
        };
        self.0.handle(request);
        true
    }
}

/// One of several.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// What stands for it in the request.
    pub value: String,
    /// What it is called.
    pub label: String,
    /// Why it cannot be chosen, and what to do about it.
    pub missing: Option<String>,
}

/// What a field holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A line.
    Text(Input),
    /// One of several.
    Choice {
        /// The chosen one.
        chosen: usize,
        /// All of them.
        choices: Vec<Choice>,
    },
    /// Yes or no.
    Toggle(bool),
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// The request's own name for it, by which faults find it.
    pub name: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// What stands in it while it is empty.
    pub placeholder: String,
    /// What it holds.
    pub value: Value,
    /// What is wrong with it.
    pub fault: Option<String>,
}

impl Field {
    fn text(name: &'static str, label: &'static str, placeholder: &str) -> Field {
        let placeholder = placeholder.to_owned();
        Field { name, label, placeholder, value: Value::Text(Input::default()), fault: None }
    }
}

/// What a form makes.
#[derive(Clone, PartialEq, Debug)]
pub enum FormKind {
    /// An agent.
    NewAgent,
    /// A session of that agent.
    NewSession(AgentId),
    /// Another name for an agent.
    RenameAgent(AgentId),
    /// Another title for a session.
    RenameSession(SessionId),
}

/// A form.
#[derive(Clone, Debug)]
pub struct Form {
    /// What it makes.
    pub kind: FormKind,
    /// What stands above it.
    pub title: String,
    /// What its button says.
    pub submit: &'static str,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The field that has the keys.
    pub focus: usize,
    /// What is wrong with the whole.
    pub fault: Option<String>,
    /// The request on its way, if it has been sent.
    pub sent: Option<u64>,
}

impl Form {
    /// A new agent, of one of these harnesses; those that can be started come first.
    #[must_use]
    pub fn new_agent(harnesses: &[Harness]) -> Form {
        let mut sorted: Vec<&Harness> = harnesses.iter().collect();
        sorted.sort_by_key(|harness| !harness.available);
        let choices = sorted
            .into_iter()
            .map(|harness| Choice {
                value: harness.id.clone(),
                label: harness.title.clone(),
                missing: (!harness.available).then(|| missing(harness)),
            })
            .collect();
        let harness = Field {
            name: "harness_id",
            label: "Harness",
            placeholder: String::new(),
            value: Value::Choice { chosen: 0, choices },
            fault: None,
        };
        let fields = vec![
            harness,
            Field::text("name", "Name", "made up if empty"),
            Field::text("model", "Model", "the harness's own if empty"),
            Field::text("repo_url", "Repository", "https://… to clone, if any"),
            Field::text("branch", "Branch", "the remote's own if empty"),
            Field::text("prompt", "Instructions", "what it should know and do, if anything"),
        ];
        Form::new(FormKind::NewAgent, "New agent", "create", fields)
    }

    /// A new session of an agent.
    #[must_use]
    pub fn new_session(agent: AgentId, name: &str, takes_prompt: bool) -> Form {
        let mut fields = vec![Field::text("title", "Title", "none")];
        if takes_prompt {
            fields.push(Field::text("initial_prompt", "First prompt", "none: wait for what is typed"));
        }
        let open = Value::Toggle(true);
        let label = "Open when ready";
        fields.push(Field { name: "open", label, placeholder: String::new(), value: open, fault: None });
        Form::new(FormKind::NewSession(agent), &format!("New session of {name}"), "start", fields)
    }

    /// Another name.
    #[must_use]
    pub fn rename(kind: FormKind, what: &str, old: &str) -> Form {
        let (name, label) = match kind {
            FormKind::RenameSession(_) => ("title", "Title"),
            _ => ("name", "Name"),
        };
        let field = Field { value: Value::Text(Input::with(old)), ..Field::text(name, label, "none") };
        Form::new(kind, &format!("Rename {what}"), "rename", vec![field])
    }

    fn new(kind: FormKind, title: &str, submit: &'static str, fields: Vec<Field>) -> Form {
        Form { kind, title: title.to_owned(), submit, fields, focus: 0, fault: None, sent: None }
    }

    /// The text of a field, if it is not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        match &field.value {
            Value::Text(input) => Some(input.text().trim()).filter(|text| !text.is_empty()),
            Value::Choice { chosen, choices } => choices.get(*chosen).map(|choice| choice.value.as_str()),
            Value::Toggle(_) => None,
        }
    }

    /// Whether a yes-or-no field says yes.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name && matches!(field.value, Value::Toggle(true)))
    }

    /// Moves the keys to another field.
    pub fn step(&mut self, by: isize) {
        let count = self.fields.len().max(1);
        self.focus = (self.focus + count).saturating_add_signed(by) % count;
    }

    /// Takes a key for the field that has the keys.
    pub fn key(&mut self, key: Key) -> bool {
        let Some(field) = self.fields.get_mut(self.focus) else { return false };
        let taken = match &mut field.value {
            Value::Text(input) => input.key(key),
            Value::Toggle(on) => match key.code() {
                KeyCode::Left | KeyCode::Right | KeyCode::Char(' ') => {
                    *on = !*on;
                    true
                }
                _ => false,
            },
            Value::Choice { chosen, choices } => {
                let can: Vec<usize> = (0..choices.len()).filter(|at| is_there(choices, *at)).collect();
                let at = can.iter().position(|at| at == chosen).unwrap_or(0);
                let next = match key.code() {
                    KeyCode::Right | KeyCode::Char(' ') => (at + 1) % can.len().max(1),
                    KeyCode::Left => (at + can.len().saturating_sub(1)) % can.len().max(1),
                    _ => return false,
                };
                *chosen = can.get(next).copied().unwrap_or(*chosen);
                true
            }
        };
        if taken {
            field.fault = None;
            self.fault = None;
        }
        taken
    }

    /// Types a text into the field that has the keys.
    pub fn paste(&mut self, text: &str) {
        if let Some(Field { value: Value::Text(input), fault, .. }) = self.fields.get_mut(self.focus) {
            input.paste(text);
            *fault = None;
        }
    }

    /// The agent asked for. `harnesses` says which model a harness has when none is given.
    #[must_use]
    pub fn agent_spec(&self, harnesses: &[Harness]) -> AgentSpec {
        let owned = |name| self.text(name).map(str::to_owned);
        let harness = self.text("harness_id").and_then(|id| harnesses.iter().find(|h| h.id == id));
        AgentSpec {
            name: owned("name"),
            model: owned("model").unwrap_or_else(|| model_of(harness)),
            prompt: owned("prompt"),
            harness_id: owned("harness_id"),
            repo_url: owned("repo_url"),
            branch: owned("branch"),
            ..AgentSpec::default()
        }
    }

    /// The session asked for.
    #[must_use]
    pub fn session_request(&self) -> CreateSession {
        let owned = |name| self.text(name).map(str::to_owned);
        CreateSession {
            title: owned("title"),
            initial_prompt: owned("initial_prompt"),
            ..CreateSession::default()
        }
    }

    /// Puts the server's faults to the fields they are about and goes to the first of them. Those about no field of
    /// this form stand below it.
    pub fn show_faults(&mut self, faults: &[FieldError]) {
        let mut rest = Vec::new();
        for fault in faults {
            let first = fault.path.first().map_or("", String::as_str);
            match self.fields.iter_mut().find(|field| field.name == first) {
                Some(field) => field.fault = Some(fault.message.clone()),
                None => rest.push(format!("{}: {}", fault.path.join("."), fault.message)),
            }
        }
        if let Some(first) = self.fields.iter().position(|field| field.fault.is_some()) {
            self.focus = first;
        }
        self.fault = (!rest.is_empty()).then(|| rest.join("; "));
    }
}

fn is_there(choices: &[Choice], at: usize) -> bool {
    choices.get(at).is_some_and(|choice| choice.missing.is_none())
}

/// What an agent's model is when nobody says: the harness's own, or its name for "whatever it is set to".
#[must_use]
pub fn model_of(harness: Option<&Harness>) -> String {
    harness.and_then(|harness| harness.default_model.clone()).unwrap_or_else(|| Agent::NO_MODEL.to_owned())
}

fn missing(harness: &Harness) -> String {
    harness.install.clone().unwrap_or_else(|| String::from("not installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harness(id: &str, available: bool) -> Harness {
        Harness {
            id: id.into(),
            title: id.to_uppercase(),
            supports_tui: true,
            available,
            program: None,
            install: Some(format!("npm install -g {id}")),
            default_model: Some(format!("{id}-model")),
        }
    }

    fn press(form: &mut Form, keys: &[&str]) {
        for key in keys {
            form.key(key.parse().unwrap());
        }
    }

    #[test]
    fn what_is_missing_is_shown_but_cannot_be_chosen() {
        let harnesses = [harness("codex", false), harness("shell", true), harness("gemini", true)];
        let mut form = Form::new_agent(&harnesses);
        assert_eq!(form.text("harness_id"), Some("shell"));
        press(&mut form, &["right"]);
        assert_eq!(form.text("harness_id"), Some("gemini"));
        press(&mut form, &["right"]);
        assert_eq!(form.text("harness_id"), Some("shell"));
        press(&mut form, &["left"]);
        assert_eq!(form.agent_spec(&harnesses).model, "gemini-model");
        let Value::Choice { choices, .. } = &form.fields[0].value else { panic!() };
        assert_eq!(choices[2].missing.as_deref(), Some("npm install -g codex"));
    }

    #[test]
    fn the_servers_faults_stand_at_their_fields() {
        let mut form = Form::new_agent(&[harness("shell", true)]);
        let fault = |path: &[&str], message: &str| FieldError {
            code: "invalid".into(),
            path: path.iter().map(|part| (*part).into()).collect(),
            message: message.into(),
        };
        form.show_faults(&[fault(&["repo_url"], "is no git URL"), fault(&["env_vars", "A"], "is reserved")]);
        assert_eq!(form.focus, 3);
        assert_eq!(form.fields[3].fault.as_deref(), Some("is no git URL"));
        assert_eq!(form.fault.as_deref(), Some("env_vars.A: is reserved"));
        press(&mut form, &["x"]);
        assert_eq!(form.fields[3].fault, None, "typing takes the fault away");
    }

    #[test]
    fn a_paste_is_one_line() {
        let mut form = Form::new_session(AgentId::new(), "a", true);
        form.paste("two\nlines\t");
        assert_eq!(form.session_request().title.as_deref(), Some("two lines"));
        press(&mut form, &["ctrl-w", "ctrl-w", "ctrl-w"]);
        assert_eq!(form.session_request().title, None);
    }
}
