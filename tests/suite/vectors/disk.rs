//! What operators have on disk: records of the write-ahead log. An operator that updates reads what it wrote before.

use super::blocks::{evidence, votes};
use super::book::Book;
use super::messages::{ack, full, slots};
use super::world::World;
use squad_consensus::{Elapsed, LogEntry, Ruling, Started, TimeoutKind};
use squad_sequencer::ledger::WindowBase;
use squad_sequencer::{Checkpoint, LogRecord, Restriction};
use squad_types::*;
use std::sync::Arc;

pub(crate) fn write(world: &World, book: &mut Book) {
    for entry in entries(world) {
        let name = match &entry {
            LogEntry::Started(_) => "started",
            LogEntry::Block(_) => "block",
            LogEntry::Proposal(_) => "proposal",
            LogEntry::Vote(_) => "vote",
            LogEntry::Ruling(_) => "ruling",
            LogEntry::Polka(_) => "polka",
            LogEntry::Elapsed(_) => "elapsed",
            LogEntry::EchoedVote(_) => "echoed_vote",
            LogEntry::EchoedProposal(_) => "echoed_proposal",
        };
        book.wire(&format!("log_entry.{name}"), &entry);
    }
    for record in records(world) {
        let name = match &record {
            LogRecord::Checkpoint(_) => "checkpoint",
            LogRecord::Consensus(_) => "consensus",
            LogRecord::Ack(_) => "ack",
            LogRecord::Decided(_) => "decided",
            LogRecord::Evidence(_) => "evidence",
            LogRecord::Restricted(_) => "restricted",
        };
        book.wire(&format!("log_record.{name}"), &record);
    }
}

fn entries(world: &World) -> Vec<LogEntry> {
    let block = world.header().hash();
    let proposal = Proposal { height: Height(1), round: Round(2), valid_round: Some(Round(1)), block };
    let vote = world.vote(VoteKind::Prevote, Some(block));
    let ruling = Ruling {
        height: Height(1),
        round: Round(2),
        valid_round: Some(Round(1)),
        proposer: world.signers[2].address(),
        block,
        valid: true,
    };
    vec![
        LogEntry::Started(Started { height: Height(1), epoch: Epoch(0) }),
        LogEntry::Block(Arc::new(world.block())),
        LogEntry::Proposal(world.sign(2, proposal).into()),
        LogEntry::Vote(world.sign(1, vote).into()),
        LogEntry::Ruling(Box::new(ruling)),
        LogEntry::Polka(Box::new(votes(world))),
        LogEntry::Elapsed(Elapsed { height: Height(1), round: Round(2), kind: TimeoutKind::Prevote }),
        LogEntry::EchoedVote(world.sign(1, vote).into()),
        LogEntry::EchoedProposal(world.sign(2, proposal).into()),
    ]
}

fn records(world: &World) -> Vec<LogRecord> {
    let restriction = Restriction { votes_from: Height(12), lane_from: Epoch(2) };
    let lane = LaneId { epoch: Epoch(0), author: ValidatorIndex(1) };
    let checkpoint = Checkpoint {
        tip: Some(world.ordered()),
        state: world.state(),
        committees: vec![world.committee.clone(), world.committee.for_epoch(Epoch(1))],
        window_base: WindowBase {
            from: Height(1),
            blind_until: Some(Timestamp(90)),
            tips: [(lane, world.vector()[1].unwrap())].into_iter().collect(),
        },
        acks: vec![ack(world, full(world))],
        seen: vec![(world.signers[1].address(), slots(world))],
        evidence: evidence(world),
        restriction: Some(restriction),
    };
    vec![
        LogRecord::Checkpoint(Box::new(checkpoint)),
        LogRecord::Consensus(entries(world).remove(0)),
        LogRecord::Ack(Box::new(ack(world, full(world)))),
        LogRecord::Decided(Box::new(world.ordered())),
        LogRecord::Evidence(Box::new(evidence(world).remove(2))),
        LogRecord::Restricted(restriction),
    ]
}
