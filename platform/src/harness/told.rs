//! How a harness is told what its session is for, by the means its file in the catalog names: model, instructions,
//! gateway, and whether it has to ask.

use std::collections::BTreeMap;

use super::Harness;

/// The longest text that an argument carries, in bytes: the kernel takes 128 KiB (`MAX_ARG_STRLEN`), this with its name.
const MAX_ARGUMENT: usize = 120 * 1024;

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// The agent's model; nothing where it leaves that to the program.
    pub model: &'a str,
    /// The agent's instructions.
    pub instructions: &'a str,
    /// The model gateway's URL and key.
    pub gateway: Option<(&'a str, &'a str)>,
    /// The directory it starts in.
    pub cwd: &'a str,
    /// Whether the program can do harm to nothing but its sandbox. Only then is it told not to ask, and are files put into
    /// its home.
    pub confined: bool,
}

/// Where instructions go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Instructions {
    /// There are none.
    None,
    /// With the program's arguments.
    Arguments(Vec<String>),
    /// Into this file in the directory it starts in, where there is none of that name.
    File(String),
    /// It has no way to take them.
    NoWay,
}

impl Harness {
    /// The arguments its terminal is started with, but for instructions and prompt.
    #[must_use]
    pub fn told_arguments(&self, telling: &Telling<'_>) -> Vec<String> {
        let by_gateway = self.uses_gateway(telling) && !self.gateway.model_args.is_empty();
        let model_args = if by_gateway { &self.gateway.model_args } else { &self.model_args };
        let mut arguments = Vec::new();
        if !telling.model.is_empty() {
            arguments.extend(model_args.iter().map(|part| fill(part, telling)));
        }
        if telling.confined {
            arguments.extend(self.bypass.args.iter().map(|part| fill(part, telling)));
        }
        arguments
    }

    /// The environment it is given for the same.
    #[must_use]
    pub fn told_env(&self, telling: &Telling<'_>) -> BTreeMap<String, String> {
        let gateway = self.gateway.env.iter().filter(|_| self.uses_gateway(telling));
        let bypass = self.bypass.env.iter().filter(|_| telling.confined);
        gateway.chain(bypass).map(|(name, value)| (name.clone(), fill(value, telling))).collect()
    }

    /// The arguments its program that speaks ACP is started with.
    #[must_use]
    pub fn told_acp_arguments(&self, telling: &Telling<'_>) -> Vec<String> {
        let args = self.acp_model_args.iter().filter(|_| !telling.model.is_empty());
        args.map(|part| fill(part, telling)).collect()
    }

    /// The environment that one is given besides.
    #[must_use]
    pub fn told_acp_env(&self, telling: &Telling<'_>) -> BTreeMap<String, String> {
        if telling.model.is_empty() {
            return BTreeMap::new();
        }
        let gateway = self.gateway.acp_env.iter().filter(|_| telling.gateway.is_some());
        let env = self.acp_model_env.iter().chain(gateway);
        env.map(|(name, value)| (name.clone(), fill(value, telling))).collect()
    }

    /// The files without which a dialog stands in the way: paths, with `~` for the home, and contents.
    #[must_use]
    pub fn told_files(&self, telling: &Telling<'_>) -> Vec<(String, String)> {
        let seeds = self.seed.iter().filter(|_| telling.confined);
        seeds.map(|seed| (seed.path.clone(), fill(&seed.contents, telling))).collect()
    }

    /// How it is given its instructions.
    #[must_use]
    pub fn told_instructions(&self, telling: &Telling<'_>) -> Instructions {
        let text = telling.instructions;
        if text.trim().is_empty() {
            return Instructions::None;
        }
        let arguments: Vec<String> = self.instructions_args.iter().map(|part| fill(part, telling)).collect();
        if !arguments.is_empty() && arguments.iter().all(|argument| argument.len() <= MAX_ARGUMENT) {
            return Instructions::Arguments(arguments);
        }
        match &self.instructions_file {
            Some(file) => Instructions::File(file.clone()),
            None => Instructions::NoWay,
        }
    }

    /// Whether the gateway can be named to it: some take it only from files in their home, and a user's own home is not
    /// written to.
    fn uses_gateway(&self, telling: &Telling<'_>) -> bool {
        telling.gateway.is_some() && (telling.confined || !self.gateway.by_file)
    }
}

/// A template with its names filled in. Text that a value brings is not looked at again.
fn fill(template: &str, telling: &Telling<'_>) -> String {
    let (base, key) = telling.gateway.unwrap_or_default();
    let json = serde_json::Value::from(telling.instructions).to_string();
    let values = [
        ("{model}", telling.model),
        ("{api_base}", base),
        ("{api_key}", key),
        ("{cwd}", telling.cwd),
        ("{instructions}", telling.instructions),
        // A string in JSON is one in TOML.
        ("{instructions_json}", json.as_str()),
    ];
    let (mut filled, mut rest) = (String::new(), template);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        match values.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                filled.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Catalog;

    fn telling<'a>() -> Telling<'a> {
        Telling {
            model: "m-1",
            instructions: "Be \"brief\".\nAlways.",
            gateway: None,
            cwd: "/w",
            confined: false,
        }
    }

    #[test]
    fn every_harness_with_a_terminal_is_told_its_model_and_its_instructions() {
        let catalog = Catalog::built_in().unwrap();
        for harness in catalog.iter().filter(|harness| harness.needs_model && !harness.command.is_empty()) {
            let arguments = harness.told_arguments(&telling());
            if harness.id != "hermes" {
                assert!(arguments.iter().any(|part| part.contains("m-1")), "{}: {arguments:?}", harness.id);
            }
            assert_ne!(harness.told_instructions(&telling()), Instructions::NoWay, "{}", harness.id);
            let none = Telling { model: "", instructions: " ", ..telling() };
            assert!(harness.told_arguments(&none).is_empty(), "{}", harness.id);
            assert_eq!(harness.told_instructions(&none), Instructions::None);
        }
        let claude = catalog.get("claude-code").unwrap();
        let told = claude.told_instructions(&telling());
        let flag = "--append-system-prompt".to_owned();
        assert_eq!(told, Instructions::Arguments(vec![flag, telling().instructions.to_owned()]));
        let codex = catalog.get("codex").unwrap().told_instructions(&telling());
        let set = r#"developer_instructions="Be \"brief\".\nAlways.""#.to_owned();
        assert_eq!(codex, Instructions::Arguments(vec!["-c".to_owned(), set]));
        // What no argument can carry goes into a file.
        let long = "x".repeat(MAX_ARGUMENT + 1);
        let long = claude.told_instructions(&Telling { instructions: &long, ..telling() });
        assert_eq!(long, Instructions::File("CLAUDE.md".to_owned()));
    }

    #[test]
    fn only_what_is_confined_is_told_not_to_ask_or_has_files_in_its_home() {
        let catalog = Catalog::built_in().unwrap();
        for harness in catalog.iter() {
            assert!(harness.told_files(&telling()).is_empty(), "{}", harness.id);
            let (asked, confined) = (telling(), Telling { confined: true, ..telling() });
            for part in harness.told_arguments(&asked) {
                assert!(!harness.bypass.args.contains(&part), "{}: {part}", harness.id);
            }
            assert_eq!(harness.told_files(&confined).len(), harness.seed.len());
        }
        let codex = catalog.get("codex").unwrap();
        let confined = Telling { confined: true, gateway: Some(("http://g", "k")), ..telling() };
        assert!(
            codex
                .told_arguments(&confined)
                .contains(&"--dangerously-bypass-approvals-and-sandbox".to_owned())
        );
        let (path, contents) = &codex.told_files(&confined)[0];
        assert_eq!(path, "~/.codex/config.toml");
        assert!(
            contents.contains("base_url = \"http://g\"") && contents.contains("[projects.\"/w\"]"),
            "{contents}"
        );
    }

    #[test]
    fn a_gateway_is_named_where_that_needs_no_file_in_a_users_own_home() {
        let catalog = Catalog::built_in().unwrap();
        let gateway = Telling { gateway: Some(("http://g", "k-1")), ..telling() };
        let claude = catalog.get("claude-code").unwrap();
        let env = claude.told_env(&gateway);
        assert_eq!(
            (env["ANTHROPIC_BASE_URL"].as_str(), env["ANTHROPIC_AUTH_TOKEN"].as_str()),
            ("http://g", "k-1")
        );
        assert!(claude.told_env(&telling()).is_empty());
        let opencode = catalog.get("opencode").unwrap();
        assert!(opencode.told_env(&gateway).is_empty());
        assert_eq!(opencode.told_arguments(&gateway), ["--model", "m-1"]);
        let confined = Telling { confined: true, ..gateway };
        assert_eq!(opencode.told_arguments(&confined), ["--model", "gateway/m-1"]);
        assert_eq!(opencode.told_env(&confined)["LAP_GATEWAY_KEY"], "k-1");
    }

    #[test]
    fn a_program_that_speaks_acp_is_told_its_model_and_the_gateway_by_its_environment() {
        let catalog = Catalog::built_in().unwrap();
        let gateway = Telling { gateway: Some(("http://g", "k-1")), ..telling() };
        let of = |id: &str, telling: &Telling<'_>| catalog.get(id).unwrap().told_acp_env(telling);
        assert_eq!(of("claude-code", &telling())["ANTHROPIC_MODEL"], "m-1");
        for (id, variable, key) in [
            ("codex", "CODEX_CONFIG", "/model_providers/gateway/base_url"),
            ("opencode", "OPENCODE_CONFIG_CONTENT", "/provider/gateway/options/baseURL"),
        ] {
            let config = |telling: &Telling<'_>| -> serde_json::Value {
                serde_json::from_str(&of(id, telling)[variable]).unwrap()
            };
            assert_eq!(config(&telling()).pointer("/model").unwrap(), "m-1", "{id}");
            assert_eq!(config(&gateway).pointer(key).unwrap(), "http://g", "{id}");
            assert!(of(id, &Telling { model: "", ..gateway }).is_empty(), "{id}");
        }
        let gemini = catalog.get("gemini").unwrap();
        assert_eq!(gemini.told_acp_arguments(&telling()), ["--model", "m-1"]);
    }

    #[test]
    fn what_a_value_brings_is_not_filled_in_again() {
        let telling = Telling { instructions: "say {model} and {api_key}", ..telling() };
        assert_eq!(fill("<{instructions}> {other} {", &telling), "<say {model} and {api_key}> {other} {");
    }
}
