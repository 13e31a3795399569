//! What is written to an agent's program: each a line of JSON-RPC 2.0.

use serde_json::{Value, json};

use crate::harness::{ToolPlace, ToolServer};
use crate::model::{Part, PartBody};

/// The version of the protocol that is spoken.
const VERSION: u64 = 1;
/// JSON-RPC's code for a method that is not known.
const NO_SUCH_METHOD: i64 = -32601;

/// What a session of the program begins with.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The directory it works in.
    pub cwd: &'a str,
    /// MCP servers for it.
    pub mcp_servers: &'a [ToolServer],
    /// Added to its system prompt, where it can.
    pub system_prompt: Option<&'a str>,
}

/// The first request: what either side can do.
#[must_use]
pub fn initialize(id: u64) -> Vec<u8> {
    let client = json!({ "name": "lap", "title": "lap", "version": env!("CARGO_PKG_VERSION") });
    // It has its own files and terminals: it is in the sandbox, and we are not.
    let can = json!({ "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false });
    let params = json!({ "protocolVersion": VERSION, "clientInfo": client, "clientCapabilities": can });
    request(id, "initialize", &params)
}

/// A new session.
#[must_use]
pub fn new_session(id: u64, opening: &Opening<'_>) -> Vec<u8> {
    request(id, "session/new", &opened(opening))
}

/// A session that was, again: what was said in it is said again before the answer.
#[must_use]
pub fn load_session(id: u64, session: &str, opening: &Opening<'_>) -> Vec<u8> {
    let mut params = opened(opening);
    params["sessionId"] = json!(session);
    request(id, "session/load", &params)
}

/// Sets the mode of a session, such as one in which it does not ask.
#[must_use]
pub fn set_mode(id: u64, session: &str, mode: &str) -> Vec<u8> {
    request(id, "session/set_mode", &json!({ "sessionId": session, "modeId": mode }))
}

/// What somebody says.
#[must_use]
pub fn prompt(id: u64, session: &str, parts: &[Part]) -> Vec<u8> {
    let blocks: Vec<Value> = parts.iter().filter_map(block).collect();
    request(id, "session/prompt", &json!({ "sessionId": session, "prompt": blocks }))
}

/// The turn is to end.
#[must_use]
pub fn cancel(session: &str) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": { "sessionId": session } }))
}

/// The answer to a request for permission: the option, or none.
#[must_use]
pub fn permit(id: &Value, option: Option<&str>) -> Vec<u8> {
    let outcome = match option {
        Some(option) => json!({ "outcome": "selected", "optionId": option }),
        None => json!({ "outcome": "cancelled" }),
    };
    line(&json!({ "jsonrpc": "2.0", "id": id, "result": { "outcome": outcome } }))
}

/// The answer to a request for what there is not.
#[must_use]
pub fn unknown(id: &Value, method: &str) -> Vec<u8> {
    let error = json!({ "code": NO_SUCH_METHOD, "message": format!("there is no {method}") });
    line(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

fn opened(opening: &Opening<'_>) -> Value {
    let servers: Vec<Value> = opening.mcp_servers.iter().map(server).collect();
    let mut params = json!({ "cwd": opening.cwd, "mcpServers": servers });
    if let Some(text) = opening.system_prompt {
        let content = json!([{ "type": "text", "text": text }]);
        params["systemPrompt"] = json!({ "mode": "append", "content": content });
    }
    params
}

fn server(server: &ToolServer) -> Value {
    let name = &server.name;
    let pairs = |map: &std::collections::BTreeMap<String, String>| -> Vec<Value> {
        map.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    match &server.place {
        ToolPlace::Http { url, headers } => {
            json!({ "type": "http", "name": name, "url": url, "headers": pairs(headers) })
        }
        ToolPlace::Command { argv, env } => {
            let args = argv.get(1..).unwrap_or_default();
            json!({ "name": name, "command": argv.first(), "args": args, "env": pairs(env) })
        }
    }
}

fn block(part: &Part) -> Option<Value> {
    match &part.body {
        PartBody::Text { text } => Some(json!({ "type": "text", "text": text })),
        PartBody::Image { mime_type, base64: Some(data) } => {
            Some(json!({ "type": "image", "mimeType": mime_type, "data": data }))
        }
        _ => None,
    }
}

fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}
