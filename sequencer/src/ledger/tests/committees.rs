//! Epochs: when they begin, who joins, who leaves, who is left out.

use crate::ledger::committees::{Activity, Standing};
use crate::ledger::fixture::*;
use crate::ledger::*;
use squad_types::*;

fn member(at: u16, stake: u64) -> Member {
    Member { address: address(at), stake: Stake(stake) }
}

fn until_epoch(chain: &mut Chain, epoch: u64) {
    for _ in 0..200 {
        if chain.ledger.state().epoch == Epoch(epoch) {
            return;
        }
        chain.advance(100);
    }
    panic!("epoch {epoch} never came");
}

/// For each height and each epoch whose lanes it could order: how many heights were said to be left, and how many came.
fn heights_left(steps: impl Fn(u64) -> u64) -> Vec<(u64, u64)> {
    let mut genesis = genesis(4);
    genesis.params.epoch_ms = 21_500;
    let mut chain = Chain::of(genesis);
    let (mut came, mut said) = (Vec::new(), Vec::new());
    for height in 0..300_u64 {
        let next = chain.ledger.epoch_of_next();
        said.push(
            [Some(next), next.previous()].map(|epoch| epoch.map(|epoch| (epoch, chain.ledger.heights_left(epoch)))),
        );
        assert_eq!(chain.ledger.heights_left(next.next()), 0, "its lanes are not open");
        let expired = next.previous().and_then(Epoch::previous);
        assert_eq!(expired.map_or(0, |epoch| chain.ledger.heights_left(epoch)), 0);
        chain.advance(steps(height));
        came.push(chain.ledger.state().epoch);
    }
    let each = said.iter().enumerate().flat_map(|(at, both)| both.iter().flatten().map(move |said| (at, *said)));
    let counted = each.filter_map(|(at, (epoch, left))| {
        let lasted = came[at..].iter().take_while(|now| **now <= epoch.next()).count();
        (at + lasted < came.len()).then_some((left, lasted as u64))
    });
    counted.collect()
}

#[test]
fn lanes_stay_open_for_as_many_heights_as_was_said_at_least() {
    for step in [1, 90, 400, 5_000] {
        let heights = heights_left(|height| if height % 7 == 0 { 1 } else { step });
        assert!(heights.iter().all(|(left, came)| left <= came), "a block each {step} ms: {heights:?}");
    }
    let heights = heights_left(|_| 1_000);
    assert!(heights.len() > 400 && heights.iter().all(|(left, came)| left == came), "a second each: {heights:?}");
}

fn addresses(chain: &Chain, epoch: u64) -> Vec<Address> {
    chain.ledger.committee(Epoch(epoch)).unwrap().members().iter().map(|member| member.address).collect()
}

#[test]
fn an_epoch_needs_its_heights_and_its_chain_time() {
    let mut chain = Chain::new(4);
    let applied: Vec<bool> = (0..20).map(|_| chain.advance(1).new_epoch).collect();
    assert!(!applied.contains(&true), "twenty heights, but only twenty milliseconds");
    chain.advance(2_000);
    assert!(chain.ledger.starts_epoch_next(), "a halt counts as one second, which is enough here");
    assert_eq!(chain.ledger.epoch_of_next(), Epoch(1));
    let applied = chain.advance(1);
    assert!(applied.new_epoch && applied.next_committee);
    assert_eq!(chain.ledger.state().epoch_start, Height(22));
    assert!(!chain.ledger.starts_epoch_next());
    let mut slow = Chain::new(4);
    let applied: Vec<bool> = (0..16).map(|_| slow.advance(1_000).new_epoch).collect();
    assert!(!applied.contains(&true), "a lot of chain time, but not the heights");
    assert!(slow.advance(1_000).new_epoch);
}

#[test]
fn the_first_block_of_an_epoch_lists_the_next_committee_and_no_other_does() {
    let mut chain = Chain::new(4);
    until_epoch(&mut chain, 2);
    let starts: Vec<u64> = (0..3).map(|epoch| chain.ledger.starts[&Epoch(epoch)].0).collect();
    for ordered in &chain.blocks {
        let listed = ordered.block.next_committee().is_some();
        assert_eq!(listed, starts.contains(&ordered.block.header().height.0));
    }
    for ordered in &chain.blocks {
        let header = ordered.block.header();
        let committee = chain.ledger.committee_at(header.height).unwrap();
        assert_eq!((committee.epoch(), committee.hash()), (header.epoch, header.committee_hash));
        let holds = ordered.certificate.verify(chain.ledger.domain(), committee, &KeyedHashVerifier);
        assert_eq!(holds, Ok(()));
    }
    let next = chain.ledger.height().next();
    assert_eq!(chain.ledger.committee_at(next).unwrap().epoch(), Epoch(2));
    assert!(chain.ledger.committee_at(next.next()).is_none());
}

#[test]
fn lanes_of_the_epoch_before_may_still_be_ordered_and_then_expire() {
    let mut chain = Chain::new(4);
    let old = chain.lane(1);
    until_epoch(&mut chain, 1);
    let tx = opaque(1, chain.until(), b"late");
    chain.batch(old, vec![tx.clone()]);
    chain.advance(10);
    assert_eq!(chain.ordered(1), [tx.id]);
    let late = opaque(1, chain.until(), b"too late");
    let kept = chain.heads.clone();
    until_epoch(&mut chain, 2);
    chain.batch(old, vec![late.clone()]);
    chain.advance(10);
    assert_eq!(chain.ordered(1), [tx.id], "a proposer leaves an expired lane out");
    assert_eq!(chain.ledger.state().tip(old), None);
    assert!(kept.contains_key(&old));
}

#[test]
fn a_newcomer_joins_two_epochs_after_it_said_that_it_is_ready_and_a_leaver_goes() {
    let mut chain = Chain::new(4);
    let mut table = chain.genesis.validators.clone();
    table.push(member(9, 900));
    table.remove(0);
    chain.stakes = chain.stakes.clone().with_change(Epoch(2), table);
    chain.advance(100);
    let ready = |chain: &Chain, epoch, at| {
        Verified::sign(Ready { epoch: Epoch(epoch) }, chain.ledger.domain(), &KeyedHashSigner(address(at)))
            .into_signed()
    };
    // One without stake, one of another epoch, one twice: a proposer takes in the one that counts.
    chain.readies = vec![ready(&chain, 0, 9), ready(&chain, 0, 9), ready(&chain, 0, 33), ready(&chain, 1, 9)];
    chain.advance(100);
    assert_eq!(chain.ledger.state().ready, [address(9)]);
    chain.readies.clear();
    until_epoch(&mut chain, 1);
    let old: Vec<Address> = (0..4).map(address).collect();
    let new: Vec<Address> = [1, 2, 3, 9].map(address).to_vec();
    assert_eq!((addresses(&chain, 1), addresses(&chain, 2)), (old, new));
    assert!(chain.ledger.state().ready.is_empty(), "readiness is for one epoch");
    until_epoch(&mut chain, 2);
    for _ in 0..8 {
        chain.advance(50);
    }
    assert_eq!(chain.ledger.state().tips.len(), 4);
}

#[test]
fn staked_but_not_ready_stays_out() {
    let mut chain = Chain::new(4);
    let mut table = chain.genesis.validators.clone();
    table.push(member(9, 900));
    chain.stakes = chain.stakes.clone().with_change(Epoch(1), table);
    until_epoch(&mut chain, 2);
    assert_eq!(addresses(&chain, 3).len(), 4);
}

#[test]
fn a_member_that_signs_nothing_is_left_out_two_epochs_later() {
    let mut chain = Chain::new(5);
    chain.silent = vec![address(4)];
    until_epoch(&mut chain, 1);
    assert_eq!(addresses(&chain, 1).len(), 5);
    assert_eq!(addresses(&chain, 2), (0..4).map(address).collect::<Vec<_>>());
    let mut four = Chain::new(4);
    four.silent = vec![address(3)];
    until_epoch(&mut four, 2);
    assert_eq!(addresses(&four, 3).len(), 4, "inactivity never leaves fewer than four");
}

#[test]
fn too_few_proposers_to_tell_leave_everybody_in() {
    let committee = genesis(10).committee().unwrap();
    let (by_half, by_most): (Bitmap, Bitmap) =
        ((0..5).map(ValidatorIndex).collect(), (0..8).map(ValidatorIndex).collect());
    let standing = |named: &Bitmap| {
        let mut named_by = vec![named.clone(); 10];
        named_by[7] = Bitmap::default();
        let next = committee.for_epoch(Epoch(1));
        Standing::new(&next, Some(Activity { committee: &committee, named_by: &named_by }), &[]).left_out()
    };
    assert!(standing(&by_half).is_empty());
    assert_eq!(standing(&by_most), [address(7)].into());
}

#[test]
fn at_most_a_third_of_the_stake_is_new_and_what_did_not_fit_joins_later() {
    let committee = genesis(4).committee().unwrap();
    let ready = [address(8), address(9)];
    let standing = Standing::new(&committee, None, &ready);
    let mut table = genesis(4).validators;
    table[0].stake = Stake(9_000);
    table.extend([member(8, 1_500), member(9, 5_000)]);
    let next = standing.next(Epoch(1), &table).unwrap();
    assert_eq!(standing.check(&next), Ok(()));
    let stake = |at| next.stake_of(&address(at)).0;
    assert_eq!([stake(0), stake(1), stake(8), stake(9)], [1_000, 1_000, 1_500, 500]);
    let all = Committee::new(Epoch(1), table).unwrap();
    assert!(matches!(standing.check(&all), Err(CommitteeRule::TooMuchNew { new: 14_500, .. })));
    let stranger = Committee::new(Epoch(1), vec![member(0, 1_000), member(5, 1)]).unwrap();
    assert_eq!(standing.check(&stranger), Err(CommitteeRule::NotReady(address(5))));
    let nobody = standing.next(Epoch(1), &[]).unwrap();
    assert_eq!(nobody.members(), committee.members(), "an empty table does not end the network");
}

#[test]
fn a_listed_committee_that_breaks_the_rules_is_invalid_and_one_against_the_table_is_refused_softly() {
    let chain = Chain::new(4);
    let (block, _) = chain.build(chain.draft(0)).unwrap();
    let with = |members: Vec<Member>| {
        let mut header = block.header().clone();
        header.next_committee_hash = Committee::new(Epoch(1), members.clone()).unwrap().hash();
        ProposedBlock::new(header, vec![], vec![], Some(members))
    };
    let mut fewer = chain.genesis.validators.clone();
    fewer.pop();
    let fewer = with(fewer);
    assert!(matches!(chain.judge(&fewer), Judgement::Valid(_)), "leaving is for the stake table to say");
    let soft = chain.ledger.soft_check(&fewer, fewer.header().timestamp, &chain.stakes);
    assert_eq!(soft, Some(SoftRefusal::NextCommittee));
    let mut more = chain.genesis.validators.clone();
    more.push(member(9, 1));
    assert_eq!(
        chain.judge(&with(more)),
        Judgement::Invalid(InvalidBlock::NextCommitteeRule(CommitteeRule::NotReady(address(9))))
    );
    let unlisted = ProposedBlock::new(block.header().clone(), vec![], vec![], None);
    let Judgement::Invalid(reason) = chain.judge(&unlisted) else { panic!() };
    assert!(reason.is_about_body());
}

#[test]
fn a_proposer_whose_turn_failed_goes_to_the_back_three_heights_later() {
    let mut chain = Chain::new(4);
    let failed = chain.ledger.committee(Epoch(0)).unwrap().index_of(&turn(&chain.ledger)(Round(0)).unwrap()).unwrap();
    chain.advance_from(1, 100);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(chain.ledger.failed_turns().contains(&failed));
        chain.advance(100);
    }
    // Heights 4 to 7 are a stretch in which a member that failed once waits.
    assert_eq!(seen, [false, false, true, true], "before heights 2 to 5");
    assert_eq!(chain.ledger.state().recent_rounds.len(), 2);
    assert_eq!(chain.ledger.latest_epoch_of(Height(5)), Epoch(0));
    assert_eq!(chain.ledger.latest_epoch_of(Height(17)), Epoch(1));
}
