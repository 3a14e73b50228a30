//! Structured logs on standard error.

use crate::config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;

/// Libraries that tell of every message at the level that a node uses for what an operator should know. A filter that
/// names them still decides.
const QUIET: &str = "arc_malachitebft_core_consensus=warn,libp2p_swarm=warn";

/// Starts logging for the whole process.
///
/// # Errors
/// A filter that does not parse, or logging that runs already.
pub fn start(config: &LogConfig) -> Result<(), LoggingError> {
    let directives = format!("{QUIET},{}", config.filter);
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| LoggingError::Filter { filter: config.filter.clone(), what: error.to_string() })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match config.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colours).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    outcome.map_err(|error| LoggingError::Running(error.to_string()))
}

/// Why logging does not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// A filter that does not parse.
    #[error("log filter '{filter}' does not parse: {what}; use a level such as info, or info,squad_node=debug")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        what: String,
    },
    /// Logging was started before.
    #[error("logging runs already: {0}")]
    Running(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_named() {
        let config = LogConfig { format: LogFormat::Json, filter: "squad=loud".into() };
        let error = start(&config).unwrap_err().to_string();
        assert!(error.contains("'squad=loud'"), "{error}");
    }
}
