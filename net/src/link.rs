//! The connections and direct streams of one peer, and which connection carries them when two dials cross.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use libp2p::{PeerId, swarm::ConnectionId};
use tokio::{task::AbortHandle, time::Instant};

use crate::{channel::Class, shared::Peer};

/// Connections of one peer that begin within this, one dialled by each side, are a crossing: both sides keep the same.
/// A later one replaces an older one, which is probably dead.
const CROSSING: Duration = Duration::from_secs(10);
/// Inbound streams of one class read at once: the one in use, and one that ends.
const MAX_READERS: usize = 2;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// Whether this node dialled.
    pub(crate) dialed: bool,
    pub(crate) since: Instant,
    pub(crate) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It may carry streams.
    Good,
    /// A further one of a peer that is heard: another process with the same identity may be behind it, until its hello.
    Unproven,
    /// To be closed then.
    Away(Instant),
}

/// The outbound stream of one class.
#[derive(Debug)]
pub(crate) enum Out {
    /// To be opened then.
    Waiting(Instant),
    /// Asked for on this connection.
    Opening(ConnectionId),
    /// Its task runs.
    Running(ConnectionId, AbortHandle),
}

/// One connected peer as the network task sees it.
pub(crate) struct Link {
    pub(crate) peer: Arc<Peer>,
    connections: Vec<Connection>,
    /// The connection that this node's outbound streams use.
    active: ConnectionId,
    out: [Out; 2],
    failures: [u32; 2],
    readers: [VecDeque<AbortHandle>; 2],
    pub(crate) announced: bool,
    /// Refused: nothing is opened any more, and the connection is closed then.
    pub(crate) refused: Option<Instant>,
}

impl Link {
    pub(crate) fn new(peer: Arc<Peer>, first: Connection) -> Self {
        let now = Instant::now();
        Self {
            peer,
            connections: vec![first],
            active: first.id,
            out: [Out::Waiting(now), Out::Waiting(now)],
            failures: [0; 2],
            readers: Default::default(),
            announced: false,
            refused: None,
        }
    }

    /// Adds a further connection; the one to close, if this side has to.
    pub(crate) fn add(&mut self, local: &PeerId, new: Connection) -> Option<ConnectionId> {
        let active = self.connections.iter().copied().find(|connection| connection.id == self.active);
        self.connections.push(new);
        let Some(active) = active else {
            self.switch(new.id);
            return None;
        };
        let crossing = new.dialed != active.dialed && new.since.duration_since(active.since) < CROSSING;
        if crossing {
            let keep_new = new.dialed == (*local < self.peer.id);
            if keep_new {
                self.switch(new.id);
            }
            return Some(if keep_new { active.id } else { new.id });
        }
        if self.announced && new.dialed {
            // By an address that did not say whose it is. The one in use works, or its pings will end it.
            return Some(new.id);
        }
        if self.announced {
            self.set(new.id, State::Unproven);
            return None;
        }
        self.replace(&active, &new)
    }

    /// The hello of this connection was taken: it is the same process that is heard.
    pub(crate) fn entered(&mut self, id: ConnectionId) -> Option<ConnectionId> {
        let find = |id: ConnectionId| self.connections.iter().copied().find(|connection| connection.id == id);
        let new = find(id).filter(|connection| connection.state == State::Unproven)?;
        let active = find(self.active);
        self.set(id, State::Good);
        self.replace(&active?, &new)
    }

    /// Uses a later connection; the one to close, if this side has to.
    fn replace(&mut self, active: &Connection, new: &Connection) -> Option<ConnectionId> {
        self.switch(new.id);
        // Of two dials by one side only that side closes one: the other may see them in another order.
        (new.dialed != active.dialed || new.dialed).then_some(active.id)
    }

    /// Carries nothing on that connection any more, until it is closed then. False: it was turned away before.
    pub(crate) fn turn_away(&mut self, id: ConnectionId, until: Instant) -> bool {
        let is_news = |connection: &Connection| connection.id == id && !matches!(connection.state, State::Away(_));
        let is_news = self.connections.iter().any(is_news);
        if is_news {
            self.set(id, State::Away(until));
        }
        is_news
    }

    fn set(&mut self, id: ConnectionId, state: State) {
        for connection in self.connections.iter_mut().filter(|connection| connection.id == id) {
            connection.state = state;
        }
    }

    /// The connections that are to be closed by now.
    pub(crate) fn turned_away_by_now(&self) -> impl Iterator<Item = ConnectionId> {
        let now = Instant::now();
        let is_due = move |connection: &&Connection| matches!(connection.state, State::Away(at) if at <= now);
        self.connections.iter().filter(is_due).map(|connection| connection.id)
    }

    /// Removes a closed connection. False: it was the last.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> bool {
        self.connections.retain(|connection| connection.id != id);
        let Some(last) = self.connections.last_mut() else { return false };
        if self.active == id {
            if last.state == State::Unproven {
                last.state = State::Good;
            }
            let last = last.id;
            self.switch(last);
        }
        true
    }

    fn switch(&mut self, to: ConnectionId) {
        self.active = to;
        for out in &mut self.out {
            if let Out::Running(_, task) = std::mem::replace(out, Out::Waiting(Instant::now())) {
                task.abort();
            }
        }
    }

    /// The classes to open now, with the connection to open them on; they count as opening from here on. When closing,
    /// only those that something is queued for.
    pub(crate) fn take_due(&mut self, closing: bool) -> Vec<(ConnectionId, Class)> {
        let active = self.connections.iter().find(|connection| connection.id == self.active);
        if self.refused.is_some() || active.is_some_and(|active| active.state != State::Good) {
            return Vec::new();
        }
        let now = Instant::now();
        let is_due = |class: &Class| {
            matches!(self.out[class.index()], Out::Waiting(at) if at <= now)
                && !(closing && self.peer.outbox(*class).is_empty())
        };
        let due: Vec<_> = Class::ALL.into_iter().filter(is_due).map(|class| (self.active, class)).collect();
        for (connection, class) in &due {
            self.out[class.index()] = Out::Opening(*connection);
        }
        due
    }

    /// Whether a stream that opened is the one wanted.
    pub(crate) fn wants(&self, connection: ConnectionId, class: Class) -> bool {
        matches!(self.out[class.index()], Out::Opening(id) if id == connection)
    }

    pub(crate) fn running(&mut self, connection: ConnectionId, class: Class, task: AbortHandle) {
        self.out[class.index()] = Out::Running(connection, task);
    }

    /// The stream works: the next failure waits briefly again. Whether it is the current one.
    pub(crate) fn answered(&mut self, connection: ConnectionId, class: Class) -> bool {
        let current = matches!(self.out[class.index()], Out::Running(id, _) if id == connection);
        if current {
            self.failures[class.index()] = 0;
        }
        current
    }

    /// A stream failed or ended: failures in a row if it was the current one, and it is opened again after `pause`.
    pub(crate) fn failed(
        &mut self,
        connection: ConnectionId,
        class: Class,
        pause: impl FnOnce(u32) -> Duration,
    ) -> Option<u32> {
        let index = class.index();
        match self.out[index] {
            Out::Opening(id) | Out::Running(id, _) if id == connection => {
                self.failures[index] = self.failures[index].saturating_add(1);
                self.out[index] = Out::Waiting(Instant::now() + pause(self.failures[index]));
                Some(self.failures[index])
            }
            _ => None,
        }
    }

    /// Keeps the task that reads a new inbound stream, and ends the oldest if there are too many.
    pub(crate) fn reading(&mut self, class: Class, task: AbortHandle) {
        let readers = &mut self.readers[class.index()];
        readers.retain(|reader| !reader.is_finished());
        if readers.len() >= MAX_READERS
            && let Some(oldest) = readers.pop_front()
        {
            oldest.abort();
        }
        readers.push_back(task);
    }

    /// Whether it is time to close the connections of a refused peer.
    pub(crate) fn is_refusal_due(&self) -> bool {
        self.refused.is_some_and(|at| at <= Instant::now())
    }

    /// Whether some outbound stream may still be writing, or something waits for one to open.
    pub(crate) fn is_writing(&self) -> bool {
        self.refused.is_none()
            && Class::ALL.into_iter().any(|class| match &self.out[class.index()] {
                Out::Running(_, task) => !task.is_finished() || !self.peer.outbox(class).is_empty(),
                Out::Opening(_) | Out::Waiting(_) => !self.peer.outbox(class).is_empty(),
            })
    }

    /// Ends all tasks.
    pub(crate) fn abort(&mut self) {
        self.abort_writers();
        self.readers.iter().flatten().for_each(AbortHandle::abort);
    }

    fn abort_writers(&self) {
        for out in &self.out {
            if let Out::Running(_, task) = out {
                task.abort();
            }
        }
    }

    /// Ends the tasks of a peer whose last connection is closed. Those that read what a member sent before it closed have
    /// until then to hand it over; they are ended by [`LastWords`].
    pub(crate) fn leave(mut self, until: Instant) -> LastWords {
        self.abort_writers();
        if self.refused.is_some() || !self.peer.is_member() {
            self.abort();
        }
        LastWords { until, readers: std::mem::take(&mut self.readers).into_iter().flatten().collect() }
    }
}

/// Tasks that read what a peer sent that has gone. They end by themselves, and with this.
pub(crate) struct LastWords {
    until: Instant,
    readers: Vec<AbortHandle>,
}

impl LastWords {
    /// Whether somebody reads and may go on.
    pub(crate) fn goes_on(&self) -> bool {
        self.until > Instant::now() && !self.readers.iter().all(AbortHandle::is_finished)
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.readers.iter().for_each(AbortHandle::abort);
    }
}
