//! Who writes down what happens in a run. None of them changes anything, and none costs anything while it is not there.

use crate::calibrate::Clients;
use crate::network::NodeIndex;
use crate::packet::{Kind, Parcel};
use crate::queue::Instant;
use crate::replay::Recorder;
use crate::trace::Trace;
use crate::witness::Witness;
use squad_sequencer::{Notice, Output};
use squad_types::{Address, Message, Response};
use std::collections::BTreeMap;

/// The watchers of a run.
#[derive(Default)]
pub struct Watch {
    /// Every event as a line of text.
    pub trace: Option<Trace>,
    /// What a page needs to replay the run.
    pub recorder: Option<Box<Recorder>>,
    /// When operators can answer their clients.
    pub clients: Option<Clients>,
    /// What operators sign, and the evidence that they find.
    pub witness: Option<Box<Witness>>,
}

impl Watch {
    pub(crate) fn life(&mut self, at: Instant, node: NodeIndex, up: bool) {
        if let Some(trace) = &mut self.trace {
            trace.life(at, node, up);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.life(at, node, up);
        }
    }

    /// A parcel goes on its way; `arrives` is none if it is lost.
    pub(crate) fn send(&mut self, at: Instant, parcel: &Parcel, arrives: Option<Instant>) {
        if let Some(trace) = &mut self.trace {
            trace.send(at, parcel.from(), parcel.to(), (parcel.body.kind(), parcel.bytes), arrives);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.send(at, parcel, arrives);
        }
    }

    pub(crate) fn handle(&mut self, at: Instant, node: NodeIndex, from: NodeIndex, kind: Kind, bytes: u32) {
        if let Some(trace) = &mut self.trace {
            trace.handle(at, node, from, kind, bytes);
        }
    }

    pub(crate) fn output(
        &mut self,
        at: Instant,
        node: NodeIndex,
        output: &Output,
        operators: &BTreeMap<Address, Vec<NodeIndex>>,
    ) {
        if let Some(trace) = &mut self.trace {
            let proposer = match output {
                Output::Ordered(decision) => operators.get(&decision.block.block.header().proposer),
                _ => None,
            };
            trace.output(at, node, output, proposer.and_then(|nodes| nodes.first().copied()));
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.output(at, node, output);
        }
        if let Some(clients) = &mut self.clients {
            clients.output(at, node, output);
        }
        if let (Some(witness), Output::Accused { operator, evidence }) = (&mut self.witness, output) {
            witness.accused(*operator, evidence);
        }
    }

    /// Somebody says something, whose signatures hold.
    pub(crate) fn said(&mut self, message: &Message) {
        if let Some(witness) = &mut self.witness {
            witness.said(message);
        }
    }

    /// Somebody answers.
    pub(crate) fn answered(&mut self, response: &Response) {
        if let Some(witness) = &mut self.witness {
            witness.answered(response);
        }
    }

    /// All that a node has noticed in this run.
    pub(crate) fn notices(&mut self, at: Instant, node: NodeIndex, all: &[Notice]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.notices(at, node, all);
        }
    }
}
