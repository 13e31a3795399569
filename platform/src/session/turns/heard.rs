//! What the agent's program says, and what is made of it.

use lap_wire::control::{Attention, ServerMessage};
use serde_json::Value;

use super::super::SessionError;
use super::super::supervise::describe;
use super::talk::{Ended, LAST_WORDS, SAVE_EVERY, Talk};
use crate::acp::{Incoming, RpcError, request};
use crate::link::ChannelEvent;
use crate::model::{Delivery, Permission, PermissionId, PermissionOption, TurnStatus};
use crate::store::{Stage, Step};

/// How harnesses call the tools of the platform's own MCP server.
const OWN_TOOLS: &str = "mcp__lap__";

/// Whether a call is of one of the platform's own tools, which do nothing but what a session may. Of a command the title is
/// the command itself, and that is another matter.
fn is_own_tool(call: &Value) -> bool {
    let name = call["title"].as_str().and_then(|title| title.strip_prefix(OWN_TOOLS));
    let is_name = name
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    is_name && call["kind"] != "execute"
}

impl Talk<'_> {
    pub(super) async fn output(&mut self, event: ChannelEvent) -> Result<Option<Ended>, SessionError> {
        match event {
            ChannelEvent::Output { offset, bytes } => {
                self.lines.push(offset, &bytes);
                while let Some(line) = self.lines.next_line() {
                    let Some(incoming) = Incoming::parse(line) else { continue };
                    if let Some(ended) = self.incoming(incoming).await? {
                        return Ok(Some(ended));
                    }
                }
                if self.unsaved && self.saved_at.elapsed() >= SAVE_EVERY {
                    self.save(Step::default()).await?;
                } else {
                    self.unsaved |= self.lines.given() > self.conversation.read_at;
                }
                Ok(None)
            }
            ChannelEvent::Message(ServerMessage::Exit(status)) => {
                let _ = tokio::time::timeout(LAST_WORDS, self.last_complaints()).await;
                let why = format!("the agent's program {}{}", describe(&status), self.words());
                if self.turn.is_some() || self.conversation.stage == Stage::Ready {
                    self.finish(TurnStatus::Failed, None, Some(&why)).await?;
                    return self.end_program().await.map(Some);
                }
                self.give_up(&why).await.map(Some)
            }
            ChannelEvent::Message(ServerMessage::Skipped { .. }) => {
                let why = "some of what the agent said was lost on the way";
                self.finish(TurnStatus::Failed, None, Some(why)).await?;
                self.end_program().await.map(Some)
            }
            ChannelEvent::Message(ServerMessage::Closed { reason }) => {
                Err(SessionError::Sandbox(format!("the agent's program cannot be heard: {reason}")))
            }
            _ => Ok(None),
        }
    }

    /// Takes what a program that has ended complained to the end.
    async fn last_complaints(&mut self) {
        while let Ok(event) = self.running.complaints.next().await {
            match event {
                ChannelEvent::Output { bytes, .. } => self.complaints.push(&bytes),
                ChannelEvent::Message(ServerMessage::Exit(_) | ServerMessage::Closed { .. }) => return,
                _ => {}
            }
        }
    }

    /// The last lines of what the program complained, as the end of a sentence.
    pub(super) fn words(&self) -> String {
        let lines = self.complaints.last_lines();
        if lines.is_empty() { String::new() } else { format!(". It last printed:\n{}", lines.join("\n")) }
    }

    async fn incoming(&mut self, incoming: Incoming) -> Result<Option<Ended>, SessionError> {
        match incoming {
            Incoming::Response { id, result } => return self.response(id, result).await,
            Incoming::Notification { method, params } if method == "session/update" => {
                // What it says again while it takes a conversation up was heard before.
                if let (Stage::Ready, Some(turn)) = (self.conversation.stage, &mut self.turn) {
                    self.reply.update(&params["update"]);
                    turn.delivery = Delivery::Confirmed;
                    self.unsaved = true;
                    if let Some(entry) = self.inner.table.get(self.id()) {
                        entry.note_activity(self.inner.clock.now());
                    }
                }
            }
            Incoming::Notification { .. } => {}
            Incoming::Request { id, method, params } if method == "session/request_permission" => {
                self.asked(id, &params).await?;
            }
            Incoming::Request { id, method, .. } => {
                self.write(&request::unknown(&id, &method), Step::default()).await?;
            }
        }
        Ok(None)
    }

    /// The agent asks to be allowed something.
    async fn asked(&mut self, request: Value, params: &Value) -> Result<(), SessionError> {
        let call = &params["toolCall"];
        // Some tell of a tool in the question alone.
        let mut update = call.clone();
        update["sessionUpdate"] = "tool_call_update".into();
        self.reply.update(&update);
        let options: Vec<PermissionOption> = params["options"]
            .as_array()
            .into_iter()
            .flatten()
            .take(20)
            .map(|option| {
                let text = |name: &str| option[name].as_str().unwrap_or_default().chars().take(200).collect();
                PermissionOption { id: text("optionId"), name: text("name"), kind: text("kind") }
            })
            .collect();
        let allow = options.iter().find(|option| option.kind.starts_with("allow"));
        let Some(turn) = &mut self.turn else {
            return self.write(&request::permit(&request, None), Step::default()).await;
        };
        if self.place.confined || is_own_tool(call) {
            let line = request::permit(&request, allow.map(|option| option.id.as_str()));
            return self.write(&line, Step::default()).await;
        }
        let part = call["toolCallId"].as_str().and_then(|call| self.reply.part_of_tool(call));
        let title = call["title"].as_str().unwrap_or("use a tool").chars().take(1_000).collect();
        let permission = Permission {
            id: PermissionId::new(),
            session_id: turn.session_id,
            turn_id: turn.id,
            title,
            part_id: part.map(|part| part.id.clone()),
            options,
            answer: None,
            created_at: self.inner.store.now(),
        };
        turn.delivery = Delivery::Confirmed;
        self.save(Step { asked: Some((permission, request)), ..Step::default() }).await?;
        self.entry_attention(Some(Attention::WaitingPermission));
        Ok(())
    }

    async fn response(
        &mut self,
        id: u64,
        result: Result<Value, RpcError>,
    ) -> Result<Option<Ended>, SessionError> {
        if self.turn.as_ref().is_some_and(|turn| turn.request == Some(id)) {
            match result {
                Ok(result) => {
                    self.reply.usage(&result["usage"]);
                    let reason = result["stopReason"].as_str().unwrap_or("end_turn").to_owned();
                    let status = if reason == "cancelled" { TurnStatus::Cancelled } else { TurnStatus::Done };
                    self.finish(status, Some(&reason), None).await?;
                }
                Err(error) => {
                    if let Some(turn) = &mut self.turn
                        && self.reply.parts().is_empty()
                    {
                        turn.delivery = Delivery::Refused;
                    }
                    self.finish(TurnStatus::Failed, None, Some(&error.message)).await?;
                }
            }
            self.go_on().await?;
            return Ok(None);
        }
        match (self.conversation.stage, result) {
            (Stage::Initializing(asked), Ok(can)) if asked == id => {
                let can = &can["agentCapabilities"];
                self.conversation.loads = can["loadSession"].as_bool().unwrap_or_default();
                self.conversation.takes_prompt = !can["sessionCapabilities"]["systemPrompt"].is_null();
                self.open_session().await?;
            }
            (Stage::Loading(asked), Ok(_)) if asked == id => self.opened().await?,
            (Stage::Loading(asked), Err(error)) if asked == id => {
                tracing::info!(session = %self.id(), error = error.message, "a conversation cannot be taken up again");
                self.conversation.acp_session = None;
                self.open_session().await?;
            }
            (Stage::Opening(asked), Ok(opened)) if asked == id => {
                self.conversation.acp_session = opened["sessionId"].as_str().map(str::to_owned);
                self.opened().await?;
            }
            (Stage::Initializing(asked) | Stage::Opening(asked), Err(error)) if asked == id => {
                let why = format!("the agent's program would not begin: {}{}", error.message, self.words());
                return self.give_up(&why).await.map(Some);
            }
            // Of a mode that it does not have, or of something before a crash.
            _ => {}
        }
        Ok(None)
    }

    /// Asks for a conversation: the one that was, or a new one.
    async fn open_session(&mut self) -> Result<(), SessionError> {
        let id = self.next_request();
        let before = self.conversation.acp_session.clone().filter(|_| self.conversation.loads);
        let instructions = self.place.instructions.clone().filter(|_| self.conversation.takes_prompt);
        let servers = self.inner.tool_servers(&self.place.agent, self.place.record.id);
        let opening = request::Opening {
            cwd: &self.place.cwd,
            mcp_servers: &servers,
            system_prompt: instructions.as_deref(),
        };
        let line = match before {
            Some(session) => {
                self.conversation.stage = Stage::Loading(id);
                request::load_session(id, &session, &opening)
            }
            None => {
                self.conversation.stage = Stage::Opening(id);
                request::new_session(id, &opening)
            }
        };
        self.write(&line, Step::default()).await
    }

    /// The program has a conversation.
    async fn opened(&mut self) -> Result<(), SessionError> {
        self.conversation.stage = Stage::Ready;
        let harness = &self.place.harness;
        let mode = if self.place.confined { &harness.bypass.acp_mode } else { &harness.acp_ask_mode };
        let mode = mode.clone();
        if let (Some(mode), Some(session)) = (mode, self.conversation.acp_session.clone()) {
            let id = self.next_request();
            self.write(&request::set_mode(id, &session, &mode), Step::default()).await?;
        }
        self.go_on().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_own_tool;

    #[test]
    fn only_the_platforms_own_tools_are_allowed_unasked() {
        assert!(is_own_tool(&json!({ "title": "mcp__lap__save_memory", "kind": "other" })));
        assert!(is_own_tool(&json!({ "title": "mcp__lap__save_memory" })));
        for other in [
            json!({ "title": "mcp__lap__save_memory", "kind": "execute" }),
            json!({ "title": "mcp__lap__x; rm -rf ~" }),
            json!({ "title": "mcp__lap__" }),
            json!({ "title": "mcp__other__save_memory" }),
            json!({}),
        ] {
            assert!(!is_own_tool(&other), "{other}");
        }
    }
}
