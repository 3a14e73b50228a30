//! `squad submit`

use super::Output;
use super::remote::{Remote, RemoteArgs};
use crate::api::NodeStatus;
use crate::api::view::ConfirmationView;
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use squad_types::{Evidenced, NamespaceKind, Tier};
use std::io::Read;
use std::path::PathBuf;

/// `squad submit`
#[derive(Clone, Debug, Args)]
pub struct SubmitArgs {
    /// The namespace to write to
    #[arg(long, short, value_name = "NAME")]
    pub namespace: String,
    /// The transaction in hex, with 0x in front; for EVM namespaces, signed and in its raw form
    #[arg(long, group = "content", value_name = "HEX")]
    pub data: Option<String>,
    /// The transaction as text; for opaque namespaces
    #[arg(long, group = "content")]
    pub text: Option<String>,
    /// A file with the transaction's bytes; `-` for standard input
    #[arg(long, group = "content", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The tier to wait for: batched, secured or ordered
    #[arg(long, default_value_t = Tier::Ordered)]
    pub wait: Tier,
    /// For opaque namespaces: how long it may take to be ordered, in milliseconds of chain time
    #[arg(long, default_value_t = 8_000, value_name = "MILLISECONDS")]
    pub valid_for: u64,
    /// Write the confirmation here, for `squad verify`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The operator.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

impl SubmitArgs {
    fn content(&self) -> anyhow::Result<String> {
        let bytes = match (&self.data, &self.text, &self.file) {
            (Some(hex), _, _) => return Ok(hex.clone()),
            (None, Some(text), _) => text.clone().into_bytes(),
            (None, None, Some(path)) if path.as_os_str() != "-" => {
                std::fs::read(path).with_context(|| path.display().to_string())?
            }
            _ => {
                let mut bytes = Vec::new();
                let limit = squad_types::limits::MAX_TRANSACTION_BYTES as u64 + 1;
                std::io::stdin().take(limit).read_to_end(&mut bytes).context("standard input")?;
                bytes
            }
        };
        ensure!(!bytes.is_empty(), "the transaction has no bytes: give --data, --text, --file or standard input");
        Ok(format!("0x{}", hex::encode(bytes)))
    }
}

pub(super) async fn run(args: SubmitArgs, output: Output) -> anyhow::Result<()> {
    let data = args.content()?;
    let remote = Remote::new(&args.remote.rpc)?;
    let spec = remote.namespace(&args.namespace).await?;
    let valid_until = match spec.kind {
        NamespaceKind::Evm { .. } => None,
        NamespaceKind::Opaque => {
            let status: NodeStatus = remote.call("squad_status", Vec::new()).await?;
            Some(status.chain_time.plus(args.valid_for))
        }
    };
    let sent = json!({ "namespace": spec.name, "data": data, "valid_until": valid_until, "wait": args.wait });
    let answer: ConfirmationView = remote.call("squad_sendTransaction", vec![sent]).await?;
    if let Some(path) = &args.out {
        let text = serde_json::to_string_pretty(&answer.confirmation)?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    }
    output.result(&answer, || {
        let place = match &answer.confirmation.evidenced {
            Evidenced::Batched(batched) => {
                let header = &batched.header.statement;
                format!("in batch {} of operator {}; only that operator's word yet", header.sequence, header.operator)
            }
            Evidenced::Secured(secured) => {
                format!("held by a quorum: {} acknowledgements", secured.certificate.acks.len())
            }
            Evidenced::Ordered(ordered) => {
                let (height, index) = (ordered.header.height, ordered.proof.index);
                format!("at height {height}, transaction {index} of the namespace, certified")
            }
        };
        format!("{}  {}\n{place}", answer.tier, answer.id)
    })
}
