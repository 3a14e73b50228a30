//! Against servers on loopback that tell the truth, lie, stall, lag or refuse.

use crate::testing::{CHAIN, Chain, Manner, Shared, TABLE, member, servers};
use crate::{Anchored, Endpoints, EndpointsConfig, FollowConfig, Follower, L1Error, Step, View};
use squad_sequencer::ledger::StakeTable as _;
use squad_types::{Digest, Epoch, Genesis, L1Anchor, Member, Params, Stake, Timestamp};
use std::sync::Arc;
use std::time::Duration;

fn genesis() -> Genesis {
    let validators = vec![Member { address: squad_types::Address([1; 20]), stake: Stake(1) }];
    let name = "test".to_owned();
    Genesis {
        name,
        time: Timestamp(1),
        params: Params::default(),
        namespaces: Vec::new(),
        validators,
        settlement: None,
    }
}

fn endpoints(urls: &[String], agree: usize, timeout_ms: u64) -> Result<Endpoints, L1Error> {
    let timeout = Duration::from_millis(timeout_ms);
    Endpoints::new(&EndpointsConfig { urls: urls.to_vec(), agree, timeout, chain_id: CHAIN })
}

fn follower(urls: &[String], agree: usize, view: &Arc<View>) -> Follower {
    let config = FollowConfig { table: TABLE, lag: 3, every: 8, poll: Duration::from_millis(5) };
    Follower::new(endpoints(urls, agree, 60_000).unwrap(), config, Arc::clone(view)).unwrap()
}

fn change(chain: &Shared, how: impl FnOnce(&mut Chain)) {
    how(&mut chain.lock().unwrap());
}

fn known(chain: &Chain, number: u64) -> L1Anchor {
    L1Anchor { number, hash: Digest(chain.hash(number).0) }
}

fn weights(view: &View, anchor: &L1Anchor) -> Option<Vec<u64>> {
    view.stakes(Epoch(5), anchor).map(|members| members.iter().map(|member| member.stake.0).collect())
}

#[tokio::test]
async fn stakes_are_read_at_every_eighth_final_block_some_way_behind_the_newest() {
    let (chains, urls) = servers(1).await;
    let view = Arc::new(View::new(&genesis()));
    let mut follower = follower(&urls, 1, &view);
    // 97 is final and three blocks old: the last that counts is 96, and three before it.
    assert_eq!(follower.step().await.unwrap(), Step::Read { blocks: 4, number: 96, members: 4 });
    assert_eq!(follower.step().await.unwrap(), Step::Same);
    let chain = chains[0].lock().unwrap().clone();
    for number in [72, 80, 88, 96] {
        assert_eq!(weights(&view, &known(&chain, number)), Some(vec![10, 20, 30, 40]), "{number}");
    }
    assert_eq!(weights(&view, &known(&chain, 64)), None, "too far back");
    assert_eq!(weights(&view, &L1Anchor { number: 96, hash: Digest([3; 32]) }), None, "another block of that number");
    assert_eq!(weights(&view, &L1Anchor::default()), Some(vec![1]), "before there is any, the genesis counts");

    change(&chains[0], |chain| (chain.finalized, chain.members) = (107, vec![member(1, 10), member(5, 50)]));
    assert_eq!(follower.step().await.unwrap(), Step::Read { blocks: 1, number: 104, members: 2 });
    assert_eq!(weights(&view, &known(&chain, 104)), Some(vec![10, 50]));
    assert_eq!(weights(&view, &known(&chain, 96)), Some(vec![10, 20, 30, 40]));
}

#[tokio::test]
async fn a_proposal_names_a_block_that_others_have_had_time_to_read() {
    let (chains, urls) = servers(1).await;
    let view = Arc::new(View::new(&genesis()));
    let mut follower = follower(&urls, 1, &view);
    let parent = L1Anchor::default();
    assert_eq!(view.anchor(&parent), parent);
    follower.step().await.unwrap();
    assert_eq!(view.anchor(&parent), parent, "just read");
    follower.step().await.unwrap();
    let chain = chains[0].lock().unwrap().clone();
    assert_eq!(view.anchor(&parent), known(&chain, 96));
    let ahead = known(&chain, 104);
    assert_eq!(view.anchor(&ahead), ahead, "it never goes back behind the parent's");
}

#[tokio::test]
async fn an_endpoint_that_lies_stalls_refuses_or_lags_is_outvoted() {
    for manner in [Manner::Lies, Manner::Stalls, Manner::Refuses, Manner::Floods] {
        let (chains, urls) = servers(3).await;
        change(&chains[0], |chain| chain.manner = manner.clone());
        let view = Arc::new(View::new(&genesis()));
        let step = follower(&urls, 2, &view).step().await.unwrap();
        assert_eq!(step, Step::Read { blocks: 4, number: 96, members: 4 }, "{manner:?}");
    }
    let (chains, urls) = servers(3).await;
    change(&chains[0], |chain| chain.finalized = 20);
    change(&chains[1], |chain| chain.finalized = 110);
    let view = Arc::new(View::new(&genesis()));
    let step = follower(&urls, 2, &view).step().await.unwrap();
    assert_eq!(step, Step::Read { blocks: 4, number: 96, members: 4 }, "what two of the three have");
}

#[tokio::test]
async fn too_few_that_agree_are_an_error_that_says_who_said_what() {
    let (chains, urls) = servers(3).await;
    change(&chains[0], |chain| chain.manner = Manner::Lies);
    change(&chains[1], |chain| chain.manner = Manner::Refuses);
    let view = Arc::new(View::new(&genesis()));
    let error = follower(&urls, 2, &view).step().await.unwrap_err().to_string();
    let found = error.contains("2 endpoints have to agree") && error.contains("after: HTTP error 429");
    assert!(found && !error.contains("some-key"), "{error}");
    assert_eq!(view.newest(), None);
}

#[tokio::test]
async fn what_an_endpoint_that_cannot_be_reached_says_holds_no_key() {
    // Nobody listens there any more.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let urls = [format!("http://127.0.0.1:{port}/some-key?token=other-key")];
    let endpoints = endpoints(&urls, 1, 60_000).unwrap();
    for _ in 0..2 {
        let error = endpoints.finalized().await.unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && !error.contains("-key"), "{error}");
    }
}

#[tokio::test]
async fn endpoints_of_another_chain_count_for_nothing() {
    let (chains, urls) = servers(3).await;
    change(&chains[0], |chain| chain.id = 1);
    let view = Arc::new(View::new(&genesis()));
    assert!(matches!(follower(&urls, 2, &view).step().await, Ok(Step::Read { .. })));
    change(&chains[1], |chain| chain.id = 1);
    let error = follower(&urls, 2, &view).step().await.unwrap_err().to_string();
    assert!(error.contains("is on chain 1, expected 31337"), "{error}");
}

#[tokio::test]
async fn whoever_fails_is_left_alone_for_a_while() {
    let (chains, urls) = servers(1).await;
    change(&chains[0], |chain| chain.manner = Manner::Refuses);
    let endpoints = endpoints(&urls, 1, 60_000).unwrap();
    for _ in 0..10 {
        assert!(endpoints.finalized().await.is_err());
    }
    assert_eq!(chains[0].lock().unwrap().asked, 1, "ten questions at once, of which one was sent");
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    let (chains, urls) = servers(1).await;
    change(&chains[0], |chain| chain.manner = Manner::Floods);
    let error = endpoints(&urls, 1, 600_000).unwrap().finalized().await.unwrap_err().to_string();
    assert!(error.contains("its answer is over 4194304 bytes"), "{error}");
}

#[tokio::test]
async fn a_silent_endpoint_costs_its_time_and_no_more() {
    let (chains, urls) = servers(1).await;
    change(&chains[0], |chain| chain.manner = Manner::Stalls);
    let error = endpoints(&urls, 1, 50).unwrap().finalized().await.unwrap_err().to_string();
    assert!(error.contains("no answer within 50 ms") || error.contains("error sending request"), "{error}");
}

#[tokio::test]
async fn a_final_block_that_changes_stops_the_view_until_it_is_back() {
    let (chains, urls) = servers(1).await;
    let view = Arc::new(View::new(&genesis()));
    let mut follower = follower(&urls, 1, &view);
    follower.step().await.unwrap();
    change(&chains[0], |chain| (chain.fork, chain.finalized) = (1, 120));
    assert!(matches!(follower.step().await, Err(L1Error::Reorganised { number: 96, .. })));
    assert_eq!(view.newest().map(|newest| newest.number), Some(96));
    change(&chains[0], |chain| chain.fork = 0);
    assert_eq!(follower.step().await.unwrap(), Step::Read { blocks: 2, number: 112, members: 4 });
}

#[tokio::test]
async fn an_answer_that_is_no_committee_is_not_taken() {
    let right = Chain::default();
    let wrong = [
        ("its hash is", Chain { wrong_hash: true, ..right.clone() }),
        ("ascending", Chain { members: vec![member(2, 1), member(1, 1)], ..right.clone() }),
        ("no stake", Chain { members: vec![member(2, 0)], ..right }),
    ];
    for (what, wrong) in wrong {
        let (chains, urls) = servers(1).await;
        change(&chains[0], |chain| *chain = wrong);
        let view = Arc::new(View::new(&genesis()));
        let error = follower(&urls, 1, &view).step().await.unwrap_err();
        assert!(matches!(&error, L1Error::Table { number: 96, .. }), "{what}: {error}");
        assert_eq!(view.newest(), None);
    }
}

#[tokio::test]
async fn what_was_read_outlives_the_process() {
    let (chains, urls) = servers(1).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l1.json");
    let view = Arc::new(View::open(&genesis(), &path).unwrap());
    follower(&urls, 1, &view).step().await.unwrap();
    change(&chains[0], |chain| chain.manner = Manner::Refuses);
    let chain = chains[0].lock().unwrap().clone();
    let again = View::open(&genesis(), &path).unwrap();
    assert_eq!(weights(&again, &known(&chain, 72)), Some(vec![10, 20, 30, 40]));
    assert_eq!(again.anchor(&L1Anchor::default()), known(&chain, 96));
    std::fs::write(&path, "[{}]").unwrap();
    let error = View::open(&genesis(), &path).unwrap_err().to_string();
    assert!(error.contains("remove it"), "{error}");
}

#[tokio::test]
async fn it_follows_until_it_is_told_to_stop() {
    let (chains, urls) = servers(1).await;
    let view = Arc::new(View::new(&genesis()));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let run = tokio::spawn(follower(&urls, 1, &view).run(stopped, move |step| drop(told.send(step.ok()))));
    assert_eq!(heard.recv().await.unwrap(), Some(Step::Read { blocks: 4, number: 96, members: 4 }));
    change(&chains[0], |chain| chain.finalized = 107);
    while heard.recv().await.unwrap() != Some(Step::Read { blocks: 1, number: 104, members: 4 }) {}
    stop.send(true).unwrap();
    run.await.unwrap();
}

#[test]
fn settings_that_cannot_work_say_why() {
    let url = |port: u16| format!("http://127.0.0.1:{port}/secret");
    let says = |urls: Vec<String>, agree| endpoints(&urls, agree, 1_000).unwrap_err().to_string();
    assert!(says(vec![url(1), url(2), url(3)], 1).contains("over half"));
    assert!(says(vec![url(1)], 2).contains("2 of 1 endpoints"));
    assert!(says(vec!["localhost".to_owned()], 1).contains("expected https://"));
    assert!(says(vec!["ws://127.0.0.1:1".to_owned()], 1).contains("is ws; expected http"));
    assert!(says(vec![url(1), url(1)], 2).contains("given twice"));
    let shown = format!("{:?}", endpoints(&[url(1)], 1, 1_000).unwrap());
    assert!(shown.contains("127.0.0.1:1") && !shown.contains("secret"), "a path may be a key: {shown}");
}

#[test]
fn a_view_keeps_a_bounded_number_of_blocks_and_never_goes_back() {
    let view = View::new(&genesis());
    let at = |number: u64| Anchored { anchor: L1Anchor { number, hash: Digest([1; 32]) }, members: Vec::new() };
    (1..=2_000).for_each(|number| view.add(at(number)).unwrap());
    view.add(at(1_500)).unwrap();
    assert_eq!(view.newest(), Some(at(2_000).anchor));
    assert_eq!(view.stakes(Epoch(1), &at(2_000 - 1_024).anchor), None);
    assert!(view.stakes(Epoch(1), &at(2_000 - 1_023).anchor).is_some());
}
