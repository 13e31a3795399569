//! Whether a message to an agent makes sense.

use super::limits::{ATTACHMENTS, MESSAGE_PARTS, PROMPT_BYTES};
use super::session::attachment;
use super::{Faults, INVALID, REQUIRED, TOO_BIG};
use crate::model::{Attachment, FieldError, SendMessage, SendPart};

/// A message to an agent.
pub fn send_message(message: &SendMessage) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    let mut bytes = 0;
    if let Some(text) = &message.text {
        bytes += text.len();
        faults.block(&["text"], text, PROMPT_BYTES);
        if !message.parts.is_empty() {
            faults.add(INVALID, &["parts"], "is given with text: give one of the two");
        }
    }
    faults.count(&["parts"], message.parts.len(), MESSAGE_PARTS);
    let mut says = message.text.as_deref().is_some_and(|text| !text.trim().is_empty());
    let mut pictures = message.attachments.len();
    for (index, part) in message.parts.iter().enumerate() {
        let index = index.to_string();
        match part {
            SendPart::Text { text } => {
                bytes += text.len();
                says |= !text.trim().is_empty();
                faults.block(&["parts", &index, "text"], text, PROMPT_BYTES);
            }
            SendPart::Image { mime_type, base64 } => {
                pictures += 1;
                let picture = Attachment { name: None, mime_type: mime_type.clone(), base64: base64.clone() };
                attachment(&mut faults, &["parts", &index], &picture);
            }
        }
    }
    if bytes > PROMPT_BYTES {
        let words = format!("has {bytes} bytes of text in all; at most {PROMPT_BYTES} are allowed");
        faults.add(TOO_BIG, &["parts"], words);
    }
    faults.count(&["attachments"], pictures, ATTACHMENTS);
    for (index, picture) in message.attachments.iter().enumerate() {
        attachment(&mut faults, &["attachments", &index.to_string()], picture);
    }
    if !says && pictures == 0 {
        faults.add(REQUIRED, &["text"], "is missing: say something");
    }
    faults.into_result()
}
