//! Events, the work they make for a node, and what comes of its outputs.

use super::waits::Thread;
use super::{Cluster, Event, Work};
use crate::disk::Stream;
use crate::invariants::Observed;
use crate::network::NodeIndex;
use crate::node::Effect;
use crate::packet::{Body, Kind, Parcel, Question};
use crate::queue::Instant;
use squad_sequencer::{AskId, Input, Output, Reply, RequestId, VerifiedResponse};
use squad_types::{Address, Request};
use std::sync::Arc;

impl Cluster {
    pub(super) fn handle(&mut self, event: Event) {
        if let Some(until) = event.node().map(|node| self.paused[node]).filter(|until| *until > self.now) {
            self.queue.push(until, event);
            return;
        }
        match event {
            Event::Arrive(parcel) => self.arrive(parcel),
            Event::Depart(parcel) => self.depart(parcel),
            Event::Pipe { node, up } => self.drain(node, up),
            Event::Work { node, work } => self.run_on(node, work),
            Event::Free { node } => self.next_work(node),
            Event::Synced { node, stream, upto, life } => {
                if self.nodes[node].life == life && self.nodes[node].is_up() {
                    let mut effects = std::mem::take(&mut self.effects);
                    self.nodes[node].synced(stream, upto, &mut effects);
                    let at = self.sequencer_runs(node);
                    self.perform(node, &mut effects, at);
                    self.effects = effects;
                }
            }
            Event::Restart { node, memory } => {
                if !self.nodes[node].is_up() {
                    self.start(node, memory);
                }
            }
            Event::Late { node, to, message } => {
                if self.nodes[node].is_up() {
                    self.post(node, to, &message, self.now);
                }
            }
            Event::Mischief { node } => self.mischief(node),
            Event::Layer { node, lag } => self.see_layer(node, lag),
        }
    }

    /// Gives a node's thread something to do, now or when it is free.
    pub(super) fn run_on(&mut self, node: NodeIndex, work: Work) {
        if let Work::Wake { life, at } = &work
            && (self.nodes[node].life != *life || self.nodes[node].deadline != Some(*at))
        {
            return;
        }
        if self.paused[node] > self.now {
            let until = self.paused[node];
            self.queue.push(until, Event::Work { node, work });
            return;
        }
        if let Some(cpu) = &mut self.cpus[node]
            && (cpu.busy_until > self.now || !cpu.inbox.is_empty())
        {
            cpu.inbox.push_back(work);
            cpu.most_waiting = cpu.most_waiting.max(cpu.inbox.len());
            if !std::mem::replace(&mut cpu.called, true) {
                let at = cpu.busy_until;
                self.queue.push(at, Event::Free { node });
            }
            return;
        }
        self.work(node, work);
    }

    fn next_work(&mut self, node: NodeIndex) {
        let Some(cpu) = &mut self.cpus[node] else { return };
        cpu.called = false;
        let Some(work) = cpu.inbox.pop_front() else { return };
        self.work(node, work);
        if let Some(cpu) = &mut self.cpus[node]
            && !cpu.inbox.is_empty()
            && !std::mem::replace(&mut cpu.called, true)
        {
            let at = cpu.busy_until.max(self.now);
            self.queue.push(at, Event::Free { node });
        }
    }

    fn work(&mut self, node: NodeIndex, work: Work) {
        if !self.nodes[node].is_up() {
            return;
        }
        match work {
            Work::Parcel(parcel) => self.open(node, parcel),
            Work::Wake { life, at } => {
                if self.nodes[node].life == life && self.nodes[node].deadline == Some(at) {
                    self.nodes[node].deadline = None;
                    self.input(node, Input::Wake);
                }
            }
            Work::Connect { peer, life } => {
                if self.nodes[node].life == life && self.nodes[peer].is_up() {
                    self.input(node, Input::Connected(self.peer_of(peer)));
                }
            }
            Work::Submit(submission) => self.input(node, Input::Submit(*submission)),
        }
    }

    fn open(&mut self, node: NodeIndex, parcel: Parcel) {
        let from = parcel.from();
        let kind = parcel.body.kind();
        self.mix(((node as u64) << 48) ^ ((kind.index() as u64) << 40) ^ u64::from(parcel.bytes) ^ self.now.0);
        self.traffic.handled(kind);
        self.watch.handle(self.now, node, from, kind, parcel.bytes);
        match parcel.body {
            Body::Message(packet) => {
                let Some(message) = packet.verified.clone() else { return };
                if !self.hand_on(node, from, &packet) {
                    return;
                }
                if !self.hears(node, from, &message) {
                    return;
                }
                let operator = self.address(node);
                self.invariants.heard(node, &operator, &self.nodes[node], &message);
                self.input_of(node, Some(kind), Input::Message { from: self.peer_of(from), message });
            }
            Body::Question(question) => {
                let (ask, request) = *question;
                self.question(node, from, parcel.life, ask, request);
            }
            Body::Answer(answer) => {
                let (ask, response) = *answer;
                if self.nodes[node].life as u32 == parcel.life {
                    let verified = VerifiedResponse::verify(response, &self.domain, self.keys.verifier()).ok();
                    let verified = verified.filter(|answer| self.hears_answer(node, answer));
                    if let Some(answer) = &verified {
                        let operator = self.address(node);
                        self.invariants.answered(node, &operator, &self.nodes[node], answer);
                    }
                    self.input_of(node, Some(kind), Input::Response { id: ask, response: verified });
                }
            }
        }
    }

    fn question(&mut self, node: NodeIndex, from: NodeIndex, life: u32, ask: AskId, request: Request) {
        self.next_question += 1;
        let id = RequestId(self.next_question);
        self.questions.insert(id, Question { asker: from, ask, asker_life: life, answerer: node });
        self.input_of(node, Some(Kind::Request), Input::Request { from: self.peer_of(from), id, request });
    }

    pub(super) fn input_of(&mut self, node: NodeIndex, kind: Option<Kind>, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.nodes[node].handle(self.now, input, &mut effects);
        self.watch.notices(self.now, node, &self.nodes[node].notices);
        let at = self.charge(node, kind, &effects);
        self.perform(node, &mut effects, at);
        self.effects = effects;
    }

    /// When a node is done with an input that had these effects.
    pub(super) fn charge(&mut self, node: NodeIndex, kind: Option<Kind>, effects: &[Effect]) -> Instant {
        let from = self.sequencer_runs(node);
        self.cpus[node].as_mut().map_or(from, |cpu| cpu.handle(from, kind, effects.len()))
    }

    /// When the thread of a node's sequencer, for which there is something to do now, runs.
    fn sequencer_runs(&mut self, node: NodeIndex) -> Instant {
        let idle = self.cpus[node].as_ref().is_none_or(|cpu| cpu.busy_until < self.now);
        if idle { self.wake(node, Thread::Sequencer, self.now) } else { self.now }
    }

    pub(super) fn perform(&mut self, node: NodeIndex, effects: &mut Vec<Effect>, at: Instant) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Sync(stream) => self.sync(node, stream, at),
                Effect::Wake(at) => {
                    // The driver keeps one deadline, the one it was told last.
                    self.nodes[node].deadline = Some(at);
                    let life = self.nodes[node].life;
                    let when = self.nodes[node].when(self.now, at).max(self.now);
                    self.queue.push(when, Event::Work { node, work: Work::Wake { life, at } });
                }
                Effect::Leave(output) => self.leave(node, output, at),
            }
        }
        let crashed =
            self.nodes[node].crash_at.is_some_and(|at| at == self.nodes[node].performed) && !self.nodes[node].is_up();
        if crashed {
            self.after_crash(node);
        }
    }

    fn sync(&mut self, node: NodeIndex, stream: Stream, at: Instant) {
        let upto = self.nodes[node].disk.last(stream);
        let life = self.nodes[node].life;
        let slow = self.slow_disks.get(&node).copied().unwrap_or_default();
        let thread = if stream == Stream::Log { Thread::Log } else { Thread::Segments };
        let at = self.wake(node, thread, at);
        let done = at.plus(self.waits.sync(&mut self.rng) + slow);
        self.queue.push(done, Event::Synced { node, stream, upto, life });
    }

    fn leave(&mut self, node: NodeIndex, output: Output, at: Instant) {
        let for_peers = matches!(output, Output::Send { .. } | Output::Ask { .. } | Output::Answer { .. });
        let at = if for_peers { at } else { self.wake(node, Thread::Results, at) };
        let at = self.wake(node, Thread::Writer, at);
        let operator = self.addresses.get(node).copied().unwrap_or(Address::ZERO);
        let observed = Observed { at, node, operator, output: &output, nodes: &self.nodes };
        if let Err(violation) = self.invariants.observe(observed) {
            self.violated(violation);
        }
        self.watch.output(at, node, &output, &self.operators);
        match output {
            Output::Send { to, message, .. } => self.publish(node, to, &message, at),
            Output::Ask { id, to, request } => {
                let life = self.nodes[node].life as u32;
                let bytes = crate::packet::size(&request, &mut self.scratch);
                if let Some(peer) = self.nodes_of(node, to) {
                    let body = Body::Question(Box::new((id, request)));
                    self.ship(Parcel { from: node as u32, to: peer as u32, bytes, life, body }, at);
                }
            }
            Output::Answer { request, reply, .. } => self.answer(node, request, reply, at),
            _ => {}
        }
    }

    fn answer(&mut self, node: NodeIndex, request: RequestId, reply: Reply, at: Instant) {
        let Some(question) = self.questions.remove(&request) else { return };
        debug_assert_eq!(question.answerer, node, "a node answers its own questions");
        let response = match reply {
            Reply::Now(response) => *response,
            Reply::FromStore(query) => self.nodes[node].disk.answer(query),
        };
        let Some(response) = self.misanswer(node, question.asker, response) else { return };
        self.watch.answered(&response);
        let bytes = crate::packet::size(&response, &mut self.scratch);
        let body = Body::Answer(Box::new((question.ask, response)));
        let parcel = Parcel { from: node as u32, to: question.asker as u32, bytes, life: question.asker_life, body };
        self.ship(parcel, at);
    }

    /// Hands a parcel to the sender's connection.
    pub(super) fn ship(&mut self, parcel: Parcel, at: Instant) {
        self.traffic.sent(parcel.from(), parcel.body.kind(), parcel.bytes);
        if self.connections[parcel.from()].is_some() && at > self.now {
            self.queue.push(at, Event::Depart(parcel));
        } else if self.connections[parcel.from()].is_some() {
            self.depart(parcel);
        } else {
            self.travel(parcel, at);
        }
    }

    fn depart(&mut self, parcel: Parcel) {
        let node = parcel.from();
        self.drain(node, true);
        if let Some(connection) = &mut self.connections[node] {
            let (flow, bytes) = (parcel.to(), parcel.bytes.into());
            connection.up.push(self.now, flow, bytes, parcel);
            self.watch(node, true);
        }
    }

    fn travel(&mut self, parcel: Parcel, at: Instant) {
        let [first, second] = self.network.carry(at, parcel.from(), parcel.to());
        self.watch.send(at, &parcel, first);
        if let (Some(second), Body::Message(packet)) = (second, &parcel.body) {
            let body = Body::Message(Arc::clone(packet));
            self.queue.push(second, Event::Arrive(Parcel { body, ..parcel }));
        }
        if let Some(first) = first {
            self.queue.push(first, Event::Arrive(parcel));
        }
    }

    fn arrive(&mut self, parcel: Parcel) {
        let node = parcel.to();
        if self.connections[node].is_none() {
            return self.receive(parcel);
        }
        self.drain(node, false);
        if let Some(connection) = &mut self.connections[node] {
            let (flow, bytes) = (parcel.from(), parcel.bytes.into());
            connection.down.push(self.now, flow, bytes, parcel);
            self.watch(node, false);
        }
    }

    /// Takes out of a connection what is through.
    fn drain(&mut self, node: NodeIndex, up: bool) {
        let Some(connection) = &mut self.connections[node] else { return };
        let pipe = if up { &mut connection.up } else { &mut connection.down };
        for parcel in pipe.through(self.now) {
            if up {
                self.travel(parcel, self.now);
            } else {
                self.receive(parcel);
            }
        }
        self.watch(node, up);
    }

    fn watch(&mut self, node: NodeIndex, up: bool) {
        let Some(connection) = &mut self.connections[node] else { return };
        let pipe = if up { &mut connection.up } else { &mut connection.down };
        if let Some(at) = pipe.watch_next(self.now) {
            self.queue.push(at, Event::Pipe { node, up });
        }
    }

    /// A worker checks what arrived.
    fn receive(&mut self, parcel: Parcel) {
        let node = parcel.to();
        if !self.nodes[node].is_up() {
            return;
        }
        self.traffic.received(node, parcel.bytes);
        let signatures = match &parcel.body {
            Body::Message(packet) => packet.signatures,
            _ => 1,
        };
        let mut from = self.wake(node, Thread::Reader, self.now);
        if self.cpus[node].as_ref().is_none_or(|cpu| cpu.has_idle_worker(from)) {
            from = self.wake(node, Thread::Worker, from);
        }
        let checked = self.cpus[node].as_mut().map_or(from, |cpu| cpu.check(from, &parcel, signatures));
        let work = Work::Parcel(parcel);
        if checked > self.now {
            self.queue.push(checked, Event::Work { node, work });
        } else {
            self.run_on(node, work);
        }
    }
}
