//! Whether requests about sessions make sense.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::env::env_vars;
use super::limits::{
    ATTACHMENT_BASE64_CHARS, ATTACHMENT_BYTES, ATTACHMENT_NAME_CHARS, ATTACHMENT_TYPES, ATTACHMENTS,
    EXEC_MAX_SECONDS, EXEC_WORD_BYTES, EXEC_WORDS, NAME_CHARS, PROMPT_BYTES, SESSION_SKILLS,
};
use super::{Faults, INVALID, TOO_BIG, TOO_SMALL};
use crate::model::{Attachment, CreateSession, ExecRequest, FieldError, SessionPatch};

/// A request for a session.
pub fn create_session(request: &CreateSession) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    if let Some(title) = &request.title {
        faults.line(&["title"], title, NAME_CHARS);
    }
    if let Some(prompt) = &request.initial_prompt {
        faults.block(&["initial_prompt"], prompt, PROMPT_BYTES);
    }
    faults.count(&["initial_attachments"], request.initial_attachments.len(), ATTACHMENTS);
    for (index, attachment) in request.initial_attachments.iter().enumerate() {
        self::attachment(&mut faults, &["initial_attachments", &index.to_string()], attachment);
    }
    env_vars(&mut faults, &request.env_vars);
    faults.count(&["skill_ids"], request.skill_ids.len(), SESSION_SKILLS);
    faults.into_result()
}

/// A picture at this place of a request.
pub(super) fn attachment(faults: &mut Faults, place: &[&str; 2], attachment: &Attachment) {
    let field = |name| [place[0], place[1], name];
    if let Some(name) = &attachment.name {
        faults.line(&field("name"), name, ATTACHMENT_NAME_CHARS);
        if name.contains('/') {
            faults.add(INVALID, &field("name"), "is a path; give a file name");
        }
    }
    if !ATTACHMENT_TYPES.contains(&attachment.mime_type.as_str()) {
        faults.add(INVALID, &field("mime_type"), format!("must be one of {}", ATTACHMENT_TYPES.join(", ")));
    }
    if attachment.base64.len() > ATTACHMENT_BASE64_CHARS {
        faults.add(TOO_BIG, &field("base64"), format!("is more than {ATTACHMENT_BYTES} bytes decoded"));
    } else if attachment.base64.is_empty() {
        faults.add(TOO_SMALL, &field("base64"), "is empty");
    } else if BASE64_STANDARD.decode(&attachment.base64).is_err() {
        faults.add(INVALID, &field("base64"), "is not base64");
    }
}

/// A change to a session.
pub fn session_patch(patch: &SessionPatch) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    if let Some(Some(title)) = &patch.title {
        faults.line(&["title"], title, NAME_CHARS);
    }
    faults.into_result()
}

/// A command for a session's sandbox.
pub fn exec(request: &ExecRequest) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    faults.count(&["command"], request.command.len(), EXEC_WORDS);
    match request.command.first() {
        None => faults.add(TOO_SMALL, &["command"], "is empty; give the program and its arguments"),
        Some(program) if program.is_empty() => faults.add(TOO_SMALL, &["command", "0"], "names no program"),
        Some(_) => {}
    }
    for (index, word) in request.command.iter().enumerate() {
        faults.block(&["command", &index.to_string()], word, EXEC_WORD_BYTES);
    }
    if let Some(seconds) = request.timeout_seconds {
        faults.within(&["timeout_seconds"], seconds.into(), 1, EXEC_MAX_SECONDS.into());
    }
    faults.into_result()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(result: Result<(), Vec<FieldError>>) -> Vec<(String, String)> {
        let faults = result.err().unwrap_or_default();
        faults.into_iter().map(|fault| (fault.path.join("."), fault.code)).collect()
    }

    #[test]
    fn every_fault_of_a_session_request_is_found_at_once() {
        let picture =
            Attachment { name: Some("a/b".into()), mime_type: "text/html".into(), base64: "%".into() };
        let request = CreateSession {
            title: Some("two\nlines".into()),
            initial_attachments: vec![picture],
            env_vars: [("1A".to_owned(), "x".to_owned()), ("LAP_X".to_owned(), "x".to_owned())].into(),
            ..CreateSession::default()
        };
        let found = codes(create_session(&request));
        let expected = [
            ("title", INVALID),
            ("initial_attachments.0.name", INVALID),
            ("initial_attachments.0.mime_type", INVALID),
            ("initial_attachments.0.base64", INVALID),
            ("env_vars.1A", INVALID),
            ("env_vars.LAP_X", super::super::RESERVED),
        ];
        assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
    }

    #[test]
    fn a_command_needs_a_program_and_an_end() {
        let request = |command: &[&str], timeout_seconds| ExecRequest {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            stdin: None,
            timeout_seconds,
        };
        assert_eq!(codes(exec(&request(&["ls", ""], Some(600)))), []);
        assert_eq!(codes(exec(&request(&[], None))), [("command".into(), TOO_SMALL.into())]);
        assert_eq!(codes(exec(&request(&[""], None))), [("command.0".into(), TOO_SMALL.into())]);
        assert_eq!(codes(exec(&request(&["a\0"], None))), [("command.0".into(), INVALID.into())]);
        assert_eq!(codes(exec(&request(&["a"], Some(0)))), [("timeout_seconds".into(), TOO_SMALL.into())]);
        assert_eq!(codes(exec(&request(&["a"], Some(601)))), [("timeout_seconds".into(), TOO_BIG.into())]);
    }
}
