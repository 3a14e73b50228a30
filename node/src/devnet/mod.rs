//! A network of operator and executor processes on this machine.

use crate::cli::DevnetArgs;

/// Runs a development network until it is told to stop.
///
/// # Errors
/// Whatever keeps a process from starting.
pub async fn run(_args: DevnetArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: the development network")
}
