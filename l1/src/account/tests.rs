//! Against chains on loopback with the contracts of a network.

use super::*;
use crate::testing::{
    CHAIN, Chain, DELAY, MINIMUM, Manner, REGISTRAR, ROTATION, Restaked, SLASHER, STRATEGIES, Shared, TABLE, servers,
};
use crate::{Endpoints, EndpointsConfig};
use squad_types::{
    Domain, EcdsaSigner, Encode as _, Evidence, HeaderHash, Height, NetworkId, Round, Verified, Vote, VoteKind,
    VotePair,
};
use std::time::Duration;

const WAD: u64 = 1_000_000_000_000_000_000;
/// Time enough on a slow machine; only failures take it.
const PATIENCE: Patience = Patience { poll: Duration::from_millis(5), most: Duration::from_secs(60) };
/// No time at all.
const NONE: Patience = Patience { poll: Duration::from_millis(1), most: Duration::ZERO };

fn account(number: u8) -> Account {
    Account::from_secret(&[number; 32]).unwrap()
}

/// Two votes of the fourth account's in one slot.
fn evidence() -> Vec<u8> {
    let signer = EcdsaSigner::from_secret([4; 32]).unwrap();
    let vote = |block| {
        let block = Some(HeaderHash([block; 32]));
        let vote = Vote { kind: VoteKind::Prevote, height: Height(8), round: Round(2), block };
        Verified::sign(vote, &Domain::new(NetworkId([3; 32])), &signer).into_signed()
    };
    Evidence::Votes(VotePair { first: vote(1), second: vote(2) }).to_bytes().to_vec()
}

fn report() -> Report {
    Report { peer: vec![0, 1, 7], addresses: vec![vec![4, 127, 0, 0, 1, 6, 30, 20]] }
}

/// A network's contracts on so many endpoints, over half of which have to agree.
struct Place {
    chains: Vec<Shared>,
    endpoints: Endpoints,
    contracts: Contracts,
}

impl Place {
    async fn new(count: usize) -> Self {
        let (chains, urls) = servers(count).await;
        for chain in &chains {
            let mut chain = chain.lock().unwrap();
            chain.restaked = Some(Restaked::new(NetworkId([3; 32])));
            chain.ledger.balances.insert(account(1).address(), 1_000_000_000_000_000_000);
        }
        let timeout = Duration::from_secs(60);
        let config = EndpointsConfig { urls, agree: count / 2 + 1, timeout, chain_id: CHAIN };
        let endpoints = Endpoints::new(&config).unwrap();
        let head = endpoints.head().await.unwrap();
        let contracts = Contracts::find(&endpoints, &head, TABLE).await.unwrap();
        Self { chains, endpoints, contracts }
    }

    fn change(&self, how: impl Fn(&mut Chain)) {
        self.chains.iter().for_each(|chain| how(&mut chain.lock().unwrap()));
    }

    fn restaked(&self, how: impl Fn(&mut Restaked)) {
        self.change(|chain| how(chain.restaked.as_mut().unwrap()));
    }

    async fn standing(&self, account: &Account) -> Standing {
        let head = self.endpoints.head().await.unwrap();
        self.contracts.standing(&self.endpoints, &head, account.address()).await.unwrap()
    }

    async fn send(&self, account: &Account, call: &Call) -> Result<Mined, AccountError> {
        let quote = self.endpoints.quote(account.address(), call).await?;
        self.endpoints.send(account, call, &quote, false, PATIENCE).await
    }

    fn register(&self, account: &Account, key: [u8; 32]) -> Call {
        let (key, proof) = key_proof(&key, CHAIN, REGISTRAR, account.address()).unwrap();
        self.contracts.register(account.address(), key, &proof, &report())
    }
}

fn said<T: std::fmt::Debug>(result: Result<T, AccountError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn an_operator_comes_allocates_registers_rotates_and_leaves() {
    let place = Place::new(1).await;
    let (me, contracts) = (account(1), &place.contracts);
    assert_eq!((contracts.slasher, contracts.registrar, contracts.minimum), (SLASHER, REGISTRAR, MINIMUM));
    assert!(!place.standing(&me).await.is_operator);
    let mined = place.send(&me, &contracts.become_operator(0, "https://example.org")).await.unwrap();
    assert_eq!((mined.block, mined.gas, mined.cost), (103, 80_000, U256::from(160_000_000_000_000_u64)));
    assert!(
        said(place.send(&me, &place.register(&me, [9; 32])).await)
            .contains("TooLittleStake(weight 0, minimum 32000000)")
    );

    place.restaked(|restaked| restaked.operators.get_mut(&account(1).address()).unwrap().shares = [40, 100]);
    place
        .send(&me, &contracts.allocate(me.address(), &[(STRATEGIES[0], WAD), (STRATEGIES[1], WAD / 2)]))
        .await
        .unwrap();
    let standing = place.standing(&me).await;
    // Outside of the set nothing counts; in it 40 tokens, and half of 100 at a twentieth.
    assert_eq!((standing.weight, standing.allocated, standing.member), (0, 42_500_000, false));
    place.send(&me, &place.register(&me, [9; 32])).await.unwrap();
    let standing = place.standing(&me).await;
    assert_eq!((standing.weight, standing.allocated, standing.member), (42_500_000, 42_500_000, true));
    assert_eq!((standing.key, standing.next), (account(9).address(), None));
    assert_eq!((standing.peer.to_vec(), standing.addresses.len()), (vec![0, 1, 7], 1));

    let (key, proof) = key_proof(&[10; 32], CHAIN, REGISTRAR, me.address()).unwrap();
    let mined = place.send(&me, &contracts.rotate_key(key, &proof)).await.unwrap();
    let from = u32::try_from(mined.block).unwrap() + ROTATION;
    let standing = place.standing(&me).await;
    assert_eq!((standing.key, standing.next), (account(9).address(), Some(NextKey { key, from })));
    let again = said(place.send(&me, &contracts.rotate_key(key, &proof)).await);
    assert!(again.contains(&format!("RotationPending(from {from})")), "{again}");
    let two = Report { addresses: vec![vec![1], vec![2]], ..report() };
    place.send(&me, &contracts.set_contact(&two)).await.unwrap();
    assert_eq!(place.standing(&me).await.addresses.len(), 2);

    // Less while it is at stake counts much later; what lasts is less from now on.
    place.send(&me, &contracts.allocate(me.address(), &[(STRATEGIES[0], WAD / 4)])).await.unwrap();
    let standing = place.standing(&me).await;
    let (now, until) = (place.endpoints.head().await.unwrap().number, standing.strategies[0].pending.unwrap().1);
    assert_eq!(u64::from(until), now + u64::from(DELAY) + 1);
    assert_eq!((standing.strategies[0].lasting(until.into()), standing.strategies[0].lasting(now)), (WAD / 4, WAD));
    assert_eq!((standing.allocated, standing.upcoming), (42_500_000, 12_500_000), "the lookahead is shorter than that");

    let mined = place.send(&me, &contracts.deregister(me.address())).await.unwrap();
    let standing = place.standing(&me).await;
    assert!(!standing.member && standing.slashable && standing.weight == 0);
    let head = place.endpoints.head().await.unwrap();
    let left = contracts.left_at(&place.endpoints, &head, me.address()).await.unwrap();
    assert_eq!(left, Some(mined.block));
    assert_eq!(contracts.left_at(&place.endpoints, &head, account(2).address()).await.unwrap(), None);
    place.change(|chain| chain.finalized += u64::from(DELAY) + 1);
    assert!(!place.standing(&me).await.slashable);
}

#[tokio::test]
async fn a_key_is_its_operators_only_with_a_proof_for_that_operator() {
    let place = Place::new(1).await;
    let me = account(1);
    place.restaked(|restaked| {
        restaked.join(account(1).address(), account(9).address(), [40, 0]);
        restaked.operators.get_mut(&account(1).address()).unwrap().member = false;
        restaked.join(account(2).address(), account(8).address(), [40, 0]);
    });
    let (key, proof) = key_proof(&[9; 32], CHAIN, REGISTRAR, account(2).address()).unwrap();
    let call = place.contracts.register(me.address(), key, &proof, &report());
    assert!(said(place.send(&me, &call).await).contains("BadProof(key 0x"));
    let taken = said(place.send(&me, &place.register(&me, [8; 32])).await);
    assert!(taken.contains("KeyTaken") && taken.contains("make a new one"), "{taken}");
    assert_eq!(key_proof(&[0; 32], CHAIN, REGISTRAR, me.address()), None);
}

#[tokio::test]
async fn what_cannot_be_paid_or_waits_behind_another_is_not_sent() {
    let place = Place::new(1).await;
    let (me, poor) = (account(1), account(2));
    let call = place.contracts.become_operator(0, "");
    let error = said(place.send(&poor, &call).await);
    assert!(error.contains("holds 0.0") && error.contains("send it some"), "{error}");
    assert!(place.chains[0].lock().unwrap().ledger.sent.is_empty());

    place.change(|chain| chain.ledger.holds = true);
    let quote = place.endpoints.quote(me.address(), &call).await.unwrap();
    let error = said(place.endpoints.send(&me, &call, &quote, false, NONE).await);
    assert!(error.contains("is in no block after 0 s"), "{error}");
    let error = said(place.endpoints.send(&me, &call, &quote, false, NONE).await);
    assert!(error.contains("has 1 transactions under way, from nonce 0 on"), "{error}");
    // An account that nothing else uses takes its own transaction's place, for more.
    let first = place.chains[0].lock().unwrap().ledger.sent[0].clone();
    let more = Quote { tip: quote.tip + 1, ..quote.clone() };
    place.endpoints.send(&me, &call, &more, true, NONE).await.unwrap_err();
    let sent = place.chains[0].lock().unwrap().ledger.sent.clone();
    assert!(sent.len() == 1 && sent[0].nonce == 0 && sent[0].price * 10 >= first.price * 11, "{sent:?}");
    // What it holds bounds what it offers.
    let least = Quote { balance: quote.most(), ..quote };
    let error = said(place.endpoints.send(&me, &call, &least, true, NONE).await);
    assert!(error.contains("may cost up to"), "{error}");
}

#[tokio::test]
async fn a_transaction_that_fails_in_its_block_says_so() {
    let place = Place::new(1).await;
    place.change(|chain| chain.ledger.turns = true);
    let error = said(place.send(&account(1), &place.contracts.become_operator(0, "")).await);
    assert!(error.contains("failed in block 103") && error.contains("80000 gas"), "{error}");
}

#[tokio::test]
async fn one_of_three_endpoints_can_neither_lie_nor_stand_in_the_way() {
    for manner in [Manner::Lies, Manner::Refuses] {
        let place = Place::new(3).await;
        place.chains[1].lock().unwrap().manner = manner.clone();
        let me = account(1);
        assert!(!place.standing(&me).await.is_operator, "{manner:?}");
        let head = place.endpoints.head().await.unwrap();
        assert_eq!(place.endpoints.balance(&head, me.address()).await.unwrap(), U256::from(WAD));
        place.send(&me, &place.contracts.become_operator(0, "")).await.unwrap();
        assert!(place.standing(&me).await.is_operator, "{manner:?}");
        for at in [0, 2] {
            assert_eq!(place.chains[at].lock().unwrap().ledger.sent.len(), 1);
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_knows_no_tips_is_asked_on() {
    let place = Place::new(1).await;
    place.change(|chain| chain.ledger.no_tips = true);
    let quote = place.endpoints.quote(account(1).address(), &place.contracts.become_operator(0, "")).await.unwrap();
    assert_eq!((quote.tip, quote.gas, quote.gas_limit), (1_000_000_000, 80_000, 104_000));
    assert_eq!(quote.likely(), U256::from(160_000_000_000_000_u64));
    // A slash goes through without the gas for all that it does.
    place.restaked(|restaked| restaked.join(account(2).address(), account(4).address(), [40, 0]));
    let slash = place.endpoints.quote(account(1).address(), &place.contracts.slash(&evidence())).await.unwrap();
    assert_eq!((slash.gas, slash.gas_limit), (80_000, 404_000));
    assert_eq!(quote.most(), U256::from(104_000_u64) * U256::from(3_000_000_000_u64));
}

#[tokio::test]
async fn what_is_no_stake_table_is_said_to_be_none_and_no_key_is_shown() {
    let place = Place::new(1).await;
    let head = place.endpoints.head().await.unwrap();
    let error = said(Contracts::find(&place.endpoints, &head, Address::repeat_byte(0x77)).await);
    assert!(error.contains("gives no such answer (nothing)"), "{error}");
    place.change(|chain| chain.manner = Manner::Refuses);
    let error = said(Contracts::find(&place.endpoints, &head, TABLE).await);
    assert!(error.contains("429") && !error.contains("some-key"), "{error}");
    assert_eq!(format!("{:?}", account(1)), format!("Account({})", account(1).address()));
}

#[test]
fn an_accounts_address_and_salt_are_its_own() {
    let known = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let secret: [u8; 32] = alloy_primitives::hex::decode(known).unwrap().try_into().unwrap();
    let known = Account::from_secret(&secret).unwrap();
    assert_eq!(known.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    assert_eq!(known.salt(b"some"), known.salt(b"some"));
    assert_ne!(known.salt(b"some"), known.salt(b"other"));
    assert_ne!(known.salt(b"some"), account(1).salt(b"some"));
    assert!(Account::from_secret(&[0; 32]).is_none());
}
