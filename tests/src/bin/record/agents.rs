//! Which agents are recorded, what each needs to start without asking anything, and what is typed.

/// One step of whoever sits in front of the agent. After each, the agent is waited for.
#[derive(Debug)]
pub(crate) enum Step {
    /// Waits until a text is on the screen.
    Until(&'static str),
    /// Types.
    Type(&'static str),
    /// Pastes, in brackets.
    Paste(&'static str),
    /// The window gets another size, in columns and rows.
    Resize(u16, u16),
}

/// An agent. `{gateway}` in its environment and files is the gateway's address, `{project}` where it runs.
pub(crate) struct Agent {
    pub(crate) name: &'static str,
    pub(crate) command: &'static [&'static str],
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Files in its home.
    pub(crate) seed: &'static [(&'static str, &'static str)],
    pub(crate) steps: &'static [Step],
}

use Step::{Paste, Resize, Type, Until};

const DOWN: &str = "\x1b[B";
const UP: &str = "\x1b[A";
const ESC: &str = "\x1b";
const QUESTION: &str = "Explain this project. 漢字 🚀";
const LAST_WORDS: &str = "That is all there is to say.";
const PASTED: &str = "pasted line one with 日本語\npasted line two\n\tand three, with a tab\n";

pub(crate) const AGENTS: &[Agent] = &[
    Agent {
        name: "claude",
        command: &["claude"],
        environment: &[
            ("ANTHROPIC_BASE_URL", "{gateway}"),
            ("ANTHROPIC_AUTH_TOKEN", "none"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ],
        seed: &[
            (
                ".claude.json",
                r#"{"hasCompletedOnboarding":true,"theme":"dark","projects":{"{project}":{"hasTrustDialogAccepted":true}}}"#,
            ),
            (".claude/settings.json", r#"{"permissions":{"defaultMode":"default"}}"#),
        ],
        steps: &[
            Until("auto mode"),
            Type(DOWN),
            Type("\r"),
            Type(QUESTION),
            Type("\r"),
            Until(LAST_WORDS),
            Type("Run the tests with a command"),
            Type("\r"),
            Type(DOWN),
            Type(UP),
            Type("\r"),
            Type("\x0f"),
            Type("\x0f"),
            Type("/"),
            Type("model"),
            Type("\r"),
            Type(DOWN),
            Type(ESC),
            Type("/help"),
            Type("\r"),
            Type("\x1b[C"),
            Type(ESC),
            Resize(80, 24),
            Resize(100, 30),
            Paste(PASTED),
            Type("\x03"),
            Type("/exit"),
            Type("\r"),
        ],
    },
    Agent {
        name: "codex",
        command: &["codex"],
        environment: &[("KEY", "none")],
        seed: &[(
            ".codex/config.toml",
            r#"
model = "gpt-5"
model_provider = "gateway"
approval_policy = "on-request"
sandbox_mode = "read-only"
check_for_update_on_startup = false
[model_providers.gateway]
name = "gateway"
base_url = "{gateway}/v1"
wire_api = "responses"
env_key = "KEY"
[features]
daemon_auto_start = false
[projects."{project}"]
trust_level = "trusted"
"#,
        )],
        steps: &[
            Until("Ask Codex"),
            Type(QUESTION),
            Type("\r"),
            Until(LAST_WORDS),
            Type("Run the tests with a command"),
            Type("\r"),
            Type(DOWN),
            Type(UP),
            Type("\r"),
            Type("/"),
            Type("status"),
            Type("\r"),
            Type("\x14"),
            Type("\x1b[5~"),
            Type(ESC),
            Resize(80, 24),
            Resize(100, 30),
            Paste(PASTED),
            Type("\x03"),
            Type("\x03"),
            Type("\x03"),
        ],
    },
    Agent {
        name: "opencode",
        command: &["opencode"],
        environment: &[("KEY", "none"), ("OPENCODE_DISABLE_AUTOUPDATE", "1")],
        seed: &[(
            ".config/opencode/opencode.json",
            r#"{"enabled_providers":["gateway"],"permission":{"bash":"ask"},"model":"gateway/stub","provider":{"gateway":{
                "npm":"@ai-sdk/openai-compatible","options":{"baseURL":"{gateway}/v1","apiKey":"{env:KEY}"},
                "models":{"stub":{"name":"Stub"}}}}}"#,
        )],
        steps: &[
            Until("Ask anything"),
            Type(QUESTION),
            Type("\r"),
            Until(LAST_WORDS),
            Type("Run the tests with a command"),
            Type("\r"),
            Type("\x1b[C"),
            Type("\x1b[D"),
            Type("\r"),
            Type("\x10"),
            Type(DOWN),
            Type(ESC),
            Type("\x1b[5~"),
            Resize(80, 24),
            Resize(100, 30),
            Paste(PASTED),
            Type("\x03"),
            Type("\x03"),
        ],
    },
    Agent {
        name: "gemini",
        command: &["gemini"],
        environment: &[("GEMINI_API_KEY", "none"), ("GOOGLE_GEMINI_BASE_URL", "{gateway}")],
        seed: &[(
            ".gemini/settings.json",
            r#"{"security":{"auth":{"selectedType":"gemini-api-key"},"folderTrust":{"enabled":false}},
                "general":{"disableAutoUpdate":true,"disableUpdateNag":true},"privacy":{"usageStatisticsEnabled":false}}"#,
        )],
        steps: &[
            Until("Type your message"),
            Type(QUESTION),
            Type("\r"),
            Until(LAST_WORDS),
            Type("Run the tests with a command"),
            Type("\r"),
            Type(DOWN),
            Type(UP),
            Type("\r"),
            Type("/theme"),
            Type("\r"),
            Type(DOWN),
            Type(ESC),
            Resize(80, 24),
            Resize(100, 30),
            Paste(PASTED),
            Type("\x03"),
            Type("/quit"),
            Type("\r"),
        ],
    },
];
