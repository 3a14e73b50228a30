//! The behaviour that opens and accepts direct streams. Unlike `libp2p-stream` it never drops an inbound stream, ties
//! every stream to its connection, so that crossing dials can be told apart, and dials nobody.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use libp2p::{
    InboundUpgrade, Multiaddr, OutboundUpgrade, PeerId, Stream, StreamProtocol,
    core::{Endpoint, UpgradeInfo, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

use squad_types::NetworkId;

use crate::{channel::Class, config::protocol_prefix};

/// The protocols of the two classes.
pub(crate) fn protocols(network: &NetworkId) -> [StreamProtocol; 2] {
    Class::ALL.map(|class| {
        let name = format!("{}/direct/{}", protocol_prefix(network), class.name());
        // The name starts with a slash, which is all that is asked of it.
        StreamProtocol::try_from_owned(name).unwrap_or_else(|_| StreamProtocol::new("/squad"))
    })
}

/// What happened to a stream.
#[derive(Debug)]
pub(crate) struct StreamEvent {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) what: StreamOutcome,
}

#[derive(Debug)]
pub(crate) enum StreamOutcome {
    /// The peer opened a stream.
    Inbound(Class, Stream),
    /// The stream asked for is open.
    Outbound(Class, Stream),
    /// The peer does not speak this network's protocol.
    Unsupported,
    /// The stream could not be opened.
    Failed(Class, String),
}

/// The behaviour.
pub(crate) struct Streams {
    protocols: [StreamProtocol; 2],
    actions: VecDeque<ToSwarm<StreamEvent, Class>>,
}

impl Streams {
    pub(crate) fn new(network: &NetworkId) -> Self {
        Self { protocols: protocols(network), actions: VecDeque::new() }
    }

    /// Opens a stream on this connection; an event tells the outcome unless the connection closes first.
    pub(crate) fn open(&mut self, peer: PeerId, connection: ConnectionId, class: Class) {
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: class,
        });
    }

    fn handler(&self) -> Handler {
        Handler { protocols: self.protocols.clone(), wanted: VecDeque::new(), outcomes: VecDeque::new() }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, what: THandlerOutEvent<Self>) {
        self.actions.push_back(ToSwarm::GenerateEvent(StreamEvent { peer, connection, what }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // `open` is called by the task that polls the swarm right afterwards, so no waker is needed.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The part that lives with one connection.
pub(crate) struct Handler {
    protocols: [StreamProtocol; 2],
    wanted: VecDeque<Class>,
    outcomes: VecDeque<StreamOutcome>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Class;
    type ToBehaviour = StreamOutcome;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Class;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(Upgrade(self.protocols.to_vec()), ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, Class, StreamOutcome>> {
        // Both queues are filled only by the task that polls next.
        if let Some(outcome) = self.outcomes.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(outcome));
        }
        if let Some(class) = self.wanted.pop_front() {
            let upgrade = Upgrade(vec![self.protocols[class.index()].clone()]);
            let protocol = SubstreamProtocol::new(upgrade, class);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, class: Class) {
        self.wanted.push_back(class);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Upgrade, Upgrade, (), Class>) {
        let outcome = match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol), ..
            }) => {
                let bulk = protocol == self.protocols[Class::Bulk.index()];
                StreamOutcome::Inbound(if bulk { Class::Bulk } else { Class::Control }, stream)
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: class,
            }) => StreamOutcome::Outbound(class, stream),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: class, error }) => match error {
                StreamUpgradeError::NegotiationFailed => StreamOutcome::Unsupported,
                other => StreamOutcome::Failed(class, other.to_string()),
            },
            _ => return,
        };
        self.outcomes.push_back(outcome);
    }
}

/// Negotiates a protocol and hands the raw stream over.
pub(crate) struct Upgrade(Vec<StreamProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
