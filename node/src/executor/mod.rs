//! Runs an executor as a process of its own.

use crate::cli::ExecutorArgs;

/// Runs the reference executor until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting or going on.
pub async fn run(_args: ExecutorArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: the executor's process")
}
