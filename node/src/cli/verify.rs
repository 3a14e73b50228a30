//! `squad verify`: checks a confirmation, trusting nobody but the committee or genesis that it is given.

use super::Output;
use super::remote::Remote;
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use squad_client::{CommitteeFollower, Pin, Place, TrustedCommittee, VerifiedConfirmation, VerifyError};
use squad_types::{Encode as _, Epoch, Tier, Timestamp};
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
    #[arg(long, value_name = "FILE", required_unless_present_any = ["genesis", "pin"], conflicts_with = "genesis")]
    pub committee: Option<PathBuf>,
    /// The genesis of the network, whose first committee you trust
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// A committee's hash that you trust (JSON), as `--save-pin` writes it. With --committee or --genesis, what they say must
    /// hash to it; without, its members are fetched from --rpc
    #[arg(long, value_name = "FILE")]
    pub pin: Option<PathBuf>,
    /// An operator to fetch the proofs of later committees from; they are checked, so it need not be trusted
    #[arg(long, value_name = "URL")]
    pub rpc: Option<String>,
    /// Write the committee that the confirmation was checked against, to trust it later
    #[arg(long, value_name = "FILE")]
    pub save_committee: Option<PathBuf>,
    /// Write the hash of that committee, with network, epoch and time: short enough to be published
    #[arg(long, value_name = "FILE")]
    pub save_pin: Option<PathBuf>,
    /// Write the confirmation and that committee as the contract `CertificateVerifier` takes them: their bytes in hex (JSON)
    #[arg(long, value_name = "FILE")]
    pub save_bytes: Option<PathBuf>,
    /// The time to check at, in milliseconds since 1970; now, if it is not given
    #[arg(long, value_name = "MILLISECONDS")]
    pub at: Option<u64>,
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

async fn trusted(args: &VerifyArgs, remote: Option<&Remote>) -> anyhow::Result<TrustedCommittee> {
    let pin: Option<Pin> = match &args.pin {
        Some(path) => {
            Some(serde_json::from_str(&read(path)?).with_context(|| format!("pin {}: it is no pin", path.display()))?)
        }
        None => None,
    };
    let committee = match (&args.committee, &args.genesis, &pin) {
        (Some(path), _, _) => {
            TrustedCommittee::from_json(&read(path)?).with_context(|| format!("committee file {}", path.display()))?
        }
        (None, Some(path), _) => TrustedCommittee::from_genesis(&super::read_genesis(path)?)?,
        (None, None, Some(pin)) => {
            ensure!(
                pin.epoch > Epoch(0),
                "the pin is of the first committee, whose members stand in the genesis alone: give --genesis as well"
            );
            let remote = remote.context("a pin alone does not tell who the members are: give --rpc to fetch them")?;
            let proof = remote.committee_proof(pin.epoch).await?;
            return Ok(TrustedCommittee::from_pin(pin, &proof)?);
        }
        (None, None, None) => anyhow::bail!("nothing to trust: give --committee, --genesis or --pin"),
    };
    Ok(match &pin {
        Some(pin) => committee.pinned_by(pin)?,
        None => committee,
    })
}

pub(super) async fn run(args: VerifyArgs, output: Output) -> anyhow::Result<ExitCode> {
    let value = serde_json::from_str(&read(&args.file)?).context("it is no JSON");
    let confirmation = value
        .and_then(|value| squad_client::json::confirmation(value).context("it is no confirmation"))
        .with_context(|| args.file.display().to_string())?;
    let tier = confirmation.tier();
    ensure!(
        args.save_bytes.is_none() || tier == Tier::Ordered,
        "a contract takes confirmations of tier ordered, and this one is {tier}: wait for it to be ordered"
    );
    let now = args.at.map_or_else(super::now, Timestamp);
    let remote = args.rpc.as_deref().map(Remote::new).transpose()?;
    let first = trusted(&args, remote.as_ref()).await?;
    first.check_fresh(now)?;
    let epoch = confirmation.epoch();
    let mut follower = CommitteeFollower::from_trusted(first);
    if let Some(remote) = &remote {
        remote.follow(&mut follower, epoch).await?;
    }
    let committee = follower.committee(epoch).unwrap_or_else(|| follower.newest());
    let outcome = squad_client::verify(&confirmation, committee, now);
    if outcome.is_ok() {
        let in_hex = |bytes: bytes::Bytes| format!("0x{}", hex::encode(bytes));
        let (shown, members) = (in_hex(confirmation.to_bytes()), in_hex(committee.committee().to_bytes()));
        let saved = [
            (&args.save_committee, committee.to_json()),
            (&args.save_pin, serde_json::to_string(&committee.pin())?),
            (&args.save_bytes, json!({ "confirmation": shown, "committee": members }).to_string()),
        ];
        for (path, text) in saved.iter().filter_map(|(path, text)| Some((path.as_ref()?, text))) {
            std::fs::write(path, format!("{text}\n")).with_context(|| path.display().to_string())?;
        }
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
            let place = match verified.place() {
                Place::Batch { operator, sequence } => format!("in batch {sequence} of operator {operator}"),
                Place::Block { height, hash, index, .. } => {
                    format!("at height {height} ({hash}), transaction {index} of its namespace")
                }
            };
            output.result(&squad_client::json::shown(verified), || {
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
