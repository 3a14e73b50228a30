//! Every rule of a block, one changed field at a time.

use crate::ledger::fixture::*;
use crate::ledger::*;
use squad_types::*;

/// A chain of some heights in epoch 1 with batches waiting, and the next block.
fn chain_with_block() -> (Chain, std::sync::Arc<ProposedBlock>) {
    let mut chain = Chain::new(4);
    for height in 0..30_u64 {
        let lane = chain.lane((height % 4) as u16);
        let tx = opaque(1, chain.until(), &height.to_be_bytes());
        chain.batch(lane, vec![tx]);
        chain.advance(90);
    }
    assert_eq!(chain.ledger.state().epoch, Epoch(1));
    for author in 0..4 {
        let (lane, until) = (chain.lane(author), chain.until());
        chain.batch(lane, vec![opaque(1, until, &[author as u8]), paid(author as u8, 5, &[author as u8, 1])]);
    }
    chain.now = chain.now.plus(50);
    let (block, _) = chain.build(chain.draft(0)).unwrap();
    (chain, block)
}

fn with_header(block: &ProposedBlock, change: impl Fn(&mut Header)) -> ProposedBlock {
    let mut header = block.header().clone();
    change(&mut header);
    let listed = block.next_committee().map(<[_]>::to_vec);
    ProposedBlock::new(header, block.cut().to_vec(), block.readies().to_vec(), listed)
}

type Change = (&'static str, fn(&mut Header));

const CHANGES: [Change; 17] = [
    ("version", |h| h.version += 1),
    ("network", |h| h.network_id.0[0] ^= 1),
    ("height", |h| h.height = h.height.next()),
    ("lower height", |h| h.height = h.height.minus(1)),
    ("epoch", |h| h.epoch = h.epoch.next()),
    ("parent", |h| h.parent_hash.0[3] ^= 1),
    ("proposer", |h| h.proposer = address(3)),
    ("origin round", |h| h.origin_round = h.origin_round.next()),
    ("timestamp", |h| h.timestamp = h.timestamp.next()),
    ("old timestamp", |h| h.timestamp = Timestamp(1)),
    ("cut digest", |h| h.cut_digest.0[0] ^= 1),
    ("namespaces root", |h| h.namespaces_root.0[0] ^= 1),
    ("count", |h| h.tx_count += 1),
    ("params", |h| h.params_hash.0[0] ^= 1),
    ("committee", |h| h.committee_hash.0[0] ^= 1),
    ("next committee", |h| h.next_committee_hash.0[0] ^= 1),
    ("signers", |h| h.signers.insert(ValidatorIndex(9))),
];

#[test]
fn any_single_changed_field_of_the_header_makes_a_block_invalid() {
    let (chain, block) = chain_with_block();
    assert!(matches!(chain.judge(&block), Judgement::Valid(_)));
    for (field, change) in CHANGES {
        let judged = chain.judge(&with_header(&block, change));
        assert!(matches!(judged, Judgement::Invalid(_)), "{field}: {judged:?}");
    }
}

#[test]
fn a_changed_signer_within_the_committee_changes_the_state_that_the_header_commits_to() {
    let mut genesis = genesis(4);
    genesis.params.epoch_heights = 64;
    let mut chain = Chain::of(genesis);
    (0..10).for_each(|_| {
        chain.advance(90);
    });
    let (block, _) = chain.build(chain.draft(0)).unwrap();
    let changed = with_header(&block, |header| header.signers = Bitmap::default());
    assert!(matches!(chain.judge(&changed), Judgement::Invalid(_)));
}

#[test]
fn a_body_that_is_not_the_headers_is_told_apart_from_an_invalid_block() {
    let (chain, block) = chain_with_block();
    let body = |cut: Vec<CutEntry>, readies, next| match chain.judge(&ProposedBlock::new(
        block.header().clone(),
        cut,
        readies,
        next,
    )) {
        Judgement::Invalid(reason) => assert!(reason.is_about_body(), "{reason}"),
        other => panic!("{other:?}"),
    };
    let cut = block.cut().to_vec();
    body(cut[1..].to_vec(), vec![], None);
    body(cut.iter().rev().copied().collect(), vec![], None);
    body(cut.iter().chain(&cut).copied().collect(), vec![], None);
    let mut moved = cut.clone();
    moved[0].tip.sequence = moved[0].tip.sequence.next();
    body(moved, vec![], None);
    let mut stranger = cut.clone();
    stranger.push(CutEntry { lane: LaneId { epoch: Epoch(9), author: ValidatorIndex(0) }, tip: cut[0].tip });
    body(stranger, vec![], None);
    let ready = Verified::sign(Ready { epoch: Epoch(1) }, chain.ledger.domain(), &KeyedHashSigner(address(50)));
    body(cut.clone(), vec![ready.into_signed()], None);
    body(cut, vec![], Some(chain.genesis.validators.clone()));
}

/// The block that a proposer makes who commits to whatever it says.
fn forged(chain: &Chain, block: &ProposedBlock, cut: Vec<CutEntry>, readies: Vec<Signed<Ready>>) -> ProposedBlock {
    let mut header = block.header().clone();
    let state = chain.ledger.state_after(&header, &cut, &readies, &turn(&chain.ledger)).unwrap();
    header.cut_digest = state.digest();
    ProposedBlock::new(header, cut, readies, block.next_committee().map(<[_]>::to_vec))
}

#[test]
fn a_lane_that_goes_back_or_off_its_chain_is_invalid() {
    let (mut chain, block) = chain_with_block();
    let entry = block.cut()[0];
    let back = CutEntry { tip: Tip { sequence: Sequence(0), batch: BatchId([9; 32]) }, ..entry };
    let judged = chain.judge(&forged(&chain, &block, vec![back], vec![]));
    assert_eq!(judged, Judgement::Invalid(InvalidBlock::LaneBack(entry.lane)));

    let ordered = chain.ledger.state().tip(entry.lane).unwrap();
    let elsewhere = Tip { batch: BatchId([7; 32]), ..ordered };
    let fork = chain.batch_after(entry.lane, Some(elsewhere), vec![]);
    let fork = CutEntry { lane: entry.lane, tip: fork.tip() };
    let judged = chain.judge(&forged(&chain, &block, vec![fork], vec![]));
    assert_eq!(judged, Judgement::Invalid(InvalidBlock::OffChain(entry.lane)));

    let far = CutEntry { tip: Tip { sequence: Sequence(u64::MAX), ..entry.tip }, ..entry };
    let judged = chain.judge(&forged(&chain, &block, vec![far], vec![]));
    assert!(matches!(judged, Judgement::Invalid(InvalidBlock::TooManyBatches(_))));
}

#[test]
fn readiness_of_a_member_is_unsolicited() {
    let (chain, block) = chain_with_block();
    let ready = Verified::sign(Ready { epoch: Epoch(1) }, chain.ledger.domain(), &KeyedHashSigner(address(0)));
    let judged = chain.judge(&forged(&chain, &block, block.cut().to_vec(), vec![ready.into_signed()]));
    assert_eq!(judged, Judgement::Invalid(InvalidBlock::UnsolicitedReady(address(0))));
}

#[test]
fn a_clock_ahead_and_an_unseen_anchor_only_refuse_softly() {
    struct Unseen;
    impl StakeTable for Unseen {
        fn stakes(&self, _: Epoch, _: &L1Anchor) -> Option<Vec<Member>> {
            None
        }
    }
    let (chain, block) = chain_with_block();
    let at = block.header().timestamp;
    assert_eq!(chain.ledger.soft_check(&block, at, &chain.stakes), None);
    assert_eq!(chain.ledger.soft_check(&block, at.minus(500), &chain.stakes), None);
    let ahead = chain.ledger.soft_check(&block, at.minus(501), &chain.stakes);
    assert_eq!(ahead, Some(SoftRefusal::Clock { ahead_ms: 501 }));
    let naming = |chain: &Chain, number| {
        let anchor = L1Anchor { number, hash: Digest([number as u8; 32]) };
        let (block, _) = chain.build(Draft { l1_anchor: anchor, ..chain.draft(0) }).unwrap();
        chain.ledger.soft_check(&block, block.header().timestamp, &Unseen)
    };
    assert!(!chain.ledger.opens_epoch());
    assert_eq!(chain.ledger.soft_check(&block, at, &Unseen), None, "what the parent names needs nobody's view");
    assert_eq!(naming(&chain, 7), Some(SoftRefusal::AnchorUnseen), "another one does");
    let mut chain = Chain::new(4);
    assert!(chain.ledger.opens_epoch());
    assert_eq!(naming(&chain, 0), Some(SoftRefusal::AnchorUnseen), "and so does the next committee");
    chain.advance(90);
    assert_eq!(naming(&chain, 7), Some(SoftRefusal::AnchorUnseen));
}
