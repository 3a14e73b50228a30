//! Runs one node: the sequencer, its disk, its peers and its interfaces.

use crate::config::NodeConfig;

/// Runs a node until it is told to stop (Ctrl-C or SIGTERM).
///
/// # Errors
/// Whatever keeps the node from starting or from going on, in words that say what to do.
pub async fn run(_config: NodeConfig) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: the node's driver")
}
