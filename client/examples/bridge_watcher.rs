//! Watches a namespace for deposits, as a bridge does before it pays out on the other side.
//!
//!     bridge_watcher TRUST NAMESPACE_ID FROM_HEIGHT OPERATOR...
//!
//! TRUST is a genesis file, or a pin: a committee by its hash. A deposit is an opaque transaction that reads
//! `deposit RECIPIENT AMOUNT`. For each one this shows two independent proofs:
//!
//! * completeness: the verified block holds all of the namespace's transactions of its height, in order, so no deposit was
//!   left out or slipped in;
//! * the deposit's own confirmation, which stands by itself: whoever has it can check it later, offline, or on the other side.
//!
//! With the first block of each epoch it prints a pin of its committee: start from that, and the history before is not needed.
// They panic when nobody reads what they print.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use squad_client::{Client, ClientConfig, CommitteeFollower, Pin, VerifiedBlock};
use squad_types::{Encode, Epoch, Evidenced, Genesis, Height, NamespaceId, Tier};
use std::error::Error;
use std::io::{Write as _, stdout};

/// What a deposit says.
struct Deposit<'a> {
    recipient: &'a str,
    amount: u64,
}

impl<'a> Deposit<'a> {
    /// Nobody filters what is ordered: most bytes are no deposit.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes).ok()?.split_whitespace();
        let ("deposit", recipient, amount) = (words.next()?, words.next()?, words.next()?.parse().ok()?) else {
            return None;
        };
        words.next().is_none().then_some(Self { recipient, amount })
    }
}

/// Prints the deposits of a block, once each one's confirmation agrees with the block about its place.
async fn deposits(client: &Client, block: &VerifiedBlock) -> Result<(), Box<dyn Error>> {
    for (place, identified) in block.transactions().iter().enumerate() {
        let Some(deposit) = Deposit::read(&identified.transaction.data) else { continue };
        let receipt = client.confirm(&identified.transaction, Tier::Ordered).await?;
        let Evidenced::Ordered(ordered) = &receipt.confirmation.evidenced else {
            return Err("a confirmation of the tier asked for is of another".into());
        };
        if ordered.header.hash() != block.hash() || ordered.proof.index != place as u64 {
            return Err(format!("two certified places for one deposit, {}: pay nothing", identified.id).into());
        }
        writeln!(
            stdout(),
            "deposit of {} to {}: height {}, place {place} of {}, proof of {} bytes",
            deposit.amount,
            deposit.recipient,
            block.height(),
            block.transactions().len(),
            receipt.confirmation.to_bytes().len(),
        )?;
    }
    Ok(())
}

async fn start(trust: &str, operators: &[String]) -> Result<Client, Box<dyn Error>> {
    let text = std::fs::read_to_string(trust)?;
    let config = ClientConfig::new(operators);
    if let Ok(pin) = serde_json::from_str::<Pin>(&text) {
        return Ok(Client::from_pin(config, &pin).await?);
    }
    let genesis: Genesis = serde_json::from_str(&text)?;
    Ok(Client::new(config, CommitteeFollower::from_genesis(&genesis)?)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [trust, namespace, from, operators @ ..] = &arguments[..] else {
        return Err("usage: bridge_watcher TRUST NAMESPACE_ID FROM_HEIGHT OPERATOR...".into());
    };
    let (namespace, from) = (NamespaceId(namespace.parse()?), Height(from.parse()?));
    let client = start(trust, operators).await?;
    writeln!(stdout(), "watching namespace {namespace} from height {from}")?;

    let mut blocks = client.subscribe(namespace, from);
    let mut epoch: Option<Epoch> = None;
    loop {
        let block = blocks.next().await?;
        if epoch.replace(block.header().epoch) != Some(block.header().epoch) {
            writeln!(stdout(), "pin {}", serde_json::to_string(&block.checkpoint().committee().pin())?)?;
        }
        deposits(&client, &block).await?;
    }
}
