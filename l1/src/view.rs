//! What was read of the settlement layer, for those who may not ask it.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use squad_sequencer::ledger::StakeTable;
use squad_types::{Committee, Digest, Epoch, Genesis, L1Anchor, Member};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// Anchors kept: days of them at the usual distance. What blocks refer to is not older than their epoch.
const KEPT: usize = 1_024;

/// A block of the settlement layer, and who is at stake as of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchored {
    /// The block.
    pub anchor: L1Anchor,
    /// Everybody at stake, ascending by address.
    pub members: Vec<Member>,
}

/// Why the view's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is none.
    #[error("{path} is no view of a settlement layer ({why}): remove it, and it is read anew from the endpoints")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Debug, Default)]
struct Known {
    by_number: BTreeMap<u64, Anchored>,
    /// What a proposal may name: others have had time to read it as well.
    settled: Option<L1Anchor>,
}

/// What an operator knows of the settlement layer. It never goes back, and outlives the process in its file.
#[derive(Debug)]
pub struct View {
    genesis: Vec<Member>,
    known: RwLock<Known>,
    path: Option<PathBuf>,
}

impl View {
    /// A view that begins with the validators of a genesis, and is kept in no file.
    pub fn new(genesis: &Genesis) -> Self {
        Self { genesis: genesis.validators.clone(), known: RwLock::default(), path: None }
    }

    /// The same, kept in a file; what it holds already is known at once.
    pub fn open(genesis: &Genesis, path: &Path) -> Result<Self, ViewError> {
        let mut view = Self::new(genesis);
        view.path = Some(path.to_owned());
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(view),
            Err(error) => return Err(ViewError::File { path: path.to_owned(), error }),
        };
        let malformed = |why: String| ViewError::Malformed { path: path.to_owned(), why };
        let all: Vec<Anchored> = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        let mut known = Known::default();
        for anchored in all {
            Committee::new(Epoch::ZERO, anchored.members.clone()).map_err(|error| malformed(error.to_string()))?;
            known.settled = Some(anchored.anchor);
            known.by_number.insert(anchored.anchor.number, anchored);
        }
        view.known = RwLock::new(known);
        Ok(view)
    }

    /// The newest block that is known.
    pub fn newest(&self) -> Option<L1Anchor> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_number.last_key_value().map(|(_, anchored)| anchored.anchor)
    }

    /// Adds what was read. What is not above the newest is left out.
    pub fn add(&self, anchored: Anchored) -> Result<(), ViewError> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.by_number.last_key_value().is_some_and(|(newest, _)| *newest >= anchored.anchor.number) {
            return Ok(());
        }
        known.by_number.insert(anchored.anchor.number, anchored);
        while known.by_number.len() > KEPT {
            known.by_number.pop_first();
        }
        let Some(path) = &self.path else { return Ok(()) };
        let all: Vec<&Anchored> = known.by_number.values().collect();
        write(path, &all).map_err(|error| ViewError::File { path: path.clone(), error })
    }

    /// From now on proposals may name the newest block that is known: it was there a while ago.
    pub fn settle(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.settled = known.by_number.last_key_value().map(|(_, anchored)| anchored.anchor);
    }
}

/// Whole or not at all.
fn write(path: &Path, all: &[&Anchored]) -> std::io::Result<()> {
    let text = serde_json::to_vec(all).map_err(std::io::Error::other)?;
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::File::open(&beside)?.sync_all()?;
    std::fs::rename(&beside, path)
}

impl StakeTable for View {
    fn stakes(&self, _: Epoch, anchor: &L1Anchor) -> Option<Vec<Member>> {
        if *anchor == L1Anchor::default() {
            return Some(self.genesis.clone());
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.by_number.get(&anchor.number).filter(|found| found.anchor == *anchor)?;
        Some(found.members.clone())
    }

    fn anchor(&self, parent: &L1Anchor) -> L1Anchor {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.settled.filter(|settled| settled.number > parent.number).unwrap_or(*parent)
    }
}

pub(crate) fn anchor(number: u64, hash: B256) -> L1Anchor {
    L1Anchor { number, hash: Digest(hash.0) }
}
