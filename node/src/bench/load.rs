//! What is sent: random bytes, or transfers that were signed before the run.

use super::args::MAX_SIGNED;
use super::schedule::{Schedule, scatter};
use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use jsonrpsee::core::client::ClientT;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::rpc_params;
use rand::RngCore;
use squad_executor::{DevAccount, dev_accounts};

/// Random bytes that transactions are cut from. Each begins with a number of its own, so that no two are the same.
const POOL: usize = 1 << 20;
/// Bytes of that number.
const UNIQUE: usize = 8;
/// Threads that sign.
const SIGNERS: usize = 2;

/// Transactions of a run.
pub(super) enum Load {
    /// Random bytes of one size.
    Opaque(Opaque),
    /// Signed transfers, by transaction number.
    Transfers(Vec<Bytes>),
}

/// Random bytes of one size.
pub(super) struct Opaque {
    size: usize,
    pool: Vec<u8>,
    /// Sets this run's transactions apart from those of others.
    run: u64,
}

impl Opaque {
    pub(super) fn new(size: u32) -> Self {
        let size = size as usize;
        let mut pool = vec![0; POOL + size];
        rand::rng().fill_bytes(&mut pool);
        Self { size, pool, run: rand::rng().next_u64() }
    }

    /// Transactions by number, in one allocation.
    fn group(&self, first: u64, count: u64) -> Vec<Bytes> {
        let mut buffer = BytesMut::with_capacity(self.size * count as usize);
        let mut list = Vec::with_capacity(count as usize);
        for number in first..first + count {
            let unique = scatter(self.run.wrapping_add(number));
            let from = (unique % POOL as u64) as usize;
            buffer.extend_from_slice(&unique.to_be_bytes()[..UNIQUE.min(self.size)]);
            buffer.extend_from_slice(&self.pool[from..from + self.size.saturating_sub(UNIQUE)]);
            list.push(buffer.split().freeze());
        }
        list
    }
}

impl Load {
    /// A group's transactions.
    pub(super) fn group(&self, schedule: &Schedule, group: u64) -> Vec<Bytes> {
        let first = group * schedule.group;
        match self {
            Self::Opaque(opaque) => opaque.group(first, schedule.group),
            Self::Transfers(signed) => signed[first as usize..(first + schedule.group) as usize].to_vec(),
        }
    }
}

/// The accounts that send transfers: public ones, which a devnet funds. An account's transactions all go by one call,
/// in the order of their nonces, since operators' lanes are not ordered among each other.
pub(super) struct Senders {
    accounts: Vec<DevAccount>,
    /// Of the first transfer of each.
    nonces: Vec<u64>,
    executor: Option<HttpClient>,
}

impl Senders {
    /// As many accounts as share `streams` evenly, with their nonces if there is an executor to ask; else they begin at 0.
    pub(super) async fn find(streams: usize, executor: Option<&str>) -> anyhow::Result<Self> {
        let mut accounts = dev_accounts();
        ensure!(
            streams <= accounts.len(),
            "transfers come from {} accounts, too few for {streams} calls: give fewer --streams or --targets",
            accounts.len()
        );
        accounts.truncate(accounts.len() / streams * streams);
        let executor = match executor {
            Some(url) => Some(HttpClientBuilder::default().build(url).with_context(|| format!("--executor '{url}'"))?),
            None => None,
        };
        let mut senders = Self { nonces: vec![0; accounts.len()], accounts, executor };
        senders.nonces = senders.current().await?.unwrap_or(senders.nonces);
        Ok(senders)
    }

    /// The accounts' nonces as the executor has them now; none without an executor.
    async fn current(&self) -> anyhow::Result<Option<Vec<u64>>> {
        let Some(executor) = &self.executor else { return Ok(None) };
        let mut nonces = Vec::with_capacity(self.accounts.len());
        for account in &self.accounts {
            let address = account.address().to_string();
            let call = executor.request("eth_getTransactionCount", rpc_params![address, "latest"]);
            let text: String = call.await.context("the executor does not say an account's nonce")?;
            let nonce = u64::from_str_radix(text.trim_start_matches("0x"), 16);
            nonces.push(nonce.with_context(|| format!("the executor says nonce '{text}'"))?);
        }
        Ok(Some(nonces))
    }

    /// How many transfers the executor has executed since the start; none without an executor.
    pub(super) async fn executed(&self) -> anyhow::Result<Option<u64>> {
        let now = self.current().await?;
        Ok(now.map(|now| now.iter().zip(&self.nonces).map(|(now, then)| now.saturating_sub(*then)).sum()))
    }

    /// Signs a run's transfers.
    pub(super) fn sign(&self, schedule: &Schedule, chain_id: u64) -> anyhow::Result<Load> {
        let total = schedule.groups() * schedule.group;
        ensure!(
            total <= MAX_SIGNED,
            "{total} transfers are too many to sign beforehand: give a lower --rate or a shorter --duration, for at most {MAX_SIGNED}"
        );
        // Other runs' transfers with the same nonces differ from these.
        let value = 1 + rand::rng().next_u64() % 1_000_000_000;
        let mut signed = vec![Bytes::new(); total as usize];
        let share = signed.len().div_ceil(SIGNERS).max(1);
        std::thread::scope(|scope| {
            for (part, slots) in signed.chunks_mut(share).enumerate() {
                scope.spawn(move || {
                    for (at, slot) in slots.iter_mut().enumerate() {
                        *slot = self.transfer(schedule, (part * share + at) as u64, chain_id, value);
                    }
                });
            }
        });
        Ok(Load::Transfers(signed))
    }

    /// The transfer of a number: a group comes from one account, and accounts take turns.
    fn transfer(&self, schedule: &Schedule, number: u64, chain_id: u64, value: u64) -> Bytes {
        let (group, count) = (schedule.group_of(number), self.accounts.len() as u64);
        let from = (group % count) as usize;
        let to = (from + 1) % self.accounts.len();
        let nonce = self.nonces[from] + group / count * schedule.group + number % schedule.group;
        let to = self.accounts[to].address();
        self.accounts[from].transfer(chain_id, nonce, to, alloy_primitives::U256::from(value)).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::args;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn opaque_transactions_have_their_size_and_differ() {
        for size in [8, 9, 512, 4_000] {
            let opaque = Opaque::new(size);
            let mut all = opaque.group(0, 100);
            all.extend(opaque.group(100, 100));
            assert!(all.iter().all(|data| data.len() == size as usize));
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 200);
        }
    }

    #[tokio::test]
    async fn transfers_of_an_account_keep_to_one_call_and_have_no_gap() {
        let schedule = Schedule::new(&args(5_000), 4, 0);
        let senders = Senders::find(4, None).await.unwrap();
        let load = senders.sign(&Schedule::new(&args(500), 4, 0), 7).unwrap();
        assert!(matches!(load, Load::Transfers(signed) if signed.len() == 1_500));
        let mut seen: BTreeMap<_, (usize, u64)> = BTreeMap::new();
        for number in 0..200 {
            let facts = crate::evm::check(&senders.transfer(&schedule, number, 7, 1), 7).unwrap();
            let stream = schedule.stream(schedule.group_of(number));
            let (home, next) = seen.entry(facts.sender).or_insert((stream, 0));
            assert_eq!((*home, *next), (stream, facts.nonce));
            *next += 1;
        }
        assert_eq!(seen.len(), 8);
    }

    #[tokio::test]
    async fn too_much_for_the_accounts_is_refused() {
        assert!(Senders::find(11, None).await.is_err());
        let senders = Senders::find(1, None).await.unwrap();
        assert!(senders.sign(&Schedule::new(&args(2_000_000), 1, 0), 7).is_err());
    }
}
