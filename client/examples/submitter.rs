//! Submits each line of standard input as an opaque transaction, and waits for the confirmations.
//!
//!     submitter GENESIS NAMESPACE_ID TIER OPERATOR... < LINES
//!
//! Every confirmation is checked before it is printed. A line whose operator fails is given to the next one as it is: its
//! validity is part of its id, so it is ordered once.
// They panic when nobody reads what they print.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use squad_client::{Client, ClientConfig, CommitteeFollower};
use squad_types::{Evidenced, Genesis, NamespaceId, Tier, Transaction};
use std::error::Error;
use std::io::{BufRead as _, Write as _, stdout};

/// How long a transaction may take to be ordered, in milliseconds of chain time; the network's window allows 10 s.
const VALID_FOR_MS: u64 = 8_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [genesis, namespace, tier, operators @ ..] = &arguments[..] else {
        return Err("usage: submitter GENESIS NAMESPACE_ID batched|secured|ordered OPERATOR... < LINES".into());
    };
    let genesis: Genesis = serde_json::from_str(&std::fs::read_to_string(genesis)?)?;
    let (namespace, tier) = (NamespaceId(namespace.parse()?), tier.parse::<Tier>()?);
    let client = Client::new(ClientConfig::new(operators), CommitteeFollower::from_genesis(&genesis)?)?;

    let now = client.chain_time().await?;
    let mut transactions = Vec::new();
    for (at, line) in std::io::stdin().lock().lines().enumerate() {
        // Equal bytes with equal validity would be one transaction; so each line's validity is its own.
        let valid_until = Some(now.plus(VALID_FOR_MS + at as u64));
        transactions.push(Transaction { namespace, valid_until, hint: None, data: line?.into() });
    }

    let mut failed = 0;
    for receipt in client.submit_all(transactions, tier).await {
        match receipt {
            Ok(receipt) => match &receipt.confirmation.evidenced {
                Evidenced::Ordered(ordered) => {
                    writeln!(
                        stdout(),
                        "ordered  {}  height {}, place {}",
                        receipt.id,
                        ordered.header.height,
                        ordered.proof.index
                    )?;
                }
                other => writeln!(stdout(), "{}  {}", other.tier(), receipt.id)?,
            },
            Err(error) => {
                failed += 1;
                let _ = writeln!(std::io::stderr(), "failed: {error}");
            }
        }
    }
    if failed > 0 { Err(format!("{failed} transactions have no confirmation").into()) } else { Ok(()) }
}
