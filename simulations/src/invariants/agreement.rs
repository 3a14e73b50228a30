//! Agreement: no two nodes decide two blocks at one height, and every node's heights follow one another.

use super::forks::Fork;
use super::{Held, Known, Observed, holds};
use crate::network::NodeIndex;
use crate::queue::Instant;
use squad_sequencer::Output;
use squad_types::{Address, CommitCertificate, HeaderHash, Height, Round};
use std::collections::BTreeMap;

/// A decided height.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The height.
    pub height: Height,
    /// The block.
    pub hash: HeaderHash,
    /// Its certificate's round.
    pub round: Round,
    /// Who proposed it.
    pub proposer: Address,
    /// When it was first decided anywhere.
    pub at: Instant,
    /// Transactions it ordered.
    pub transactions: usize,
    /// Bytes of these transactions.
    pub bytes: usize,
}

#[derive(Default)]
pub(super) struct Agreement {
    decided: BTreeMap<Height, Decided>,
    seen: BTreeMap<NodeIndex, usize>,
    last: BTreeMap<NodeIndex, (u64, Height)>,
    /// The first certificate of each of the last heights.
    certificates: BTreeMap<Height, CommitCertificate>,
    forks: Vec<Fork>,
}

/// Heights whose certificates are remembered: whoever lags further decides nothing by itself.
const REMEMBERED: u64 = 1_024;

impl Agreement {
    pub(super) fn observe(&mut self, observed: &Observed<'_>, known: &Known) -> Held {
        let Output::Ordered(decision) = observed.output else { return Ok(()) };
        *self.seen.entry(observed.node).or_default() += 1;
        let (node, block) = (observed.node, &decision.block.block);
        let header = block.header();
        let height = header.height;
        let certificate = &decision.block.certificate;
        let first = self.certificates.entry(height).or_insert_with(|| certificate.clone());
        if first.block != certificate.block
            && let Some(committee) = known.committees.get(&header.epoch)
        {
            self.forks.push(Fork::examine(first, certificate, committee, observed.nodes, known)?);
        }
        if self.certificates.len() as u64 > REMEMBERED {
            self.certificates.pop_first();
        }
        let decided = self.decided.entry(height).or_insert_with(|| {
            let txs = decision.execution.namespaces.iter().flat_map(|namespace| &namespace.transactions);
            Decided {
                height,
                hash: block.hash(),
                round: decision.block.certificate.round,
                proposer: header.proposer,
                at: observed.at,
                transactions: decision.execution.count(),
                bytes: txs.map(|tx| tx.transaction.data.len()).sum(),
            }
        });
        holds!(
            decided.hash == block.hash(),
            "agreement",
            "node {node} decides {} at height {height}, another node decided {} there",
            block.hash(),
            decided.hash
        );
        if let Some(parent) = height.previous().and_then(|before| self.decided.get(&before)) {
            holds!(header.parent_hash == parent.hash, "agreement", "height {height} does not follow its parent");
        }
        let life = observed.nodes.get(node).map_or(0, |node| node.life);
        let last = self.last.insert(node, (life, height));
        let follows = last.is_none_or(|(before, last)| before != life || last < height);
        holds!(follows, "agreement", "node {node} decides height {height} after {last:?}");
        Ok(())
    }

    pub(super) fn forks(&self) -> &[Fork] {
        &self.forks
    }

    pub(super) fn seen_by(&self, node: NodeIndex) -> usize {
        self.seen.get(&node).copied().unwrap_or_default()
    }

    pub(super) fn rounds(&self) -> impl Iterator<Item = Round> + '_ {
        self.decided.values().map(|decided| decided.round)
    }

    pub(super) fn decided(&self) -> impl Iterator<Item = &Decided> {
        self.decided.values()
    }
}
