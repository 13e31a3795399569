//! The limits and forms of requests' fields, written into the API's document.

use lap_platform::model::validate::limits as max;
use serde_json::{Value, json};

use super::{BadDocument, at};

/// One plain line: no control characters, and not only spaces.
const LINE: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\u0000-\u0020\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
const ENV_NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const IMAGE: &str = "^[A-Za-z0-9][A-Za-z0-9._/:@-]*$";
const EGRESS: &str = concat!(
    r"^((\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*(?![0-9]+$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?",
    r"|(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}(/(3[0-2]|[12]?[0-9]))?",
    r"|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$",
);
const QUANTITY: &str = r"^(?=.*[1-9])[0-9]{1,16}(m|(\.[0-9]{1,3})?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?)$";
const SLUG: &str = "^[a-z0-9]+(-[a-z0-9]+)*$";
const DNS_LABEL: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
const REPO_URL: &str = concat!(
    r"^((https://|ssh://([A-Za-z0-9._][A-Za-z0-9._-]*@)?)([A-Za-z0-9._][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])",
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?/[!-~]+",
    r"|file:///[!-~]+",
    r"|[A-Za-z0-9._][A-Za-z0-9._-]*@[A-Za-z0-9._][A-Za-z0-9._-]*:[!-,.-~][!-~]*)$",
);
const BRANCH: &str = concat!(
    r"^(?!@$)(?!.*(\.\.|@\{|//|/\.|\.lock(/|$)))(?![-/.])",
    r"[^\u0000-\u0020~^:?*\[\\\u007f-\u009f]*[^\u0000-\u0020~^:?*\[\\\u007f-\u009f./]$",
);
const MCP_NAME: &str = "^[A-Za-z0-9._-]+$";
const HTTP_URL: &str = "^https?://[!-\"$-.0-~][!-~]*$";

/// What a change cannot clear. For the types, `null` and absence are the same there.
const NOT_NULL: [&str; 11] = [
    "name",
    "model",
    "mcp_servers",
    "env_vars",
    "env_var_hosts",
    "allow_out",
    "deny_out",
    "skill_ids",
    "preload_memory_limit",
    "resources",
    "idle_timeout_seconds",
];

/// Writes the limits of requests into the document.
pub(super) fn apply(document: &mut Value) -> Result<(), BadDocument> {
    for schema in ["AgentSpec", "AgentPatch"] {
        let mut set = |property: &str, limits: Value| merge(at(document, schema, property)?, limits);
        set("name", line(max::NAME_CHARS))?;
        set("model", line(max::NAME_CHARS))?;
        set("prompt", json!({ "maxLength": max::PROMPT_BYTES }))?;
        set("harness_image", json!({ "minLength": 1, "maxLength": max::IMAGE_CHARS, "pattern": IMAGE }))?;
        set("branch", json!({ "minLength": 1, "maxLength": max::BRANCH_CHARS, "pattern": BRANCH }))?;
        set("repo_url", json!({ "maxLength": max::REPO_URL_CHARS, "pattern": REPO_URL }))?;
        set("requirements", json!({ "maxLength": max::REQUIREMENTS_BYTES }))?;
        set("mcp_servers", json!({ "maxItems": max::MCP_SERVERS }))?;
        set("env_vars", env_vars())?;
        set("env_var_hosts", env_var_hosts())?;
        for list in ["allow_out", "deny_out"] {
            set(list, json!({ "maxItems": max::EGRESS_PATTERNS, "items": egress() }))?;
        }
        set("skill_ids", json!({ "maxItems": max::AGENT_SKILLS }))?;
        set("preload_memory_limit", json!({ "minimum": 0, "maximum": max::PRELOAD_MEMORIES }))?;
        let (least, most) = (max::IDLE_MIN_SECONDS, max::IDLE_MAX_SECONDS);
        set("idle_timeout_seconds", json!({ "minimum": least, "maximum": most }))?;
        set("max_sessions", json!({ "minimum": 1, "maximum": max::MAX_SESSIONS }))?;
    }
    for property in NOT_NULL {
        not_null(at(document, "AgentPatch", property)?);
    }
    for amount in ["cpu", "memory", "ephemeral_storage"] {
        let limits = json!({ "maxLength": max::QUANTITY_CHARS, "pattern": QUANTITY });
        merge(at(document, "ResourceAmounts", amount)?, limits)?;
    }
    let limits = json!({ "maxLength": max::RUNTIME_CLASS_CHARS, "pattern": DNS_LABEL });
    merge(at(document, "Resources", "runtime_class")?, limits)?;
    mcp_servers(document)?;
    memories(document)?;
    skills(document)?;
    sessions(document)
}

fn memories(document: &mut Value) -> Result<(), BadDocument> {
    for schema in ["MemorySpec", "MemoryPatch"] {
        let mut set = |property: &str, limits: Value| merge(at(document, schema, property)?, limits);
        let text =
            json!({ "minLength": 1, "maxLength": max::MEMORY_CHARS, "pattern": r"^[^\u0000]*\S[^\u0000]*$" });
        set("text", text)?;
        let mut tag = line(max::MEMORY_TAG_CHARS);
        tag["pattern"] = json!(LINE.replace("\\u007f-", "\\u0022\\u005c\\u007f-"));
        set("tags", json!({ "maxItems": max::MEMORY_TAGS, "items": tag }))?;
        set("priority", json!({ "minimum": -max::MEMORY_PRIORITY, "maximum": max::MEMORY_PRIORITY }))?;
    }
    for property in ["text", "tags", "type", "priority", "pinned", "disabled"] {
        not_null(at(document, "MemoryPatch", property)?);
    }
    Ok(())
}

fn skills(document: &mut Value) -> Result<(), BadDocument> {
    for schema in ["SkillSpec", "SkillPatch", "AttachSkill"] {
        let mut set = |property: &str, limits: Value| merge(at(document, schema, property)?, limits);
        set("name", json!({ "minLength": 1, "maxLength": max::SKILL_NAME_CHARS, "pattern": SLUG }))?;
        let text = r"^[\t\n\u0020-\u007e\u00a0-\uffff]*$";
        set(
            "description",
            json!({ "minLength": 1, "maxLength": max::SKILL_DESCRIPTION_CHARS, "pattern": text }),
        )?;
        set("content", json!({ "minLength": 1, "maxLength": max::SKILL_BYTES }))?;
    }
    for property in ["name", "description", "content"] {
        not_null(at(document, "SkillPatch", property)?);
    }
    Ok(())
}

fn sessions(document: &mut Value) -> Result<(), BadDocument> {
    for schema in ["CreateSession", "SessionPatch"] {
        merge(at(document, schema, "title")?, line(max::NAME_CHARS))?;
    }
    let mut set =
        |schema: &str, property: &str, limits: Value| merge(at(document, schema, property)?, limits);
    set("CreateSession", "initial_prompt", json!({ "maxLength": max::PROMPT_BYTES }))?;
    set("CreateSession", "initial_attachments", json!({ "maxItems": max::ATTACHMENTS }))?;
    set("CreateSession", "env_vars", env_vars())?;
    set("CreateSession", "skill_ids", json!({ "maxItems": max::SESSION_SKILLS }))?;
    let name = json!({ "maxLength": max::ATTACHMENT_NAME_CHARS, "pattern": LINE.replace("\\u007f-", "\\u002f\\u007f-") });
    set("Attachment", "name", name)?;
    set("Attachment", "mime_type", json!({ "enum": max::ATTACHMENT_TYPES }))?;
    let base64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
    let base64 = json!({ "minLength": 4, "maxLength": max::ATTACHMENT_BASE64_CHARS, "pattern": base64 });
    set("Attachment", "base64", base64)?;
    let word = json!({ "maxLength": max::EXEC_WORD_BYTES });
    let program = json!({ "type": "string", "minLength": 1, "maxLength": max::EXEC_WORD_BYTES });
    let command =
        json!({ "minItems": 1, "maxItems": max::EXEC_WORDS, "prefixItems": [program], "items": word });
    set("ExecRequest", "command", command)?;
    set("ExecRequest", "timeout_seconds", json!({ "minimum": 1, "maximum": max::EXEC_MAX_SECONDS }))
}

/// Takes `null` out of what a schema allows.
fn not_null(schema: &mut Value) {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
    }
    if let Some(forms) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        forms.retain(|form| form["type"] != "null");
    }
}

/// Lays limits over a schema.
fn merge(schema: &mut Value, limits: Value) -> Result<(), BadDocument> {
    let (Value::Object(schema), Value::Object(limits)) = (schema, limits) else {
        return Err(BadDocument("limits can be laid only over an object".to_owned()));
    };
    for (name, limit) in limits {
        match (schema.get_mut(&name), limit) {
            (Some(below @ Value::Object(_)), limit @ Value::Object(_)) => merge(below, limit)?,
            (_, limit) => {
                schema.insert(name, limit);
            }
        }
    }
    Ok(())
}

fn line(chars: usize) -> Value {
    json!({ "minLength": 1, "maxLength": chars, "pattern": LINE })
}

fn egress() -> Value {
    json!({ "minLength": 1, "maxLength": max::EGRESS_CHARS, "pattern": EGRESS })
}

fn env_name() -> Value {
    let reserved = max::RESERVED_ENV.join("|");
    let prefix = max::RESERVED_ENV_PREFIX;
    json!({ "pattern": ENV_NAME.replace('^', &format!("^(?!({reserved})$|{prefix})")) })
}

fn env_vars() -> Value {
    json!({ "maxProperties": max::ENV_KEYS, "propertyNames": env_name() })
}

fn env_var_hosts() -> Value {
    let hosts = json!({ "minItems": 1, "maxItems": max::ENV_HOSTS, "items": egress() });
    json!({ "propertyNames": env_name(), "additionalProperties": hosts })
}

/// The forms of an MCP server, in the order of the type's variants.
fn mcp_servers(document: &mut Value) -> Result<(), BadDocument> {
    let name = json!({ "minLength": 1, "maxLength": max::MCP_NAME_CHARS, "pattern": MCP_NAME });
    let value = json!({ "maxLength": max::MCP_VALUE_CHARS });
    let header = json!({ "maxLength": max::MCP_VALUE_CHARS, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$" });
    let token = json!({ "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" });
    let forms = document
        .pointer_mut("/components/schemas/McpServer/oneOf")
        .and_then(Value::as_array_mut)
        .map(Vec::as_mut_slice);
    let Some([named, http, command]) = forms else {
        return Err(BadDocument("McpServer no longer has three forms".to_owned()));
    };
    merge(named, name.clone())?;
    merge(
        http,
        json!({
            "additionalProperties": false,
            "properties": {
                "name": name,
                "url": { "maxLength": max::MCP_VALUE_CHARS, "pattern": HTTP_URL },
                "headers": { "maxProperties": max::MCP_HEADERS, "propertyNames": token, "additionalProperties": header },
            },
        }),
    )?;
    merge(
        command,
        json!({
            "additionalProperties": false,
            "properties": {
                "name": name,
                "command": { "minLength": 1, "maxLength": max::MCP_VALUE_CHARS },
                "args": { "maxItems": max::MCP_ARGS, "items": value },
            },
        }),
    )
}
