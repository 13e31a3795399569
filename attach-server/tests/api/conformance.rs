//! Whether answers are what `openapi.json` says they are.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Answer;

pub(crate) struct Document(Value);

impl Document {
    pub(crate) fn new(document: Value) -> Document {
        Document(document)
    }

    /// Every path, method and operation.
    pub(crate) fn operations(&self) -> Vec<(String, Method, Value)> {
        let paths = self.0["paths"].as_object().unwrap();
        let of_path = |(path, item): (&String, &Value)| {
            let item = item.as_object().unwrap().clone();
            let path = path.clone();
            item.into_iter().map(move |(method, operation)| {
                (path.clone(), method.to_uppercase().parse().unwrap(), operation)
            })
        };
        paths.iter().flat_map(of_path).collect()
    }

    /// A checker of that schema.
    pub(crate) fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
    }

    /// Panics where the document does not have the answer, or has another.
    pub(crate) fn judge(&self, method: &Method, path: &str, answer: &Answer) {
        let status = answer.status.as_u16().to_string();
        let found = self
            .operations()
            .into_iter()
            .find(|(template, known, _)| known == method && fits(template, path));
        let Some((template, _, operation)) = found else {
            assert!(
                matches!(answer.status.as_u16(), 404 | 405),
                "{method} {path} is not in the document: {answer:?}"
            );
            self.judge_error(answer);
            return;
        };
        let documented = &operation["responses"][&status];
        assert!(
            documented.is_object(),
            "{method} {template} answers {status}, which is not documented: {answer:?}"
        );
        let content = documented["content"].as_object();
        let Some((kind, media)) = content.and_then(|content| content.iter().next()) else {
            assert_eq!(answer.text, "", "{method} {template} {status} has no body in the document");
            return;
        };
        let sent = answer.header("content-type");
        assert!(sent.starts_with(kind.as_str()), "{method} {template} {status} is {sent}, not {kind}");
        if kind == "application/json" {
            self.judge_value(&media["schema"], &answer.json(), &format!("{method} {template} {status}"));
        }
    }

    fn judge_error(&self, answer: &Answer) {
        self.judge_value(&json!({ "$ref": "#/components/schemas/ErrorBody" }), &answer.json(), "an error");
    }

    pub(crate) fn judge_value(&self, schema: &Value, value: &Value, what: &str) {
        let faults: Vec<String> = self
            .validator(schema)
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{what} is not as documented: {faults:#?}\n{value:#}");
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template.zip(path).all(|(known, given)| known.starts_with('{') || known == given)
}
