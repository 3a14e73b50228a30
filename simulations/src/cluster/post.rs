//! Who gets a message, and what a misbehaving sender makes of it.

use super::{Cluster, Event, MISCHIEF_MS, hears};
use crate::byzantine::{Sent, Tools};
use crate::network::NodeIndex;
use crate::packet::{Body, Packet, Parcel};
use crate::queue::Instant;
use squad_sequencer::{Peer, Recipients, VerifiedResponse};
use squad_types::{Message, Response, VerifiedMessage};
use std::sync::Arc;

/// Messages for everyone that a node remembers to have had.
const MAX_GOSSIP: usize = 1_000;

impl Cluster {
    /// How others know a node.
    pub(super) fn peer_of(&self, node: NodeIndex) -> Peer {
        self.addresses.get(node).map_or(Peer::Follower(node as u64), |address| Peer::Operator(*address))
    }

    /// The nodes that a peer is; of twins, the one that this node's questions go to.
    pub(super) fn nodes_of(&self, node: NodeIndex, peer: Peer) -> Option<NodeIndex> {
        match peer {
            Peer::Follower(follower) => Some(follower as NodeIndex),
            Peer::Operator(operator) => {
                let nodes = self.operators.get(&operator)?;
                nodes.get(node % nodes.len()).copied()
            }
        }
    }

    fn recipients(&mut self, node: NodeIndex, to: Recipients) -> Arc<[NodeIndex]> {
        let others = (0..self.nodes.len()).filter(|peer| *peer != node);
        match to {
            Recipients::One(Peer::Operator(operator)) => {
                self.operators.get(&operator).map(|nodes| nodes.as_slice().into()).unwrap_or_default()
            }
            Recipients::One(peer) => self.nodes_of(node, peer).into_iter().collect(),
            Recipients::Everyone => others.filter(|peer| self.are_linked(node, *peer)).collect(),
            Recipients::Committee => {
                if let Some(audience) = &self.nodes[node].audience {
                    return Arc::clone(audience);
                }
                let committees = self.nodes[node].committees.iter().rev().take(3);
                let committees: Vec<_> = committees.collect();
                let operators = (0..self.first_follower).filter(|peer| *peer != node);
                let member = |peer: &NodeIndex| committees.iter().any(|c| c.contains(&self.addresses[*peer]));
                let audience: Arc<[NodeIndex]> = operators.filter(member).collect();
                self.nodes[node].audience = Some(Arc::clone(&audience));
                audience
            }
        }
    }

    pub(super) fn publish(&mut self, node: NodeIndex, to: Recipients, message: &Arc<Message>, at: Instant) {
        let packet = self.pack(message, to == Recipients::Everyone);
        let recipients = self.recipients(node, to);
        if !self.behaviours.contains_key(&node) {
            for peer in recipients.iter() {
                self.deliver(node, *peer, Arc::clone(&packet), at);
            }
            return;
        }
        for peer in recipients.iter().copied() {
            for sent in self.with_behaviour(node, |behaviour, tools| behaviour.rewrite(peer, message, tools)) {
                if sent.later_ms > 0 {
                    let event = Event::Late { node, to: peer, message: sent.message };
                    self.queue.push(at.plus_ms(sent.later_ms), event);
                } else if Arc::ptr_eq(&sent.message, message) {
                    self.deliver(node, peer, Arc::clone(&packet), at);
                } else {
                    self.post(node, peer, &sent.message, at);
                }
            }
        }
    }

    /// Sends a message to one node as it is.
    pub(super) fn post(&mut self, node: NodeIndex, to: NodeIndex, message: &Message, at: Instant) {
        // What a misbehaving node makes of a message goes the same ways.
        let for_everyone = matches!(message, Message::Commit(_) | Message::Evidence(_) | Message::Ready(_));
        let packet = self.pack(message, for_everyone);
        self.deliver(node, to, packet, at);
    }

    fn pack(&mut self, message: &Message, for_everyone: bool) -> Arc<Packet> {
        let mut packet = Packet::new(message, &self.domain, self.keys.verifier(), &mut self.scratch);
        if packet.verified.is_some() {
            self.watch.said(message);
        }
        if for_everyone && packet.verified.is_some() {
            self.gossiped += 1;
            packet.gossip = Some(self.gossiped);
        }
        Arc::new(packet)
    }

    /// Whether a node gets this for the first time. An honest operator hands it on to the followers that hear it; what comes to a
    /// follower twice, its driver drops.
    pub(super) fn hand_on(&mut self, node: NodeIndex, from: NodeIndex, packet: &Arc<Packet>) -> bool {
        let Some(number) = packet.gossip else { return true };
        let seen = &mut self.nodes[node].gossip;
        let is_new = seen.insert(number);
        while seen.len() > MAX_GOSSIP {
            seen.pop_first();
        }
        if node >= self.first_follower {
            return is_new;
        }
        if is_new && !self.behaviours.contains_key(&node) {
            let followers = self.first_follower..self.nodes.len();
            let listening = followers.filter(|peer| *peer != from && hears(*peer, node, self.first_follower));
            for peer in listening.collect::<Vec<_>>() {
                self.deliver(node, peer, Arc::clone(packet), self.now);
            }
        }
        true
    }

    fn deliver(&mut self, node: NodeIndex, to: NodeIndex, packet: Arc<Packet>, at: Instant) {
        let bytes = packet.bytes;
        self.ship(Parcel { from: node as u32, to: to as u32, bytes, life: 0, body: Body::Message(packet) }, at);
    }

    fn with_behaviour<T: Default>(
        &mut self,
        node: NodeIndex,
        run: impl FnOnce(&mut dyn crate::byzantine::Behaviour, &mut Tools<'_>) -> T,
    ) -> T {
        let Some(mut behaviour) = self.behaviours.remove(&node) else { return T::default() };
        let signer = self.signers[node].clone();
        let mut tools = Tools {
            signer: &signer,
            domain: &self.domain,
            now: self.now,
            rng: &mut self.rng,
            operators: &self.addresses,
            sequencer: self.nodes[node].sequencer.as_ref(),
        };
        let result = run(behaviour.as_mut(), &mut tools);
        self.behaviours.insert(node, behaviour);
        result
    }

    /// Whether a node's own code gets to see a message.
    pub(super) fn hears(&mut self, node: NodeIndex, from: NodeIndex, message: &VerifiedMessage) -> bool {
        if !self.behaviours.contains_key(&node) {
            return true;
        }
        !self.with_behaviour(node, |behaviour, tools| !behaviour.hears(from, message, tools))
    }

    /// Whether a node's own code gets to see an answer.
    pub(super) fn hears_answer(&mut self, node: NodeIndex, answer: &VerifiedResponse) -> bool {
        if !self.behaviours.contains_key(&node) {
            return true;
        }
        !self.with_behaviour(node, |behaviour, tools| !behaviour.hears_answer(answer, tools))
    }

    /// What a misbehaving node answers; none if it does not.
    pub(super) fn misanswer(&mut self, node: NodeIndex, to: NodeIndex, response: Response) -> Option<Response> {
        if !self.behaviours.contains_key(&node) {
            return Some(response);
        }
        self.with_behaviour(node, |behaviour, tools| behaviour.answers(to, response, tools))
    }

    pub(super) fn mischief(&mut self, node: NodeIndex) {
        if !self.behaviours.contains_key(&node) {
            self.mischief.remove(&node);
            return;
        }
        if self.nodes[node].is_up() {
            let said: Vec<(NodeIndex, Sent)> =
                self.with_behaviour(node, |behaviour, tools| behaviour.volunteers(tools));
            for (to, sent) in said.into_iter().filter(|(to, _)| *to != node) {
                self.queue.push(self.now.plus_ms(sent.later_ms), Event::Late { node, to, message: sent.message });
            }
        }
        self.queue.push(self.now.plus_ms(MISCHIEF_MS), Event::Mischief { node });
    }
}
