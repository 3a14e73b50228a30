//! Operators whose stakes are those of a settlement layer.

use super::*;
use squad_l1::testing::{CHAIN, Manner, Shared, TABLE, servers};
use squad_types::{Epoch, Settlement};

pub(super) fn staked(operators: u8) -> Genesis {
    let mut genesis = genesis(operators);
    genesis.params.epoch_heights = 16;
    genesis.params.epoch_ms = 1_000;
    genesis.params.idle_interval_ms = 50;
    let stake_table = Address(TABLE.into_array());
    genesis.settlement = Some(Settlement { chain_id: CHAIN, stake_table, every_blocks: 4, lag_blocks: 1 });
    genesis.check().unwrap();
    genesis
}

fn members(numbers: &[u8]) -> Vec<Member> {
    let mut members: Vec<Member> =
        numbers.iter().map(|number| Member { address: operator(*number), stake: Stake(100) }).collect();
    members.sort_by_key(|member| member.address);
    members
}

pub(super) fn say(layer: &[Shared], finalized: u64, numbers: &[u8]) {
    for server in layer {
        let mut chain = server.lock().unwrap();
        (chain.finalized, chain.members) = (finalized, members(numbers));
    }
}

impl Cluster {
    /// Waits until an epoch's committee are these operators, and gives the epoch.
    async fn committee_becomes(&self, number: u8, from: Epoch, operators: &[u8]) -> Epoch {
        let expected: Vec<Address> = members(operators).iter().map(|member| member.address).collect();
        let mut tip = self.backend(number).tip();
        let mut epoch = from;
        let seen = async {
            loop {
                match self.backend(number).committee(epoch).await.unwrap() {
                    Some(committee) if committee.members().iter().map(|m| m.address).eq(expected.iter().copied()) => {
                        return epoch;
                    }
                    Some(_) => epoch = epoch.next(),
                    None => drop(tip.changed().await),
                }
            }
        };
        tokio::time::timeout(FAILURE, seen).await.expect("the committee does not become that")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_join_and_leave_by_what_a_settlement_layer_says_while_the_network_runs() {
    let (layer, urls) = servers(3).await;
    say(&layer, 5, &[0, 1, 2, 3]);
    layer[2].lock().unwrap().manner = Manner::Lies;
    let mut cluster = Cluster::start_of(staked(4), 5, &urls).await;
    for number in 0..4 {
        cluster.ready(number).await;
    }
    say(&layer, 9, &[0, 1, 2, 3, 4]);
    let joined = cluster.committee_becomes(0, Epoch(1), &[0, 1, 2, 3, 4]).await;
    // The newcomer votes: with one of the others away, nothing is decided without it.
    cluster.committee_becomes(4, joined, &[0, 1, 2, 3, 4]).await;
    cluster.ready(4).await;
    cluster.stop_node(3).await;
    let accepted = cluster.submit(4, "with the newcomer", Tier::Ordered).await.unwrap();
    assert_eq!(accepted.tier, Tier::Ordered);
    // Its stake is gone: it is in no committee any more, though its node is back.
    say(&layer, 13, &[0, 1, 2, 4]);
    cluster.start_node(3).await;
    let left = cluster.committee_becomes(0, joined.next(), &[0, 1, 2, 4]).await;
    // An epoch's blocks name the block of the settlement layer that its committee comes from, the same at everybody.
    let tip = cluster.backend(0).tip();
    let height = *tip.borrow();
    cluster.reach(1, height).await;
    let block = cluster.backend(1).namespace_block(BYTES, height).await.unwrap().unwrap();
    assert!(block.header.l1_anchor.number >= 12 && left > joined, "{:?}", block.header.l1_anchor);
    assert_eq!(block.header.l1_anchor.hash.0, layer[0].lock().unwrap().hash(block.header.l1_anchor.number).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_layer_that_cannot_be_read_stops_nothing() {
    let (layer, urls) = servers(1).await;
    say(&layer, 5, &[0, 1, 2, 3]);
    let mut cluster = Cluster::start_of(staked(4), 4, &urls).await;
    cluster.ready(0).await;
    cluster.committee_becomes(0, Epoch(3), &[0, 1, 2, 3]).await;
    layer[0].lock().unwrap().manner = Manner::Refuses;
    // What was read is in the data directory: a start needs nobody.
    for number in 0..4 {
        cluster.stop_node(number).await;
    }
    for number in 0..4 {
        cluster.start_node(number).await;
    }
    cluster.ready(0).await;
    let height = *cluster.backend(0).tip().borrow();
    cluster.reach(0, Height(height.0 + 40)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_and_genesis_have_to_go_together() {
    let starts = async |genesis: &Genesis, endpoints: Vec<String>| {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = plan(genesis, 0, dir.path(), Vec::new());
        plan.l1.endpoints = endpoints;
        format!("{:#}", Node::start(plan).await.err().unwrap())
    };
    let error = starts(&staked(1), Vec::new()).await;
    assert!(error.contains("chain 31337") && error.contains("set l1.endpoints"), "{error}");
    let error = starts(&genesis(1), vec!["http://127.0.0.1:1".to_owned()]).await;
    assert!(error.contains("names no settlement layer"), "{error}");
    let error = starts(&staked(1), vec!["nowhere".to_owned()]).await;
    assert!(error.contains("l1.endpoints") && error.contains("expected https://"), "{error}");
}
