//! Counters for metrics: plain atomics, read as a snapshot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::channel::{Channel, Topic};

/// One kind of traffic.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) messages_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) dropped_out: AtomicU64,
    pub(crate) over_rate_in: AtomicU64,
    pub(crate) not_member_in: AtomicU64,
}

impl Flow {
    pub(crate) fn received(&self, bytes: usize) {
        self.messages_in.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.messages_out.fetch_add(1, Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    fn snapshot(&self, name: &'static str) -> FlowSnapshot {
        FlowSnapshot {
            name,
            messages_in: self.messages_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            messages_out: self.messages_out.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            dropped_out: self.dropped_out.load(Relaxed),
            over_rate_in: self.over_rate_in.load(Relaxed),
            not_member_in: self.not_member_in.load(Relaxed),
        }
    }
}

/// One kind of traffic at one moment. Payload bytes, without frames and encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowSnapshot {
    /// Channel or topic.
    pub name: &'static str,
    /// Messages handed to the driver.
    pub messages_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Messages written to a stream (once per peer), or published.
    pub messages_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Messages dropped because a queue was full.
    pub dropped_out: u64,
    /// Messages dropped because their sender was over its rate.
    pub over_rate_in: u64,
    /// Messages dropped because their sender is no bound member of the committee.
    pub not_member_in: u64,
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of the network.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            channels: [Flow; Channel::ALL.len()],
            topics: [Flow; Topic::ALL.len()],
            $(pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct NetCounters {
            /// Direct streams, in the order of [`Channel::ALL`].
            pub channels: Vec<FlowSnapshot>,
            /// Gossip, in the order of [`Topic::ALL`].
            pub topics: Vec<FlowSnapshot>,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The values now; not one atomic moment.
            pub(crate) fn snapshot(&self) -> NetCounters {
                NetCounters {
                    channels: Channel::ALL.iter().map(|c| self.channel(*c).snapshot(c.name())).collect(),
                    topics: Topic::ALL.iter().map(|t| self.topic(*t).snapshot(t.name())).collect(),
                    $($name: self.$name.load(Relaxed),)*
                }
            }
        }

        impl NetCounters {
            /// The single counters by name, for metrics.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

events! {
    /// Dials started.
    dials,
    /// Dials that failed.
    dials_failed,
    /// Connections established, both directions.
    connections,
    /// Connections closed.
    disconnections,
    /// Connections refused by a limit or a ban.
    connections_denied,
    /// Direct streams opened by this node whose hello was answered.
    streams_opened,
    /// Direct streams that broke or were not answered, and were opened again.
    streams_failed,
    /// Peers refused: foreign network, forged or stale binding.
    peers_refused,
    /// Peers banned.
    bans,
    /// Offences counted against peers.
    offences,
    /// Gossip messages that the driver rejected.
    gossip_rejected,
    /// Gossip messages whose verdict came too late or never.
    gossip_expired,
    /// Gossip messages that could not be published.
    gossip_unpublished,
    /// Requests sent.
    requests_out,
    /// Requests that failed.
    requests_failed,
    /// Requests handed to the driver.
    requests_in,
    /// Requests answered `busy`.
    requests_refused,
    /// Peer exchange answers used.
    exchanges,
    /// Frames held back because the driver was slow (back-pressure on the sender).
    inbound_stalls,
}

impl Counters {
    pub(crate) fn channel(&self, channel: Channel) -> &Flow {
        &self.channels[channel.index()]
    }

    pub(crate) fn topic(&self, topic: Topic) -> &Flow {
        &self.topics[topic.index()]
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

pub(crate) fn count_many(counter: &AtomicU64, many: usize) {
    counter.fetch_add(many as u64, Relaxed);
}
