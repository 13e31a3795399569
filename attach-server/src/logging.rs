//! The log: on standard error, for people or as JSON.

use std::io::{self, IsTerminal as _};

use lap_platform::config::{LogFormat, Logging};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Begins to log; with `colours` only where somebody looks on.
///
/// # Errors
/// When the filter is none.
pub fn init(logging: &Logging, colours: bool) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&logging.filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Colours are for whoever looks at it now, not for a file, and not for who does not want them.
    let log = log.with_ansi(colours && io::stderr().is_terminal());
    match logging.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
