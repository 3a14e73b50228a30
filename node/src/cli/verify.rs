//! `squad verify`: checks a confirmation, trusting nobody but the committee or genesis that it is given.

use super::Output;
use super::remote::Remote;
use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use squad_client::{CommitteeFollower, Place, TrustedCommittee, VerifiedConfirmation, VerifyError};
use squad_types::{Confirmation, Epoch, Evidenced, Timestamp};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A confirmation of a committee of a thousand is a few megabytes of JSON.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// `squad verify`
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// The confirmation (JSON), as `squad submit --out` or `squad_getConfirmation` give it; `-` for standard input
    pub file: PathBuf,
    /// A committee that you trust (JSON), as `--save-committee` writes it
    #[arg(long, value_name = "FILE", required_unless_present = "genesis", conflicts_with = "genesis")]
    pub committee: Option<PathBuf>,
    /// The genesis of the network, whose first committee you trust
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// An operator to fetch the proofs of later committees from; they are checked, so it need not be trusted
    #[arg(long, value_name = "URL")]
    pub rpc: Option<String>,
    /// Write the committee that the confirmation was checked against, to trust it later
    #[arg(long, value_name = "FILE")]
    pub save_committee: Option<PathBuf>,
    /// The time to check at, in milliseconds since 1970; now, if it is not given
    #[arg(long, value_name = "MILLISECONDS")]
    pub at: Option<u64>,
}

/// Reads a confirmation: by itself, as an answer of `squad_*` has it, or within a whole JSON-RPC answer.
pub(super) fn parse_confirmation(text: &str) -> anyhow::Result<Confirmation> {
    let mut value: Value = serde_json::from_str(text).context("it is no JSON")?;
    for wrapper in ["result", "confirmation"] {
        if let Some(inner) = value.get_mut(wrapper) {
            value = inner.take();
        }
    }
    serde_json::from_value(value).context("it is no confirmation")
}

fn epoch_of(confirmation: &Confirmation) -> Epoch {
    match &confirmation.evidenced {
        Evidenced::Batched(batched) => batched.header.statement.epoch,
        Evidenced::Secured(secured) => secured.certificate.lane.epoch,
        Evidenced::Ordered(ordered) => ordered.header.epoch,
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let shown = path.display();
    if path.as_os_str() == "-" {
        std::io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text).context("standard input")?;
    } else {
        let file = std::fs::File::open(path).with_context(|| shown.to_string())?;
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).with_context(|| shown.to_string())?;
    }
    Ok(text)
}

fn trusted(args: &VerifyArgs) -> anyhow::Result<TrustedCommittee> {
    match (&args.committee, &args.genesis) {
        (Some(path), _) => {
            TrustedCommittee::from_json(&read(path)?).with_context(|| format!("committee file {}", path.display()))
        }
        (None, Some(path)) => Ok(TrustedCommittee::from_genesis(&super::read_genesis(path)?)?),
        (None, None) => anyhow::bail!("nothing to trust: give --committee or --genesis"),
    }
}

pub(super) async fn run(args: VerifyArgs, output: Output) -> anyhow::Result<ExitCode> {
    let confirmation = parse_confirmation(&read(&args.file)?).with_context(|| args.file.display().to_string())?;
    let now = args.at.map_or_else(super::now, Timestamp);
    let first = trusted(&args)?;
    first.check_fresh(now)?;
    let epoch = epoch_of(&confirmation);
    let mut follower = CommitteeFollower::from_trusted(first);
    if let Some(url) = &args.rpc {
        Remote::new(url)?.follow(&mut follower, epoch).await?;
    }
    let committee = follower.committee(epoch).unwrap_or_else(|| follower.newest());
    let outcome = squad_client::verify(&confirmation, committee, now);
    if let (Ok(_), Some(path)) = (&outcome, &args.save_committee) {
        std::fs::write(path, committee.to_json() + "\n").with_context(|| path.display().to_string())?;
    }
    report(&outcome, &args, output)
}

fn report(
    outcome: &Result<VerifiedConfirmation, VerifyError>,
    args: &VerifyArgs,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match outcome {
        Ok(verified) => {
            let (id, tier) = (verified.transaction().id(), verified.tier());
            let mut value = json!({
                "valid": true, "tier": tier, "id": id, "epoch": verified.epoch(), "transaction": verified.transaction(),
            });
            let place = match verified.place() {
                Place::Batch { operator, sequence } => {
                    value["batch"] = json!({ "operator": operator, "sequence": sequence });
                    format!("in batch {sequence} of operator {operator}")
                }
                Place::Block { height, hash, timestamp, index } => {
                    value["block"] = json!({ "height": height, "hash": hash, "timestamp": timestamp, "index": index });
                    format!("at height {height} ({hash}), transaction {index} of its namespace")
                }
            };
            output.result(&value, || {
                format!("valid: transaction {id} of namespace {} is {tier}\n{place}", verified.transaction().namespace)
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let hint = match error {
                VerifyError::Epoch { .. } if args.rpc.is_none() => {
                    "\nadd --rpc URL to fetch the proofs of later committees; they are checked"
                }
                _ => "",
            };
            let value = json!({ "valid": false, "part": error.part(), "reason": error.to_string() });
            output.result(&value, || format!("INVALID, {}: {error}{hint}", error.part()))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
