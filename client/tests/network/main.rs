//! A client against real loopback servers that drop, lag, lie and leave out.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod fake;
mod submitting;
mod subscribing;

use fake::Fake;
use squad_client::testing::{self, TestChain};
use squad_client::{Client, ClientConfig, CommitteeFollower};
use squad_types::NamespaceId;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const EVM: NamespaceId = NamespaceId(1);
const HEIGHTS: u64 = 12;

/// An operator that serves 12 blocks of three epochs well, of a network that started a minute ago.
fn honest() -> Fake {
    let mut genesis = testing::genesis(&testing::keys(1, 4));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    genesis.time = squad_types::Timestamp(now - 60_000);
    let mut chain = TestChain::with_genesis(genesis, testing::keys(1, 4));
    let blocks = (1..=HEIGHTS)
        .map(|height| {
            if height % 4 == 0 {
                chain.start_epoch(testing::keys(height, 4));
            }
            chain.block((0..height).map(|at| testing::evm(EVM, vec![height as u8, at as u8])).collect())
        })
        .collect();
    Fake::new(chain, blocks)
}

/// A client that only leaves an operator for what a test is about: nothing times out by itself.
async fn client(fakes: &[&Fake], change: impl FnOnce(&mut ClientConfig)) -> Client {
    let mut urls = Vec::new();
    for fake in fakes {
        urls.push(fake.serve().await);
    }
    let mut config = ClientConfig::new(urls);
    let never = Duration::from_secs(3_600);
    (config.stall, config.probe_interval, config.back_off) = (never, never, Duration::from_millis(1));
    change(&mut config);
    Client::new(config, CommitteeFollower::from_genesis(&fakes[0].chain.genesis).unwrap()).unwrap()
}
