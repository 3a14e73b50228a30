//! The smallest useful executor: a counter that opaque transactions move.
//!
//! A transaction that reads `add N` adds N, and everything else is skipped. Whoever runs this over the same namespace comes
//! to the same number at the same height, since nothing counts but the ordered bytes. What a real rollup adds is a larger
//! state and signatures inside its bytes; following, checking and resuming stay as they are here.
//!
//!     counter GENESIS NAMESPACE_ID STATE_FILE OPERATOR...
// They panic when nobody reads what they print.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use squad_client::{BlockVerifier, Checkpoint, Client, ClientConfig, CommitteeFollower, VerifiedBlock};
use squad_types::{Genesis, NamespaceId};
use std::error::Error;
use std::fs;
use std::io::{Write as _, stdout};
use std::path::Path;

/// The state, and where the next block goes on. Both are kept in one file, so that neither is ever ahead of the other.
struct Counter {
    value: u64,
    checkpoint: Option<Checkpoint>,
}

impl Counter {
    fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        if !path.exists() {
            return Ok(Self { value: 0, checkpoint: None });
        }
        let bytes = fs::read(path)?;
        let (value, checkpoint) = bytes.split_first_chunk().ok_or("the state file is cut short: remove it")?;
        let checkpoint = Checkpoint::from_bytes(checkpoint.to_vec().into())?;
        Ok(Self { value: u64::from_be_bytes(*value), checkpoint: Some(checkpoint) })
    }

    /// The state transition: a function of the block and nothing else.
    fn apply(&mut self, block: &VerifiedBlock) {
        for identified in block.transactions() {
            let text = std::str::from_utf8(&identified.transaction.data).unwrap_or_default();
            let added = text.trim().strip_prefix("add ").and_then(|number| number.parse().ok()).unwrap_or(0);
            self.value = self.value.saturating_add(added);
        }
        self.checkpoint = Some(block.checkpoint().clone());
    }

    /// Replaces the file as a whole: after a crash there is the state before the block, or the one after it.
    fn save(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let Some(checkpoint) = &self.checkpoint else { return Ok(()) };
        let fresh = path.with_extension("new");
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&self.value.to_be_bytes())?;
        file.write_all(&checkpoint.to_bytes())?;
        file.sync_all()?;
        Ok(fs::rename(fresh, path)?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [genesis, namespace, state, operators @ ..] = &arguments[..] else {
        return Err("usage: counter GENESIS NAMESPACE_ID STATE_FILE OPERATOR...".into());
    };
    let genesis: Genesis = serde_json::from_str(&fs::read_to_string(genesis)?)?;
    let namespace = NamespaceId(namespace.parse()?);
    let state = Path::new(state);

    let mut counter = Counter::open(state)?;
    let verifier = match &counter.checkpoint {
        Some(checkpoint) => BlockVerifier::resume(checkpoint.clone(), namespace),
        None => BlockVerifier::from_genesis(&genesis, namespace)?,
    };
    writeln!(stdout(), "counter {}, going on at height {}", counter.value, verifier.next_height())?;

    let client = Client::new(ClientConfig::new(operators), CommitteeFollower::from_genesis(&genesis)?)?;
    let mut blocks = client.resume(verifier);
    loop {
        let block = blocks.next().await?;
        counter.apply(&block);
        counter.save(state)?;
        if !block.transactions().is_empty() {
            writeln!(
                stdout(),
                "height {}: {} transactions, counter {}",
                block.height(),
                block.transactions().len(),
                counter.value
            )?;
        }
    }
}
