//! An answer, put together from what the program tells of it.

use serde_json::Value;

use crate::model::{FileDiff, Part, PartBody, PlanEntry, Tokens, ToolState, ToolStatus};

/// Parts of one answer: more are passed over.
const MAX_PARTS: usize = 4_000;
/// Bytes of text of one answer: what is beyond is passed over.
const MAX_TEXT: usize = 512 * 1024;
/// Bytes kept of what a tool printed: the end of it.
const MAX_OUTPUT: usize = 64 * 1024;
/// Bytes kept of each side of a change: the beginning.
const MAX_DIFF: usize = 64 * 1024;
/// Bytes of all changes of one tool's call.
const MAX_DIFFS: usize = 4 * MAX_DIFF;
/// Bytes of what a tool was called with: a larger one is told as its size.
const MAX_INPUT: usize = 64 * 1024;
/// What stands where something was left out.
const CUT: &str = "\n… more than is kept\n";

/// See the module.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reply {
    parts: Vec<Part>,
    /// Which have changed since they were last taken.
    changed: Vec<usize>,
    /// Bytes of text in it.
    text: usize,
    /// The program's own id of the message whose text came last.
    speaking: Option<String>,
    /// Whether something was done since: words that follow are another part.
    done: bool,
    /// What it took.
    pub tokens: Tokens,
    /// What it cost, in US dollars.
    pub cost: Option<f64>,
    /// A name for the conversation.
    pub title: Option<String>,
}

impl Reply {
    /// One that has these parts already.
    #[must_use]
    pub fn with(parts: Vec<Part>, tokens: Tokens, cost: Option<f64>) -> Reply {
        let text = parts.iter().map(|part| text_of(&part.body).map_or(0, String::len)).sum();
        Reply { parts, text, tokens, cost, ..Reply::default() }
    }

    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All its words, without what it thought.
    #[must_use]
    pub fn words(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match &part.body {
            PartBody::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n\n")
    }

    /// The places of the parts that have changed since this was last asked.
    pub fn take_changed(&mut self) -> Vec<usize> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Takes in the `update` of a `session/update`. Says whether it was one of an answer.
    pub fn update(&mut self, update: &Value) -> bool {
        match update["sessionUpdate"].as_str().unwrap_or_default() {
            "agent_message_chunk" => self.chunk(update, false),
            "agent_thought_chunk" => self.chunk(update, true),
            "tool_call" | "tool_call_update" => self.tool(update),
            "plan" => self.plan(&update["entries"]),
            "plan_update" => self.plan(&update["plan"]["entries"]),
            "usage_update" => {
                if update["cost"]["currency"].as_str().is_none_or(|currency| currency == "USD") {
                    self.cost = update["cost"]["amount"].as_f64().or(self.cost);
                }
                return false;
            }
            "session_info_update" => {
                self.title = update["title"].as_str().map(str::to_owned).or(self.title.take());
                return false;
            }
            _ => return false,
        }
        true
    }

    /// Takes in what the end of a turn says it took.
    pub fn usage(&mut self, usage: &Value) {
        let count = |name: &str, before: Option<u64>| usage[name].as_u64().or(before);
        self.tokens = Tokens {
            input: count("inputTokens", self.tokens.input),
            output: count("outputTokens", self.tokens.output),
            cached: count("cachedReadTokens", self.tokens.cached),
        };
    }

    /// The part of a tool call, by the program's own id.
    #[must_use]
    pub fn part_of_tool(&self, call: &str) -> Option<&Part> {
        self.parts.iter().rev().find(|part| part.id == tool_id(call))
    }

    fn chunk(&mut self, update: &Value, thought: bool) {
        let speaking = update["messageId"].as_str().map(str::to_owned);
        let content = &update["content"];
        match content["type"].as_str().unwrap_or_default() {
            "text" => self.say(content["text"].as_str().unwrap_or_default(), speaking, thought),
            "image" => {
                let mime_type = content["mimeType"].as_str().unwrap_or("image/png").to_owned();
                let base64 = content["data"].as_str().filter(|data| self.text + data.len() <= MAX_TEXT);
                self.text += base64.map_or(0, str::len);
                let base64 = base64.map(str::to_owned);
                self.add("image", PartBody::Image { mime_type, base64 });
            }
            "resource_link" => {
                let uri = content["uri"].as_str().unwrap_or_default().to_owned();
                let name = content["name"].as_str().map(str::to_owned);
                self.add("file", PartBody::File { uri, name });
            }
            _ => {}
        }
    }

    fn say(&mut self, words: &str, speaking: Option<String>, thought: bool) {
        if words.is_empty() || self.text >= MAX_TEXT {
            return;
        }
        let over = self.text + words.len() > MAX_TEXT;
        let words = if over { &words[..words.floor_char_boundary(MAX_TEXT - self.text)] } else { words };
        self.text = if over { MAX_TEXT } else { self.text + words.len() };
        let same = speaking.is_none() || self.speaking.is_none() || speaking == self.speaking;
        let same = !std::mem::take(&mut self.done) && same;
        self.speaking = speaking.or(self.speaking.take());
        let at = self.parts.len().wrapping_sub(1);
        let last = self.parts.last_mut().map(|part| &mut part.body);
        let goes_on = match last {
            Some(PartBody::Text { text }) if !thought && same => Some(text),
            Some(PartBody::Reasoning { text }) if thought && same => Some(text),
            _ => None,
        };
        match goes_on {
            Some(text) => {
                text.push_str(words);
                if over {
                    text.push_str(CUT);
                }
                self.changed.push(at);
            }
            None => {
                let text = if over { format!("{words}{CUT}") } else { words.to_owned() };
                let body = if thought { PartBody::Reasoning { text } } else { PartBody::Text { text } };
                self.add(if thought { "reasoning" } else { "text" }, body);
            }
        }
    }

    fn tool(&mut self, update: &Value) {
        let Some(call) = update["toolCallId"].as_str() else { return };
        let id = tool_id(call);
        let at = match self.parts.iter().rposition(|part| part.id == id) {
            Some(at) => at,
            None if self.parts.len() < MAX_PARTS => {
                let state = ToolState {
                    status: ToolStatus::Pending,
                    input: Value::Null,
                    output: None,
                    diffs: Vec::new(),
                };
                let (name, title) = ("other".to_owned(), String::new());
                self.parts.push(Part { id, body: PartBody::Tool { name, title, state } });
                self.parts.len() - 1
            }
            None => return,
        };
        let PartBody::Tool { name, title, state } = &mut self.parts[at].body else { return };
        if let Some(kind) = update["kind"].as_str() {
            *name = kind.chars().take(100).collect();
        }
        if let Some(words) = update["title"].as_str() {
            *title = words.chars().take(1_000).collect();
        }
        match update["status"].as_str() {
            Some("pending") => state.status = ToolStatus::Pending,
            Some("in_progress") => state.status = ToolStatus::Running,
            Some("completed") => state.status = ToolStatus::Completed,
            Some("failed") => state.status = ToolStatus::Error,
            _ => {}
        }
        if !update["rawInput"].is_null() {
            state.input = bounded(&update["rawInput"]);
        }
        if let Some(content) = update["content"].as_array() {
            let texts = content.iter().filter_map(|piece| piece["content"]["text"].as_str());
            let text = texts.collect::<Vec<_>>().join("\n");
            state.output =
                Some(end_of(&text, MAX_OUTPUT)).filter(|text| !text.is_empty()).or(state.output.take());
            let mut room = MAX_DIFFS;
            let diffs = content.iter().filter(|piece| piece["type"] == "diff").filter_map(diff);
            let fits = |diff: &FileDiff| {
                let bytes = diff.after.len() + diff.before.as_ref().map_or(0, String::len);
                room = room.saturating_sub(bytes);
                room > 0
            };
            let diffs: Vec<FileDiff> = diffs.take_while(fits).collect();
            if !diffs.is_empty() {
                state.diffs = diffs;
            }
        }
        if state.output.is_none() && !update["rawOutput"].is_null() {
            let text = match &update["rawOutput"] {
                Value::String(text) => text.clone(),
                other => other["output"].as_str().map_or_else(|| other.to_string(), str::to_owned),
            };
            state.output = Some(end_of(&text, MAX_OUTPUT));
        }
        self.done |= matches!(state.status, ToolStatus::Completed | ToolStatus::Error);
        self.changed.push(at);
        self.speaking = None;
    }

    fn plan(&mut self, entries: &Value) {
        let Some(entries) = entries.as_array() else { return };
        let entries = entries.iter().take(200).map(|entry| PlanEntry {
            content: entry["content"].as_str().unwrap_or_default().chars().take(2_000).collect(),
            status: entry["status"].as_str().unwrap_or("pending").chars().take(20).collect(),
        });
        let body = PartBody::Plan { entries: entries.collect() };
        match self.parts.iter().position(|part| matches!(part.body, PartBody::Plan { .. })) {
            Some(at) => {
                self.parts[at].body = body;
                self.changed.push(at);
            }
            None => self.add("plan", body),
        }
    }

    fn add(&mut self, kind: &str, body: PartBody) {
        if self.parts.len() < MAX_PARTS {
            self.parts.push(Part { id: format!("{kind}-{}", self.parts.len() + 1), body });
            self.changed.push(self.parts.len() - 1);
        }
    }
}

fn text_of(body: &PartBody) -> Option<&String> {
    match body {
        PartBody::Text { text } | PartBody::Reasoning { text } => Some(text),
        PartBody::Image { base64, .. } => base64.as_ref(),
        _ => None,
    }
}

fn tool_id(call: &str) -> String {
    format!("tool-{}", call.chars().take(200).collect::<String>())
}

fn diff(piece: &Value) -> Option<FileDiff> {
    let side = |name: &str| piece[name].as_str().map(|text| beginning_of(text, MAX_DIFF));
    let path = piece["path"].as_str()?.chars().take(4_096).collect();
    Some(FileDiff { path, before: side("oldText"), after: side("newText").unwrap_or_default() })
}

fn bounded(value: &Value) -> Value {
    let bytes = value.to_string().len();
    if bytes > MAX_INPUT { Value::from(format!("{bytes} bytes, more than is kept")) } else { value.clone() }
}

fn end_of(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}{}", CUT.trim_start(), &text[text.ceil_char_boundary(text.len() - most)..])
}

fn beginning_of(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}{CUT}", &text[..text.floor_char_boundary(most)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(words: &str) -> Value {
        json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": words } })
    }

    fn told(reply: &Reply) -> Vec<String> {
        let part = |part: &Part| match &part.body {
            PartBody::Text { text } => format!("text {text}"),
            PartBody::Reasoning { text } => format!("thought {text}"),
            PartBody::Tool { name, title, state } => format!("{name} {title} {:?}", state.status),
            PartBody::Plan { entries } => format!("plan of {}", entries.len()),
            PartBody::Image { .. } => "image".to_owned(),
            PartBody::File { uri, .. } => format!("file {uri}"),
        };
        reply.parts().iter().map(part).collect()
    }

    #[test]
    fn words_join_until_something_else_comes() {
        let mut reply = Reply::default();
        let thought =
            json!({ "sessionUpdate": "agent_thought_chunk", "content": { "type": "text", "text": "hm" } });
        let call = json!({
            "sessionUpdate": "tool_call", "toolCallId": "c1", "title": "Read a", "kind": "read", "status": "pending",
            "rawInput": { "path": "a" },
        });
        let done = json!({
            "sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "completed",
            "content": [
                { "type": "content", "content": { "type": "text", "text": "contents" } },
                { "type": "diff", "path": "/a", "oldText": null, "newText": "new" },
            ],
        });
        for update in [&thought, &text("a"), &text("b"), &call, &text("c"), &done, &text("d")] {
            assert!(reply.update(update));
        }
        assert_eq!(told(&reply), ["thought hm", "text ab", "read Read a Completed", "text c", "text d"]);
        assert_eq!(reply.take_changed(), [0, 1, 2, 3, 4]);
        assert_eq!((reply.take_changed(), reply.words()), (vec![], "ab\n\nc\n\nd".to_owned()));
        let PartBody::Tool { state, .. } = &reply.part_of_tool("c1").unwrap().body else { panic!() };
        assert_eq!((state.output.as_deref(), &state.input), (Some("contents"), &json!({ "path": "a" })));
        assert_eq!(state.diffs[0], FileDiff { path: "/a".into(), before: None, after: "new".into() });

        // Two messages of its own are two parts; where it does not say, they are one.
        let of = |id: &str, words: &str| {
            let mut update = text(words);
            update["messageId"] = json!(id);
            update
        };
        let mut reply = Reply::default();
        for update in [of("m1", "a"), of("m1", "b"), of("m2", "c"), text("d")] {
            reply.update(&update);
        }
        assert_eq!(told(&reply), ["text ab", "text cd"]);
    }

    #[test]
    fn a_plan_is_replaced_and_what_is_not_known_passed_over() {
        let mut reply = Reply::default();
        let plan =
            |n: usize| json!({ "sessionUpdate": "plan", "entries": vec![json!({ "content": "x" }); n] });
        reply.update(&plan(2));
        reply.update(&text("a"));
        reply.update(&plan(3));
        assert_eq!(told(&reply), ["plan of 3", "text a"]);
        for other in [json!(null), json!({}), json!({ "sessionUpdate": "cursor_update" }), json!([1])] {
            assert!(!reply.update(&other));
        }
        assert!(!reply.update(
            &json!({ "sessionUpdate": "usage_update", "cost": { "amount": 0.5, "currency": "USD" } })
        ));
        reply.usage(&json!({ "inputTokens": 7, "outputTokens": 3 }));
        assert_eq!((reply.cost, reply.tokens.input, reply.tokens.cached), (Some(0.5), Some(7), None));
    }

    #[test]
    fn an_answer_without_end_stays_bounded() {
        let mut reply = Reply::default();
        let megabyte = "ä".repeat(512 * 1024);
        for _ in 0..100 {
            reply.update(&text(&megabyte));
        }
        assert!(reply.words().len() <= MAX_TEXT + CUT.len() && reply.words().ends_with(CUT));
        for n in 0..10_000 {
            reply.update(&json!({ "sessionUpdate": "tool_call", "toolCallId": n.to_string() }));
        }
        assert_eq!(reply.parts().len(), MAX_PARTS);
        let mut reply = Reply::default();
        let large = json!({
            "sessionUpdate": "tool_call_update", "toolCallId": "c", "rawInput": "x".repeat(MAX_INPUT),
            "rawOutput": "é".repeat(MAX_OUTPUT),
        });
        reply.update(&large);
        let PartBody::Tool { state, .. } = &reply.parts()[0].body else { panic!() };
        assert!(state.output.as_ref().unwrap().len() <= MAX_OUTPUT + CUT.len());
        assert!(state.input.as_str().unwrap().ends_with("more than is kept"));
    }
}
