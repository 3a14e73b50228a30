//! One process at a time speaks for an operator: the one that was there first, for as long as it is connected. Another that
//! shows the same operator's key meanwhile (a copied data directory, a restored backup, a second machine) is turned away,
//! and told so once the first has proved that it lives. A process is told apart from another by its binding, which it signs
//! anew at each start.

use std::collections::{HashMap, HashSet};

use libp2p::{PeerId, swarm::ConnectionId};
use squad_types::{Address, Timestamp};
use tokio::time::Instant;

use crate::event::Refusal;

/// One run of a node with an operator's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) peer: PeerId,
    /// When it signed its binding.
    pub(crate) issued: Timestamp,
}

/// The last other process that showed the key.
#[derive(Debug)]
struct Contender {
    process: Process,
    since: Instant,
    /// The first one has answered a ping that was sent after `since`: two live.
    proven: bool,
}

#[derive(Debug)]
struct Session {
    process: Process,
    connections: HashSet<ConnectionId>,
    contender: Option<Contender>,
}

/// Who speaks for each operator now.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: HashSet<ConnectionId>,
    of: HashMap<Address, Session>,
    /// Which session a connection belongs to.
    by_connection: HashMap<ConnectionId, Address>,
}

impl Sessions {
    pub(crate) fn opened(&mut self, connection: ConnectionId) {
        self.open.insert(connection);
    }

    /// The connection is gone: a session ends with its last.
    pub(crate) fn closed(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
        self.leave(connection);
    }

    fn leave(&mut self, connection: ConnectionId) {
        let Some(operator) = self.by_connection.remove(&connection) else { return };
        if let Some(session) = self.of.get_mut(&operator) {
            session.connections.remove(&connection);
            if session.connections.is_empty() {
                self.of.remove(&operator);
            }
        }
    }

    /// A process shows the key of an operator.
    ///
    /// # Errors
    /// [`Refusal::Contested`] while another process may live that is connected, [`Refusal::HeldElsewhere`] when it does.
    pub(crate) fn admits(&mut self, operator: &Address, process: Process, now: Instant) -> Result<(), Refusal> {
        let Some(session) = self.of.get_mut(operator).filter(|session| session.process != process) else {
            return Ok(());
        };
        let known = session.contender.take().filter(|contender| contender.process == process);
        let contender = session.contender.insert(known.unwrap_or(Contender { process, since: now, proven: false }));
        Err(if contender.proven { Refusal::HeldElsewhere } else { Refusal::Contested })
    }

    /// A process that is admitted speaks for the operator, on this connection.
    pub(crate) fn enter(&mut self, operator: Address, process: Process, connection: ConnectionId) {
        // A stream may be read after its connection has closed: it begins nothing.
        if self.open.contains(&connection) {
            // A connection speaks for one operator, so that nobody fills this with fresh keys.
            if self.by_connection.get(&connection).is_some_and(|known| *known != operator) {
                self.leave(connection);
            }
            let fresh = || Session { process, connections: HashSet::new(), contender: None };
            self.of.entry(operator).or_insert_with(fresh).connections.insert(connection);
            self.by_connection.insert(connection, operator);
        }
    }

    /// Whoever is at the other end has answered a ping that was sent at `sent`.
    pub(crate) fn lives(&mut self, connection: ConnectionId, sent: Instant) {
        let Some(operator) = self.by_connection.get(&connection) else { return };
        let contender = self.of.get_mut(operator).and_then(|session| session.contender.as_mut());
        if let Some(contender) = contender.filter(|contender| contender.since < sent) {
            contender.proven = true;
        }
    }

    /// Whether another peer than this one speaks for the operator now.
    pub(crate) fn is_others(&self, operator: &Address, peer: &PeerId) -> bool {
        self.of.get(operator).is_some_and(|session| session.process.peer != *peer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OPERATOR: Address = Address([7; 20]);

    struct World {
        sessions: Sessions,
        start: Instant,
        peer: PeerId,
    }

    impl World {
        fn new(connections: usize) -> Self {
            let mut sessions = Sessions::default();
            (0..connections).for_each(|number| sessions.opened(ConnectionId::new_unchecked(number)));
            Self { sessions, start: Instant::now(), peer: PeerId::random() }
        }

        /// The process that started at that second says hello on that connection at that second.
        fn enter(&mut self, issued: u64, connection: usize, second: u64) -> Result<(), Refusal> {
            let process = Process { peer: self.peer, issued: Timestamp(issued) };
            self.sessions.admits(&OPERATOR, process, self.start + Duration::from_secs(second))?;
            self.sessions.enter(OPERATOR, process, ConnectionId::new_unchecked(connection));
            Ok(())
        }

        fn lives(&mut self, connection: usize, second: u64) {
            self.sessions.lives(ConnectionId::new_unchecked(connection), self.start + Duration::from_secs(second));
        }

        fn closed(&mut self, connection: usize) {
            self.sessions.closed(ConnectionId::new_unchecked(connection));
        }
    }

    #[test]
    fn a_second_process_is_told_of_the_first_once_that_has_answered() {
        let mut world = World::new(9);
        assert_eq!(world.enter(1, 0, 1), Ok(()));
        world.lives(0, 2);
        assert_eq!(world.enter(5, 1, 5), Err(Refusal::Contested));
        // What was asked before the second came proves nothing.
        world.lives(0, 5);
        assert_eq!(world.enter(5, 2, 6), Err(Refusal::Contested));
        // Nor does the second one's own answer.
        world.lives(2, 7);
        assert_eq!(world.enter(5, 3, 8), Err(Refusal::Contested));
        world.lives(0, 8);
        assert_eq!(world.enter(5, 4, 9), Err(Refusal::HeldElsewhere));
        // A third one has been beside nobody yet.
        assert_eq!(world.enter(9, 5, 9), Err(Refusal::Contested));
        // The first may come and go on its own connections.
        assert_eq!(world.enter(1, 6, 9), Ok(()));
        world.closed(0);
        assert_eq!(world.enter(9, 7, 10), Err(Refusal::Contested));
    }

    #[test]
    fn who_has_gone_holds_nothing() {
        let mut world = World::new(9);
        assert_eq!(world.enter(1, 0, 1), Ok(()));
        assert_eq!(world.enter(1, 1, 1), Ok(()));
        assert_eq!(world.enter(5, 2, 5), Err(Refusal::Contested));
        world.closed(0);
        world.closed(2);
        assert_eq!(world.enter(5, 3, 6), Err(Refusal::Contested));
        world.closed(1);
        assert_eq!(world.enter(5, 4, 7), Ok(()));
        assert_eq!(world.enter(1, 5, 8), Err(Refusal::Contested));
        // A hello that is read after its connection has closed holds nothing either.
        world.closed(4);
        assert_eq!(world.enter(5, 4, 9), Ok(()));
        assert_eq!(world.enter(1, 6, 9), Ok(()));
        assert!(world.sessions.of[&OPERATOR].connections.len() == 1);
    }

    #[test]
    fn a_connection_holds_one_operator_however_many_keys_it_shows() {
        let mut world = World::new(1);
        let process = Process { peer: world.peer, issued: Timestamp(1) };
        for key in 0..100 {
            world.sessions.enter(Address([key; 20]), process, ConnectionId::new_unchecked(0));
        }
        assert_eq!(world.sessions.of.len(), 1);
        world.closed(0);
        assert!(world.sessions.of.is_empty() && world.sessions.by_connection.is_empty());
    }
}
