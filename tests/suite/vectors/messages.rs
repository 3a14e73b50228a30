//! Everything that one node says to another. The matches are exhaustive, so that a new variant asks for its example.

use super::blocks::{evidence, votes};
use super::book::Book;
use super::world::World;
use squad_types::*;
use std::sync::Arc;

pub(crate) fn write(world: &World, book: &mut Book) {
    for message in messages(world) {
        let name = match &message {
            Message::Proposal(_) => "proposal",
            Message::Vote(_) => "vote",
            Message::Votes(_) => "votes",
            Message::Commit(_) => "commit",
            Message::Batch(_) => "batch",
            Message::Ack(message) if matches!(message.entries, AckEntries::Full(_)) => "ack_full",
            Message::Ack(_) => "ack_changed",
            Message::Secured(_) => "secured",
            Message::Evidence(_) => "evidence",
            Message::Ready(_) => "ready",
        };
        message.clone().verify(&world.domain, &EcdsaVerifier).unwrap();
        book.wire(&format!("message.{name}"), &message);
    }
    for request in requests(world) {
        let name = match &request {
            Request::Batches(_) => "batches",
            Request::Proposal(_) => "proposal",
            Request::Blocks(_) => "blocks",
            Request::Ack(_) => "ack",
            Request::Slots(_) => "slots",
            Request::Committees(_) => "committees",
            Request::Snapshot(_) => "snapshot",
            Request::Tip(_) => "tip",
            Request::Incidents(_) => "incidents",
            Request::Evidence(_) => "evidence",
        };
        book.wire(&format!("request.{name}"), &request);
    }
    for response in responses(world) {
        let name = match &response {
            Response::Batches(_) => "batches",
            Response::Proposal(Some(_)) => "proposal",
            Response::Proposal(None) => "proposal_none",
            Response::Blocks(_) => "blocks",
            Response::Ack(Some(_)) => "ack",
            Response::Ack(None) => "ack_none",
            Response::Slots(_) => "slots",
            Response::Committees(_) => "committees",
            Response::Snapshot(Some(_)) => "snapshot",
            Response::Snapshot(None) => "snapshot_none",
            Response::Tip(Some(_)) => "tip",
            Response::Tip(None) => "tip_none",
            Response::Incidents(incidents) if incidents.is_empty() => "incidents_none",
            Response::Incidents(_) => "incidents",
            Response::Evidence(_) => "evidence",
        };
        book.wire(&format!("response.{name}"), &response);
    }
}

fn proposal(world: &World) -> ProposalMessage {
    let block = Arc::new(world.block());
    let statement = Proposal { height: Height(1), round: Round(1), valid_round: None, block: block.hash() };
    ProposalMessage { proposal: world.sign(2, statement), block }
}

fn batch(world: &World) -> Batch {
    Batch { header: world.chain()[0].clone(), payload: world.payload().bytes().clone() }
}

pub(crate) fn ack(world: &World, entries: AckEntries) -> AckMessage {
    let statement = Ack { epoch: Epoch(0), counter: AckCounter(5), root: ack::vector_root(&world.vector()) };
    AckMessage { ack: world.sign(0, statement), entries }
}

pub(crate) fn full(world: &World) -> AckEntries {
    let entry = |(lane, tip): (usize, Option<Tip>)| AckEntry { lane: ValidatorIndex(lane as u16), tip };
    AckEntries::Full(world.vector().into_iter().enumerate().map(entry).collect())
}

fn messages(world: &World) -> Vec<Message> {
    let changed = vec![AckEntry { lane: ValidatorIndex(1), tip: world.vector()[1] }];
    vec![
        Message::Proposal(proposal(world)),
        Message::Vote(world.sign(3, world.vote(VoteKind::Precommit, Some(world.header().hash())))),
        Message::Votes(votes(world)),
        Message::Commit(world.commit()),
        Message::Batch(batch(world)),
        Message::Ack(ack(world, full(world))),
        Message::Ack(ack(world, AckEntries::Changed { since: AckCounter(4), entries: changed.into() })),
        Message::Secured(world.batch_certificate()),
        Message::Evidence(Box::new(evidence(world).remove(0))),
        Message::Ready(world.sign(0, Ready { epoch: Epoch(3) })),
    ]
}

fn requests(world: &World) -> Vec<Request> {
    let lane = LaneId { epoch: Epoch(0), author: ValidatorIndex(1) };
    let to = world.vector()[1].unwrap();
    vec![
        Request::Batches(BatchRange { lane, from: Sequence(0), to }),
        Request::Proposal(ProposalRef { height: Height(1), round: Round(1), block: world.header().hash() }),
        Request::Blocks(Height(7)),
        Request::Ack(Epoch(2)),
        Request::Slots(world.signers[0].address()),
        Request::Committees(Epoch(2)),
        Request::Snapshot(Epoch(2)),
        Request::Tip(Epoch(2)),
        Request::Incidents(IncidentId::digest(incidents(world).iter().map(|incident| incident.id))),
        Request::Evidence(incidents(world).iter().map(|incident| incident.id).collect()),
    ]
}

/// What the examples of evidence prove, ascending.
fn incidents(world: &World) -> Vec<Incident> {
    let incident = |evidence: &Evidence| {
        let accused = evidence.verify(&world.domain, &EcdsaVerifier).unwrap();
        Incident { id: evidence.incident(&world.genesis.network_id()).unwrap(), accused }
    };
    let mut incidents: Vec<Incident> = evidence(world).iter().map(incident).collect();
    incidents.sort();
    incidents
}

/// The highest statements of one operator.
pub(crate) fn slots(world: &World) -> Slots {
    let block = world.header().hash();
    Slots {
        prevote: Some(world.sign(1, world.vote(VoteKind::Prevote, Some(block)))),
        precommit: Some(world.sign(1, world.vote(VoteKind::Precommit, None))),
        proposal: Some(world.sign(1, Proposal { height: Height(1), round: Round(0), valid_round: None, block })),
        batch: Some(world.chain()[1].clone()),
        ack: Some(ack(world, full(world)).ack),
        decided: Some(world.commit()),
    }
}

fn responses(world: &World) -> Vec<Response> {
    let proof = CommitteeProof {
        header: world.header(),
        certificate: world.commit(),
        members: world.genesis.validators.clone(),
    };
    let snapshot = Snapshot { tip: world.ordered(), state: world.state() };
    vec![
        Response::Batches(vec![batch(world)]),
        Response::Proposal(Some(proposal(world))),
        Response::Proposal(None),
        Response::Blocks(vec![world.ordered()]),
        Response::Ack(Some(ack(world, full(world)))),
        Response::Ack(None),
        Response::Slots(Box::new(slots(world))),
        Response::Committees(vec![proof]),
        Response::Snapshot(Some(Box::new(snapshot))),
        Response::Snapshot(None),
        Response::Tip(Some(world.commit())),
        Response::Tip(None),
        Response::Incidents(incidents(world)),
        Response::Incidents(Vec::new()),
        Response::Evidence(Proofs(evidence(world))),
    ]
}
