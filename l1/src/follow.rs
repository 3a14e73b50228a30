//! From one final block to the next, with the stakes as of each.

use crate::abi::StakeTable::committeeCall;
use crate::endpoints::Endpoints;
use crate::error::L1Error;
use crate::view::{Anchored, View, anchor};
use alloy_primitives::{Address, B256};
use alloy_sol_types::SolCall as _;
use squad_types::{Committee, Epoch, Member, Stake};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Blocks read at once when it begins or was away: nodes of the settlement layer keep the state of few past ones.
const AT_ONCE: u64 = 4;

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What to follow.
#[derive(Clone, Copy, Debug)]
pub struct FollowConfig {
    /// The stake table.
    pub table: Address,
    /// How many blocks behind the newest final one.
    pub lag: u64,
    /// Only every so-many-th block is read, the same ones by everybody.
    pub every: u64,
    /// How long between two looks.
    pub poll: Duration,
}

/// What a look at the settlement layer gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing new.
    Same,
    /// So many blocks were read, the newest of which is this one.
    Read {
        /// How many.
        blocks: usize,
        /// The newest.
        number: u64,
        /// How many are at stake as of it.
        members: usize,
    },
}

/// Keeps a [`View`] up to date.
#[derive(Debug)]
pub struct Follower {
    endpoints: Endpoints,
    config: FollowConfig,
    view: Arc<View>,
}

impl Follower {
    /// Follows for a view.
    pub fn new(endpoints: Endpoints, config: FollowConfig, view: Arc<View>) -> Result<Self, L1Error> {
        if config.every == 0 || config.poll.is_zero() {
            return Err(L1Error::Settings("`every` and `poll` have to be above zero".to_owned()));
        }
        Ok(Self { endpoints, config, view })
    }

    /// Looks once, and reads what is new.
    pub async fn step(&mut self) -> Result<Step, L1Error> {
        // What was there at the last look has been there for whoever looks as often.
        self.view.settle();
        let head = self.endpoints.finalized().await?.saturating_sub(self.config.lag);
        let upto = head - head % self.config.every;
        let newest = self.view.newest();
        if upto == 0 || newest.is_some_and(|newest| newest.number >= upto) {
            return Ok(Step::Same);
        }
        if let Some(newest) = newest {
            let (was, now) = (B256::from(newest.hash.0), self.endpoints.hash_of(newest.number).await?);
            if was != now {
                return Err(L1Error::Reorganised { number: newest.number, was, now });
            }
        }
        let from = upto.saturating_sub((AT_ONCE - 1) * self.config.every).max(self.config.every);
        let from = newest
            .map_or(from, |newest| from.max(newest.number - newest.number % self.config.every + self.config.every));
        let mut read = Step::Same;
        for (at, number) in (from..=upto).step_by(self.config.every as usize).enumerate() {
            match self.read(number).await {
                Ok(anchored) => {
                    read = Step::Read { blocks: at + 1, number, members: anchored.members.len() };
                    self.view.add(anchored)?;
                }
                // Past states are a help to whoever was away, and not everybody has them any more.
                Err(error) if number < upto => tracing::debug!(number, %error, "a past block is not read"),
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    async fn read(&self, number: u64) -> Result<Anchored, L1Error> {
        let hash = self.endpoints.hash_of(number).await?;
        // The hash of its answer is for another epoch than any that will be asked for; the members are the same.
        let call = committeeCall { epoch: 0 }.abi_encode();
        let answer = self.endpoints.call_at(hash, self.config.table, call.into()).await?;
        let bad = |why: String| L1Error::Table { number, why };
        let answer = committeeCall::abi_decode_returns_validate(&answer).map_err(|error| bad(error.to_string()))?;
        let member = |member: &crate::abi::Member| Member {
            address: squad_types::Address(member.key.into_array()),
            stake: Stake(member.stake),
        };
        let members: Vec<Member> = answer.members.iter().map(member).collect();
        let committee = Committee::new(Epoch::ZERO, members).map_err(|error| bad(error.to_string()))?;
        if committee.hash().0 != answer.hash.0 {
            return Err(bad(format!("its hash is {}, that of its members is {}", answer.hash, committee.hash())));
        }
        Ok(Anchored { anchor: anchor(number, hash), members: committee.members().to_vec() })
    }

    /// Looks again and again until `stop` is true or its sender gone; tells `told` what each look gave. After failures the pause
    /// grows.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, mut told: impl FnMut(Result<Step, L1Error>)) {
        let mut pause = self.config.poll;
        loop {
            let step = tokio::select! {
                step = self.step() => step,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            pause = if step.is_ok() {
                self.config.poll
            } else {
                pause.saturating_mul(2).min(LONGEST_PAUSE.max(self.config.poll))
            };
            told(step);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}
