//! Answers to peers' questions that the sequencer leaves to the store.

use super::chain::Chain;
use squad_sequencer::StoreQuery;
use squad_types::limits::{MAX_BATCHES_PER_RESPONSE, MAX_BLOCKS_PER_RESPONSE, MAX_RESPONSE_BYTES};
use squad_types::{Decode as _, Encode as _, Epoch, Response};

use super::stored::StoredBlock;

/// Looks an answer up. Reads the disk; what is not there makes it empty or shorter.
pub(crate) fn look_up(chain: &Chain, query: StoreQuery) -> Response {
    match query {
        StoreQuery::Blocks(from) => {
            let found = chain.records().0.blocks_from(from.0, MAX_RESPONSE_BYTES as u64).unwrap_or_else(|error| {
                tracing::error!(%error, "blocks for a peer cannot be read");
                Vec::new()
            });
            let read = |stored: squad_storage::StoredBlock| StoredBlock::from_bytes(stored.body).ok();
            // The first one that is damaged ends the answer: it has no gaps.
            let blocks = found.into_iter().take(MAX_BLOCKS_PER_RESPONSE).map_while(read);
            Response::Blocks(blocks.map(|stored| stored.ordered).collect())
        }
        StoreQuery::Batches(range) => {
            Response::Batches(chain.records().towards(range.lane, range.from, range.to, MAX_BATCHES_PER_RESPONSE))
        }
        StoreQuery::Committees(epoch) => {
            let proofs = (epoch.0..).map_while(|epoch| chain.proof_after(Epoch(epoch)));
            let mut bytes = 0;
            let fits = |proof: &squad_types::CommitteeProof| {
                bytes += proof.to_bytes().len();
                bytes <= MAX_RESPONSE_BYTES
            };
            Response::Committees(proofs.take(MAX_BLOCKS_PER_RESPONSE).take_while(fits).collect())
        }
    }
}
