//! The limits of requests, as `openapi.json` states them too. Lengths in characters unless the name says bytes.

/// An agent's name, a session's title, a model's name: fits a line of a wide screen.
pub const NAME_CHARS: usize = 200;
/// An agent's prompt and a session's first one.
pub const PROMPT_BYTES: usize = 256 * 1024;
/// An image reference: registries refuse longer ones.
pub const IMAGE_CHARS: usize = 512;
/// A repository's address.
pub const REPO_URL_CHARS: usize = 2048;
/// A branch: the longest file name, as git keeps branches as files.
pub const BRANCH_CHARS: usize = 255;
/// A pip requirements file.
pub const REQUIREMENTS_BYTES: usize = 64 * 1024;
/// MCP servers of one agent: each is a process or a connection of the harness.
pub const MCP_SERVERS: usize = 32;
/// An MCP server's name, as harnesses make tool names from it.
pub const MCP_NAME_CHARS: usize = 100;
/// Arguments of an MCP server's command.
pub const MCP_ARGS: usize = 64;
/// Headers sent to an MCP server.
pub const MCP_HEADERS: usize = 32;
/// One argument, one header's value, one address of an MCP server.
pub const MCP_VALUE_CHARS: usize = 4096;
/// Environment variables of an agent, and of a session on top.
pub const ENV_KEYS: usize = 50;
/// All of them together, written as JSON.
pub const ENV_JSON_BYTES: usize = 16_384;
/// Host patterns of one variable.
pub const ENV_HOSTS: usize = 64;
/// Entries of an egress list.
pub const EGRESS_PATTERNS: usize = 256;
/// One egress pattern: the longest domain name there is.
pub const EGRESS_CHARS: usize = 253;
/// Skills attached to an agent.
pub const AGENT_SKILLS: usize = 100;
/// Skills of one session alone.
pub const SESSION_SKILLS: usize = 10;
/// Parts of one message.
pub const MESSAGE_PARTS: usize = 100;
/// A memory's text.
pub const MEMORY_CHARS: usize = 16_384;
/// Tags of one memory.
pub const MEMORY_TAGS: usize = 8;
/// One of them.
pub const MEMORY_TAG_CHARS: usize = 40;
/// A memory's priority goes from minus this to this.
pub const MEMORY_PRIORITY: i32 = 100;
/// A skill's name: the limit of those who read it (agentskills.io).
pub const SKILL_NAME_CHARS: usize = 64;
/// A skill's description: the limit of those who read it.
pub const SKILL_DESCRIPTION_CHARS: usize = 1024;
/// A skill's text.
pub const SKILL_BYTES: usize = 256 * 1024;
/// Memories put into a prompt.
pub const PRELOAD_MEMORIES: u32 = 50;
/// The shortest idle time-out, in seconds.
pub const IDLE_MIN_SECONDS: u64 = 1;
/// The longest idle time-out, in seconds: a year.
pub const IDLE_MAX_SECONDS: u64 = 31_536_000;
/// The most live sessions an agent can be limited to.
pub const MAX_SESSIONS: u32 = 10_000;
/// A Kubernetes runtime class: a DNS label.
pub const RUNTIME_CLASS_CHARS: usize = 63;
/// A Kubernetes quantity.
pub const QUANTITY_CHARS: usize = 32;
/// Pictures with a session's first prompt.
pub const ATTACHMENTS: usize = 10;
/// One of them, decoded.
pub const ATTACHMENT_BYTES: usize = 5 * 1024 * 1024;
/// One of them in base64, which writes three bytes as four characters.
pub const ATTACHMENT_BASE64_CHARS: usize = ATTACHMENT_BYTES.div_ceil(3) * 4;
/// A picture's file name.
pub const ATTACHMENT_NAME_CHARS: usize = 255;
/// What an attachment may be.
pub const ATTACHMENT_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Words of a command.
pub const EXEC_WORDS: usize = 1024;
/// One word of a command: the kernel's own limit (`MAX_ARG_STRLEN`) less its end mark.
pub const EXEC_WORD_BYTES: usize = 128 * 1024 - 1;
/// The longest a command may run, in seconds.
pub const EXEC_MAX_SECONDS: u32 = 600;

/// Variables the platform sets itself. Names beginning with [`RESERVED_ENV_PREFIX`] are its own too.
pub const RESERVED_ENV: [&str; 9] = [
    "REPO_URL",
    "BRANCH",
    "LITELLM_API_KEY",
    "LITELLM_API_BASE",
    "LITELLM_DEFAULT_MODEL",
    "AGENT_PROMPT",
    "PORT",
    "GIT_TOKEN",
    "AGENT_REQUIREMENTS",
];
/// See [`RESERVED_ENV`].
pub const RESERVED_ENV_PREFIX: &str = "LAP_";
