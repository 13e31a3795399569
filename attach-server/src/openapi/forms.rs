//! Names every form of what has several, and refers to rows of lists by their names: generators of clients make a type
//! of each schema, cannot make one of a form without a name or of an object laid over several, and make a second one of
//! a schema that is written out twice.

use serde_json::{Map, Value, json};

use super::BadDocument;

/// What a change is of, and the schema of such a change.
const CHANGES: [(&str, &str); 4] = [
    ("agent", "AgentChange"),
    ("session", "SessionChange"),
    ("memory", "MemoryChange"),
    ("none", "ResetChange"),
];
/// The forms of an MCP server that are objects, in the order of the type's variants.
const MCP_SERVERS: [&str; 2] = ["McpHttpServer", "McpCommandServer"];

/// What a form is called in the data, and its schema.
type Named = (&'static str, &'static str);
/// What is one of several forms by its `type`, where the forms are, and what each is called.
const TAGGED: [(&str, &str, &[Named]); 2] = [
    (
        "Part",
        "PartBody",
        &[
            ("text", "TextPart"),
            ("reasoning", "ReasoningPart"),
            ("tool", "ToolPart"),
            ("plan", "PlanPart"),
            ("image", "ImagePart"),
            ("file", "FilePart"),
        ],
    ),
    ("SendPart", "SendPart", &[("text", "SendTextPart"), ("image", "SendImagePart")]),
];

/// Names them all.
pub(super) fn name(document: &mut Value) -> Result<(), BadDocument> {
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut)
        .ok_or_else(|| BadDocument("there are no schemas".to_owned()))?;
    mcp_servers(schemas)?;
    rows(schemas);
    for (whole, forms, names) in TAGGED {
        tagged(schemas, whole, forms, names)?;
    }
    changes(schemas)
}

/// What has forms by its `type`: each form becomes one object with what all have in common.
fn tagged(
    schemas: &mut Map<String, Value>,
    whole: &str,
    forms: &str,
    names: &[Named],
) -> Result<(), BadDocument> {
    let bad = |what: &str| BadDocument(format!("{whole} {what}"));
    let found = std::mem::take(forms_of(schemas, forms)?);
    let before = schemas.get(whole).ok_or_else(|| bad("is not there"))?;
    let description = before["description"].clone();
    let parts = before["allOf"].as_array().into_iter().flatten();
    let common = parts.clone().find(|part| part["properties"].is_object()).cloned().unwrap_or_default();
    if forms != whole {
        schemas.remove(forms);
    }
    if found.len() != names.len() {
        return Err(bad("has forms without names"));
    }
    let mut mapping = Map::new();
    for (kind, name) in names {
        let form = found
            .iter()
            .find(|form| form["properties"]["type"]["enum"] == json!([kind]))
            .ok_or_else(|| bad(&format!("has no form for {kind}")))?;
        schemas.insert((*name).to_owned(), laid_over(&common, form));
        mapping.insert((*kind).to_owned(), json!(format!("#/components/schemas/{name}")));
    }
    let named: Vec<Value> = names.iter().map(|(_, name)| reference(name)).collect();
    let whole_schema = json!({
        "description": description,
        "oneOf": named,
        "discriminator": { "propertyName": "type", "mapping": mapping },
    });
    schemas.insert(whole.to_owned(), whole_schema);
    Ok(())
}

/// What a page's rows are stands in its name.
fn rows(schemas: &mut Map<String, Value>) {
    for (name, page) in schemas.iter_mut() {
        if let (Some(row), Some(items)) =
            (name.strip_prefix("Page_"), page.pointer_mut("/properties/data/items"))
        {
            *items = reference(row);
        }
    }
}

fn mcp_servers(schemas: &mut Map<String, Value>) -> Result<(), BadDocument> {
    let forms = forms_of(schemas, "McpServer")?;
    let objects = forms.iter_mut().filter(|form| form["type"] == "object");
    let named: Vec<(&str, Value)> = MCP_SERVERS
        .into_iter()
        .zip(objects)
        .map(|(name, form)| (name, std::mem::replace(form, reference(name))))
        .collect();
    schemas.extend(named.into_iter().map(|(name, form)| (name.to_owned(), form)));
    Ok(())
}

/// A change is an object with a form of the resource laid over it: each form becomes one object.
fn changes(schemas: &mut Map<String, Value>) -> Result<(), BadDocument> {
    let bad = |what: &str| BadDocument(format!("Change {what}"));
    let forms = std::mem::take(forms_of(schemas, "Resource")?);
    schemas.remove("Resource");
    let change = schemas.get("Change").ok_or_else(|| bad("is not there"))?;
    let description = change["description"].clone();
    let common = change["allOf"]
        .as_array()
        .and_then(|parts| parts.iter().find(|part| part["properties"].is_object()))
        .cloned()
        .ok_or_else(|| bad("has no properties of its own"))?;
    let mut mapping = Map::new();
    for (kind, name) in CHANGES {
        let form = forms
            .iter()
            .find(|form| form["properties"]["resource"]["enum"] == json!([kind]))
            .ok_or_else(|| bad(&format!("has no form for {kind}")))?;
        schemas.insert(name.to_owned(), laid_over(&common, form));
        mapping.insert(kind.to_owned(), json!(format!("#/components/schemas/{name}")));
    }
    let change = json!({
        "description": description,
        "oneOf": CHANGES.map(|(_, name)| reference(name)),
        "discriminator": { "propertyName": "resource", "mapping": mapping },
    });
    schemas.insert("Change".to_owned(), change);
    Ok(())
}

/// One object with the properties of both.
fn laid_over(common: &Value, form: &Value) -> Value {
    let mut whole = form.clone();
    let both = |name: &str| [&common[name], &form[name]];
    let properties: Map<String, Value> =
        both("properties").into_iter().filter_map(Value::as_object).flat_map(Map::clone).collect();
    let required: Vec<Value> =
        both("required").into_iter().filter_map(Value::as_array).flatten().cloned().collect();
    whole["properties"] = Value::Object(properties);
    whole["required"] = Value::Array(required);
    whole
}

fn forms_of<'a>(schemas: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Vec<Value>, BadDocument> {
    schemas
        .get_mut(name)
        .and_then(|schema| schema.get_mut("oneOf"))
        .and_then(Value::as_array_mut)
        .ok_or_else(|| BadDocument(format!("{name} no longer has several forms")))
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
