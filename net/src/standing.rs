//! How each peer behaves: penalty points that decay, bans that expire, and token buckets. Survives reconnecting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use libp2p::PeerId;
use tokio::time::Instant;

use crate::{
    channel::Channel,
    config::{Rate, Scoring},
    lock,
};

/// Peers remembered after they left. The best behaved are forgotten first.
const MAX_REMEMBERED: usize = 4096;

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offence {
    /// Bytes that do not decode, or are over a size limit.
    Malformed,
    /// A binding or record that does not verify, or is another peer's.
    Forged,
    /// A gossip message that the driver rejected.
    Rejected,
    /// A message on a committee channel from a peer that is not bound to a member. Cheap: views of the committee
    /// differ around an epoch's end.
    NotMember,
    /// More messages than its rate.
    RateExceeded,
    /// Streams opened again and again.
    Greedy,
}

impl Offence {
    /// Penalty points.
    pub const fn points(self) -> f64 {
        match self {
            Self::Malformed | Self::Forged => 100.0,
            Self::Rejected => 20.0,
            Self::NotMember => 4.0,
            Self::Greedy => 2.0,
            // Over 100 messages beyond the rate within a half life.
            Self::RateExceeded => 1.0,
        }
    }
}

/// What is rated apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rated {
    Direct(Channel),
    Gossip,
    Request,
    StreamOpened,
}

const BUCKETS: usize = Channel::ALL.len() + 3;

impl Rated {
    fn index(self) -> usize {
        match self {
            Self::Direct(channel) => channel.index(),
            Self::Gossip => Channel::ALL.len(),
            Self::Request => Channel::ALL.len() + 1,
            Self::StreamOpened => Channel::ALL.len() + 2,
        }
    }

    fn tokens(self, size: usize) -> f64 {
        let part = match self {
            Self::Direct(Channel::Batch) | Self::Request | Self::StreamOpened => return 1.0,
            Self::Direct(_) => 16 * 1024,
            Self::Gossip => 4 * 1024,
        };
        1.0 + (size / part) as f64
    }
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, at: now }
    }

    fn take(&mut self, now: Instant, tokens: f64) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate.per_second).min(self.rate.burst);
        self.at = now;
        // A message dearer than the burst passes when the bucket is full.
        if self.tokens < tokens.min(self.rate.burst) {
            return false;
        }
        self.tokens -= tokens;
        true
    }
}

/// One peer's record.
#[derive(Debug)]
pub(crate) struct Standing {
    points: f64,
    at: Instant,
    banned_until: Option<Instant>,
    buckets: [Bucket; BUCKETS],
}

impl Standing {
    fn new(scoring: &Scoring, now: Instant) -> Self {
        // A stream is reopened after back-off; more is hammering.
        let opened = Rate { per_second: 1.0, burst: 32.0 };
        let buckets = std::array::from_fn(|index| {
            let rate = match index.checked_sub(Channel::ALL.len()) {
                None => scoring.rates[index],
                Some(0) => scoring.gossip_rate,
                Some(1) => scoring.request_rate,
                Some(_) => opened,
            };
            Bucket::new(rate, now)
        });
        Self { points: 0.0, at: now, banned_until: None, buckets }
    }

    fn decayed(&self, scoring: &Scoring, now: Instant) -> f64 {
        let halvings =
            now.saturating_duration_since(self.at).as_secs_f64() / scoring.half_life.as_secs_f64().max(0.001);
        self.points * (-halvings).exp2()
    }

    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| until > now)
    }
}

/// All peers' records.
pub(crate) struct Standings {
    scoring: Scoring,
    peers: Mutex<HashMap<PeerId, Arc<Mutex<Standing>>>>,
}

impl Standings {
    pub(crate) fn new(scoring: Scoring) -> Self {
        Self { scoring, peers: Mutex::default() }
    }

    /// The record of a peer, made if new.
    pub(crate) fn of(&self, peer: &PeerId) -> Arc<Mutex<Standing>> {
        let now = Instant::now();
        let mut peers = lock(&self.peers);
        if let Some(standing) = peers.get(peer) {
            return standing.clone();
        }
        if peers.len() >= MAX_REMEMBERED {
            self.forget_best(&mut peers, now);
        }
        let standing = Arc::new(Mutex::new(Standing::new(&self.scoring, now)));
        peers.insert(*peer, standing.clone());
        standing
    }

    /// Forgets the better half of those that nothing refers to.
    fn forget_best(&self, peers: &mut HashMap<PeerId, Arc<Mutex<Standing>>>, now: Instant) {
        let mut idle: Vec<_> = peers
            .iter()
            .filter(|(_, standing)| Arc::strong_count(standing) == 1)
            .map(|(peer, standing)| {
                let standing = lock(standing);
                (standing.is_banned(now), standing.decayed(&self.scoring, now), *peer)
            })
            .collect();
        idle.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for (_, _, peer) in idle.drain(..idle.len().div_ceil(2)) {
            peers.remove(&peer);
        }
    }

    /// Takes the tokens of a message of `size` bytes. False: it is over the rate.
    pub(crate) fn allow(&self, standing: &Mutex<Standing>, rated: Rated, size: usize) -> bool {
        lock(standing).buckets[rated.index()].take(Instant::now(), rated.tokens(size))
    }

    /// Adds penalty points; true when that bans the peer now.
    pub(crate) fn penalize(&self, standing: &Mutex<Standing>, offence: Offence) -> bool {
        let now = Instant::now();
        let mut standing = lock(standing);
        standing.points = standing.decayed(&self.scoring, now) + offence.points();
        standing.at = now;
        if standing.points < self.scoring.ban_at || standing.is_banned(now) {
            return false;
        }
        standing.banned_until = now.checked_add(self.scoring.ban);
        true
    }

    /// Bans for at least this long.
    pub(crate) fn ban(&self, peer: &PeerId, time: Duration) {
        let until = Instant::now().checked_add(time);
        let standing = self.of(peer);
        let mut standing = lock(&standing);
        standing.banned_until = standing.banned_until.max(until);
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        let standing = lock(&self.peers).get(peer).cloned();
        standing.is_some_and(|standing| lock(&standing).is_banned(Instant::now()))
    }

    /// Penalty points of a peer now.
    pub(crate) fn points(&self, peer: &PeerId) -> f64 {
        let standing = lock(&self.peers).get(peer).cloned();
        standing.map_or(0.0, |standing| lock(&standing).decayed(&self.scoring, Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn points_decay_and_bans_expire() {
        let standings = Standings::new(Scoring::default());
        let peer = PeerId::random();
        let standing = standings.of(&peer);
        for _ in 0..4 {
            assert!(!standings.penalize(&standing, Offence::Rejected));
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!((standings.points(&peer) - 40.0).abs() < 0.1);
        assert!(standings.penalize(&standing, Offence::Malformed));
        assert!(!standings.penalize(&standing, Offence::Malformed), "a ban is reported once");
        assert!(standings.is_banned(&peer));
        tokio::time::advance(Duration::from_secs(301)).await;
        assert!(!standings.is_banned(&peer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_allows_its_burst_and_then_its_rate() {
        let mut scoring = Scoring::default();
        scoring.rates[0] = Rate { per_second: 10.0, burst: 5.0 };
        let standings = Standings::new(scoring);
        let standing = standings.of(&PeerId::random());
        let allowed =
            |count: usize| (0..count).filter(|_| standings.allow(&standing, Rated::Direct(Channel::ALL[0]), 1)).count();
        assert_eq!(allowed(20), 5);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(allowed(20), 2);
    }

    #[tokio::test]
    async fn remembered_peers_are_bounded_and_banned_ones_kept() {
        let standings = Standings::new(Scoring::default());
        let banned = PeerId::random();
        standings.ban(&banned, Duration::from_secs(3600));
        for _ in 0..MAX_REMEMBERED + 10 {
            standings.of(&PeerId::random());
        }
        assert!(lock(&standings.peers).len() <= MAX_REMEMBERED);
        assert!(standings.is_banned(&banned));
    }
}
