//! What becomes of an answer, in its time or after it, and of a question without one.

use super::wants::{Asked, WantKey, Wanted};
use crate::input::{AskId, Peer, VerifiedResponse};
use crate::output::Output;
use crate::sequencer::{Outputs, Sequencer};
use squad_types::{ProposalRef, Request};

impl Sequencer {
    pub(crate) fn on_response(&mut self, id: AskId, response: Option<VerifiedResponse>, outputs: &mut Outputs) {
        let in_time = self.fetches.asked.remove(&id);
        let late = in_time.is_none();
        let Some(asked) = in_time.or_else(|| self.fetches.overdue.remove(&id)) else { return };
        self.fetches.moved = true;
        let came = response.is_some();
        let response = response.filter(|response| fits(&asked.request, response));
        let answered = response.is_some();
        if came && !answered {
            let what = "answered another question than the one it was asked";
            outputs.push(Output::Misbehaved { peer: asked.peer, what });
        }
        if answered && asked.bulk {
            self.fetches.window.answered(asked.peer, self.now.since(asked.since), late);
        }
        match response {
            Some(response) if late => self.take_late(id, asked.peer, response, outputs),
            Some(response) => self.take(id, asked.peer, response, outputs),
            None => {}
        }
        if !late {
            self.conclude(id, &asked, answered, outputs);
        }
    }

    fn take(&mut self, id: AskId, peer: Peer, response: VerifiedResponse, outputs: &mut Outputs) {
        match response {
            VerifiedResponse::Batches(batches) => {
                for batch in batches {
                    self.on_batch(None, batch, outputs);
                }
            }
            VerifiedResponse::Ack(Some((ack, entries))) => {
                self.fetches.wanted.remove(&WantKey::Ack(ack.signer, ack.statement.epoch));
                self.on_ack(peer, ack, entries, outputs);
            }
            VerifiedResponse::Proposal(Some(proposal)) => {
                let named = &proposal.proposal().statement;
                self.fetches.wanted.remove(&WantKey::Proposal(ProposalRef {
                    height: named.height,
                    round: named.round,
                    block: named.block,
                }));
                self.on_proposal(proposal, outputs);
            }
            VerifiedResponse::Slots(slots) => self.on_slots(peer, *slots, outputs),
            VerifiedResponse::Tip(Some(certificate)) => self.on_commit(peer, certificate, outputs),
            VerifiedResponse::Blocks(blocks) => self.on_blocks(peer, blocks, outputs),
            VerifiedResponse::Committees(proofs) => self.on_committees(peer, proofs, outputs),
            VerifiedResponse::Snapshot(snapshot) => self.on_snapshot(peer, snapshot, outputs),
            VerifiedResponse::Incidents(incidents) => self.on_incidents(id, &incidents, outputs),
            VerifiedResponse::Evidence(proofs) => self.on_proofs(id, proofs, outputs),
            VerifiedResponse::Ack(None) | VerifiedResponse::Proposal(None) | VerifiedResponse::Tip(None) => {}
        }
    }

    /// Content is as good after its time. What takes a step of a conversation is not: somebody else has it by now.
    fn take_late(&mut self, id: AskId, peer: Peer, response: VerifiedResponse, outputs: &mut Outputs) {
        match response {
            VerifiedResponse::Blocks(blocks) => self.on_late_blocks(blocks, outputs),
            VerifiedResponse::Batches(_) | VerifiedResponse::Proposal(_) | VerifiedResponse::Ack(_) => {
                self.take(id, peer, response, outputs);
            }
            VerifiedResponse::Evidence(proofs) => {
                self.take_proofs(proofs, outputs);
            }
            VerifiedResponse::Slots(_)
            | VerifiedResponse::Tip(_)
            | VerifiedResponse::Committees(_)
            | VerifiedResponse::Snapshot(_)
            | VerifiedResponse::Incidents(_) => {}
        }
    }

    /// Goes on after an answer, or without one.
    pub(super) fn conclude(&mut self, id: AskId, asked: &Asked, answered: bool, outputs: &mut Outputs) {
        // Whatever was asked, a turn may be free.
        self.fetches.turns = true;
        if !answered {
            self.on_ask_failed(id, asked.peer, &asked.request, outputs);
        }
        // Somebody else may have been asked meanwhile.
        let Some(key) = asked.want else { return };
        let current = self.fetches.wanted.get(&key).filter(|wanted| wanted.asked == Some(id));
        let Some(before) = current.map(Wanted::missed_from) else { return };
        if !self.still_missing(key) {
            self.fetches.wanted.remove(&key);
            return;
        }
        let Some(wanted) = self.fetches.wanted.get_mut(&key) else { return };
        if wanted.is_bulk() {
            if wanted.missed_from() > before {
                // A part of a long range came: all may be asked for the rest.
                wanted.tried.clear();
                wanted.passes = 0;
            }
            wanted.asked = None;
            wanted.queued = true;
        } else {
            // The same peer may hold the rest of a long range: it is asked again only after the others.
            self.pursue(key, None, outputs);
        }
    }

    /// Nothing that was asked may stay open for an answer to something else.
    fn on_ask_failed(&mut self, id: AskId, peer: Peer, request: &Request, outputs: &mut Outputs) {
        match request {
            Request::Blocks(_) => self.catch_up_failed(peer, outputs),
            // Joining begins anew with another peer: nothing else would ask again.
            Request::Committees(_) | Request::Snapshot(_) => self.abandon_snapshot(peer, outputs),
            Request::Incidents(_) | Request::Evidence(_) => self.inquiry_failed(id, outputs),
            _ => {}
        }
    }
}

/// Whether an answer is of the kind that was asked for, and evidence of incidents that were.
fn fits(request: &Request, response: &VerifiedResponse) -> bool {
    if let (Request::Evidence(asked), VerifiedResponse::Evidence(proofs)) = (request, response) {
        return proofs.iter().all(|(incident, _)| asked.contains(&incident.id));
    }
    matches!(
        (request, response),
        (Request::Batches(_), VerifiedResponse::Batches(_))
            | (Request::Proposal(_), VerifiedResponse::Proposal(_))
            | (Request::Blocks(_), VerifiedResponse::Blocks(_))
            | (Request::Ack(_), VerifiedResponse::Ack(_))
            | (Request::Slots(_), VerifiedResponse::Slots(_))
            | (Request::Committees(_), VerifiedResponse::Committees(_))
            | (Request::Snapshot(_), VerifiedResponse::Snapshot(_))
            | (Request::Tip(_), VerifiedResponse::Tip(_))
            | (Request::Incidents(_), VerifiedResponse::Incidents(_))
    )
}
