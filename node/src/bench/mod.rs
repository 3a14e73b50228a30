//! An open-loop load generator.

use crate::cli::BenchArgs;

/// Offers load to operators and reports what became of it.
///
/// # Errors
/// Targets that cannot be reached.
pub async fn run(_args: BenchArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: the load generator")
}
