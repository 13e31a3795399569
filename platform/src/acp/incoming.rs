//! What a line of an agent's program says.

use serde_json::Value;

/// A line of JSON-RPC 2.0.
#[derive(Clone, PartialEq, Debug)]
pub enum Incoming {
    /// The answer to a request of ours.
    Response {
        /// Which.
        id: u64,
        /// What came of it.
        result: Result<Value, RpcError>,
    },
    /// The agent asks for something.
    Request {
        /// To be answered with; a number or a text.
        id: Value,
        /// What for.
        method: String,
        /// With what.
        params: Value,
    },
    /// The agent tells something.
    Notification {
        /// What.
        method: String,
        /// With what.
        params: Value,
    },
}

/// That a request was refused.
#[derive(Clone, PartialEq, Debug)]
pub struct RpcError {
    /// JSON-RPC's code.
    pub code: i64,
    /// In words.
    pub message: String,
}

impl Incoming {
    /// What a line says; nothing where it is none of the protocol: programs print other things in between.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Incoming> {
        let Value::Object(mut fields) = serde_json::from_slice(line).ok()? else { return None };
        let mut take = |name: &str| fields.remove(name);
        let (id, method, params) = (take("id"), take("method"), take("params").unwrap_or_default());
        let id = id.filter(|id| !id.is_null());
        match (id, method) {
            (Some(id), Some(Value::String(method))) => Some(Incoming::Request { id, method, params }),
            (None, Some(Value::String(method))) => Some(Incoming::Notification { method, params }),
            (Some(id), None) => {
                let id = id.as_u64()?;
                let result = match (take("result"), take("error")) {
                    (_, Some(error)) if !error.is_null() => Err(RpcError::of(&error)),
                    (result, _) => Ok(result.unwrap_or_default()),
                };
                Some(Incoming::Response { id, result })
            }
            _ => None,
        }
    }
}

impl RpcError {
    fn of(error: &Value) -> RpcError {
        let message = error["message"].as_str().unwrap_or("it gives no reason");
        // Many put what matters into the data.
        let detail = match &error["data"] {
            Value::String(text) => Some(text.as_str()),
            data => ["message", "details", "error"].iter().find_map(|name| data[*name].as_str()),
        };
        let message = match detail.filter(|detail| !message.contains(*detail)) {
            Some(detail) => format!("{message}: {detail}"),
            None => message.to_owned(),
        };
        RpcError { code: error["code"].as_i64().unwrap_or_default(), message }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_told_apart_and_other_things_passed_over() {
        let said = |text: &str| Incoming::parse(text.as_bytes());
        assert_eq!(
            said(r#"{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}"#),
            Some(Incoming::Response { id: 3, result: Ok(json!({ "stopReason": "end_turn" })) })
        );
        let error = r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"Auth","data":{"details":"no key"}}}"#;
        let refused = RpcError { code: -32000, message: "Auth: no key".into() };
        assert_eq!(said(error), Some(Incoming::Response { id: 3, result: Err(refused) }));
        assert_eq!(
            said(r#"{"id":"a","method":"m","params":[1]}"#),
            Some(Incoming::Request { id: json!("a"), method: "m".into(), params: json!([1]) })
        );
        assert_eq!(
            said(r#"{"method":"m"}"#),
            Some(Incoming::Notification { method: "m".into(), params: Value::Null })
        );
        for other in ["", "loading…", "[]", "{}", "{\"id\":1.5}", "{\"id\":\"ours are numbers\"}", "\u{0}"]
        {
            assert_eq!(said(other), None, "{other}");
        }
    }
}
