//! Answers to peers' questions: from memory where it is fresh, from the driver's store where it is not.

use crate::input::{Peer, RequestId};
use crate::output::{After, Output, Reply, StoreQuery};
use crate::sequencer::{Outputs, Sequencer};
use squad_types::limits::{MAX_BATCH_BYTES_PER_RESPONSE, MAX_BATCHES_PER_RESPONSE};
use squad_types::{Batch, BatchRange, CommitCertificate, Request, Response};

impl Sequencer {
    pub(crate) fn on_request(&mut self, _from: Peer, id: RequestId, request: Request, outputs: &mut Outputs) {
        let mut after = After::default();
        let reply = match request {
            Request::Batches(range) => match self.batches_in_memory(&range) {
                Some(batches) => now(Response::Batches(batches)),
                None => Reply::FromStore(StoreQuery::Batches(range)),
            },
            Request::Proposal(key) => {
                let kept = self.judgements.proposal(&key).cloned();
                let core = || self.consensus.as_ref()?.proposal(key.height, key.round, key.block);
                let past = || self.past_proposal(&key).cloned();
                now(Response::Proposal(kept.or_else(core).or_else(past).map(|proposal| proposal.to_message())))
            }
            Request::Blocks(height) => Reply::FromStore(StoreQuery::Blocks(height)),
            Request::Ack(epoch) => {
                after = self.after_own_ack(epoch);
                now(Response::Ack(self.mempool.full_ack(epoch)))
            }
            Request::Slots(operator) => {
                let mut slots = self.seen.of(&operator);
                slots.decided = self.last_decision();
                now(Response::Slots(Box::new(slots)))
            }
            Request::Committees(epoch) => Reply::FromStore(StoreQuery::Committees(epoch)),
            Request::Snapshot(_) => now(Response::Snapshot(self.snapshot_to_serve().map(Box::new))),
            Request::Tip(_) => now(Response::Tip(self.last_decision())),
            Request::Incidents(known) => now(Response::Incidents(self.evidence.incidents_unless(known))),
            Request::Evidence(incidents) => now(Response::Evidence(self.evidence.proofs_of(&incidents))),
        };
        outputs.push(Output::Answer { request: id, reply, after });
    }

    fn last_decision(&self) -> Option<CommitCertificate> {
        self.ledger.tip().map(|tip| tip.certificate.clone())
    }

    /// The range's batches, as many as fit an answer, if they are all above the ordered tip.
    fn batches_in_memory(&self, range: &BatchRange) -> Option<Vec<Batch>> {
        let below = self.ledger.state().tip(range.lane);
        let chain = self.mempool.chain(range.lane, below, range.to)?;
        // Of what is ordered, only the store knows.
        if chain.first().is_none_or(|first| first.header().sequence > range.from) {
            return None;
        }
        let mut bytes = 0;
        let wanted = chain.into_iter().filter(|batch| batch.header().sequence >= range.from);
        let fitting = wanted.take(MAX_BATCHES_PER_RESPONSE).take_while(|batch| {
            bytes += batch.payload().bytes().len();
            bytes <= MAX_BATCH_BYTES_PER_RESPONSE
        });
        Some(fitting.map(|batch| batch.to_batch()).collect())
    }
}

fn now(response: Response) -> Reply {
    Reply::Now(Box::new(response))
}
