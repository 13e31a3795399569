//! Which coding agents there are, and how each is started: data, one TOML file per harness in `platform/harnesses`.
//!
//! Three layers, each laid over the one before, field by field: the files built in, `harnesses/*.toml` of the
//! configuration directory, and `[harness.<id>]` tables of the configuration itself. A new id is a new harness.

mod catalog;
mod detect;
mod host;
mod mcp;
mod prompt;
mod spec;
mod told;

pub use self::catalog::{Catalog, CatalogFaults};
pub use self::detect::{Detected, Missing};
pub use self::host::Host;
pub use self::mcp::{ToldTools, ToolFile, ToolPlace, ToolServer};
pub use self::prompt::{PromptTooLong, prompt};
pub use self::spec::{Bypass, Family, Gateway, Harness, Mcp, McpFormat, Seed};
pub use self::told::{Instructions, Telling};
