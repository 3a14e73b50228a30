//! A node that sends what it holds against others.

use super::settlement::{say, staked};
use super::*;
use squad_l1::testing::{INCIDENTS, Manner, Restaked, Shared, servers};
use squad_l1::{Account, Address as L1Address};
use squad_sequencer::{Input, Peer};
use squad_types::{Domain, Evidence, HeaderHash, Round, Verified, VerifiedMessage, Vote, VoteKind, VotePair};

fn account() -> Account {
    Account::from_secret(&[77; 32]).unwrap()
}

/// Two votes of an operator in one slot.
pub(super) fn contradiction(genesis: &Genesis, number: u8) -> Evidence {
    let vote = |block| {
        let (height, block) = (Height(1_000_000), Some(HeaderHash([block; 32])));
        let vote = Vote { kind: VoteKind::Precommit, height, round: Round(0), block };
        Verified::sign(vote, &Domain::new(genesis.network_id()), &signer(number)).into_signed()
    };
    Evidence::Votes(VotePair { first: vote(1), second: vote(2) })
}

pub(super) fn hold(cluster: &Cluster, number: u8, evidence: &Evidence, accused: u8) {
    let message = VerifiedMessage::Evidence(Box::new(evidence.clone()), operator(accused));
    cluster.backend(number).inbox.input(Input::Message { from: Peer::Operator(operator(1)), message }, None);
}

impl Cluster {
    /// Waits until something is so, looking with every block.
    pub(super) async fn becomes(&self, what: &str, is: impl Fn() -> bool) {
        let mut tip = self.backend(1).tip();
        let so = async {
            while !is() {
                let _ = tip.changed().await;
            }
        };
        tokio::time::timeout(FAILURE, so).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }
}

fn sent(layer: &[Shared]) -> usize {
    layer[0].lock().unwrap().ledger.sent.len()
}

fn asked(layer: &[Shared]) -> u64 {
    layer[0].lock().unwrap().ledger.asked.get(&INCIDENTS).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_sent_once_whatever_fails_meanwhile_and_not_again_after_a_start() {
    let (layer, urls) = servers(1).await;
    say(&layer, 5, &[0, 1, 2, 3]);
    let mut cluster = Cluster::start_of(staked(4), 0, &urls).await;
    let network = cluster.genesis.network_id();
    let owner = L1Address::repeat_byte(0x44);
    {
        let mut chain = layer[0].lock().unwrap();
        let mut restaked = Restaked::new(network);
        restaked.join(owner, operator(3).0.into(), [40, 0]);
        chain.restaked = Some(restaked);
    }
    cluster.account = Some(account());
    for number in 0..4 {
        cluster.nodes.push(None);
        cluster.start_node(number).await;
    }
    cluster.ready(0).await;
    let evidence = contradiction(&cluster.genesis, 3);
    let incident = evidence.incident(&network).unwrap().0;
    // Nobody answers, then the account is empty: both are failures, and the network goes on.
    layer[0].lock().unwrap().manner = Manner::Refuses;
    hold(&cluster, 0, &evidence, 3);
    let metrics = cluster.backend(0).metrics.clone();
    cluster.becomes("a failure", || metrics.evidence_submit_failures.get() > 0).await;
    layer[0].lock().unwrap().manner = Manner::True;
    cluster.becomes("a look", || asked(&layer) > 0).await;
    let failures = metrics.evidence_submit_failures.get();
    cluster.becomes("another failure", || metrics.evidence_submit_failures.get() > failures).await;
    assert_eq!((sent(&layer), metrics.evidence_submitted.get()), (0, 0));
    layer[0].lock().unwrap().ledger.balances.insert(account().address(), 1_000_000_000_000_000_000);
    cluster.becomes("the slash", || metrics.evidence_submitted.get() == 1).await;
    let slashed =
        || layer[0].lock().unwrap().restaked.as_mut().unwrap().slashed.remove(&squad_l1::B256::from(incident));
    assert_eq!(slashed().unwrap().0, owner);
    // That block was replaced by one without the transaction: it is sent again.
    cluster.becomes("the slash once more", || metrics.evidence_submitted.get() == 2).await;
    layer[0].lock().unwrap().finalized += 10;

    // After a start it holds the evidence still, and asks before it sends anything.
    cluster.stop_node(0).await;
    let before = asked(&layer);
    cluster.start_node(0).await;
    cluster.becomes("a look after the start", || asked(&layer) > before).await;
    // Evidence against itself it does not send, nor that against a key that nobody registered.
    let own = contradiction(&cluster.genesis, 0);
    let unknown = contradiction(&cluster.genesis, 2);
    hold(&cluster, 0, &own, 0);
    hold(&cluster, 0, &unknown, 2);
    let before = asked(&layer);
    cluster.becomes("a look at another", || asked(&layer) > before).await;
    let height = *cluster.backend(1).tip().borrow();
    cluster.reach(1, Height(height.0 + 5)).await;
    assert_eq!((sent(&layer), cluster.backend(0).metrics.evidence_submitted.get()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_sent_only_where_there_is_a_settlement_layer() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = plan(&genesis(1), 0, dir.path(), Vec::new());
    plan.account = Some(account());
    plan.l1.submit_evidence = true;
    let error = format!("{:#}", Node::start(plan).await.err().unwrap());
    assert!(error.contains("l1.submit_evidence") && error.contains("names no settlement layer"), "{error}");
}
