//! The commands as they are typed, against chains on loopback with a network's contracts.

use super::layer::Layer;
use super::*;
use crate::cli::{Cli, Command};
use clap::Parser as _;
use squad_l1::testing::{CHAIN, Chain, DELAY, ROTATION, Restaked, Shared, TABLE, servers};
use squad_l1::{Account, Address};
use squad_types::{EcdsaSigner, Genesis, NamespaceKind, OrderingPolicy, Params, Settlement, Signer as _, Stake};
use std::path::PathBuf;

const WAD: u64 = 1_000_000_000_000_000_000;

/// A network with a settlement layer.
pub(in crate::cli) fn genesis() -> Genesis {
    let spec = crate::genesis::namespace(1, "bytes", NamespaceKind::Opaque, OrderingPolicy::Fifo);
    let address = EcdsaSigner::from_secret([1; 32]).unwrap().address();
    let members = vec![squad_types::Member { address, stake: Stake(1) }];
    let mut genesis =
        crate::genesis::assemble("shop", squad_types::Timestamp(1), Params::default(), vec![spec], members).unwrap();
    let stake_table = squad_types::Address(TABLE.into_array());
    genesis.settlement = Some(Settlement { chain_id: CHAIN, stake_table, every_blocks: 32, lag_blocks: 0 });
    genesis.check().unwrap();
    genesis
}

/// Files, endpoints, and one operator's account and key.
pub(in crate::cli) struct Place {
    pub(in crate::cli) dir: tempfile::TempDir,
    pub(in crate::cli) chains: Vec<Shared>,
    pub(in crate::cli) endpoints: String,
}

impl Place {
    pub(in crate::cli) async fn new() -> Self {
        let (chains, urls) = servers(1).await;
        let place = Self { dir: tempfile::tempdir().unwrap(), chains, endpoints: urls.join(",") };
        std::fs::write(place.at("genesis.json"), serde_json::to_string(&genesis()).unwrap()).unwrap();
        for (name, byte) in [("account", 7), ("key", 8), ("new-key", 9), ("other-key", 10)] {
            std::fs::write(place.at(name), hex::encode([byte; 32])).unwrap();
        }
        place.change(|chain| {
            chain.restaked = Some(Restaked::new(genesis().network_id()));
            chain.ledger.balances.insert(me(), u128::from(WAD));
        });
        place
    }

    pub(in crate::cli) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(in crate::cli) fn change(&self, how: impl Fn(&mut Chain)) {
        self.chains.iter().for_each(|chain| how(&mut chain.lock().unwrap()));
    }

    pub(in crate::cli) fn restaked(&self, how: impl Fn(&mut Restaked)) {
        self.change(|chain| how(chain.restaked.as_mut().unwrap()));
    }

    pub(in crate::cli) fn sent(&self) -> usize {
        self.chains[0].lock().unwrap().ledger.sent.len()
    }

    /// A command line with the flags for this place; `@NAME` is a file of it.
    pub(in crate::cli) fn line(&self, group: &str, text: &str) -> Vec<String> {
        let mut line = vec!["squad".to_owned(), "--json".to_owned(), group.to_owned()];
        let word = |word: &str| match word.strip_prefix('@') {
            Some(name) => self.at(name).display().to_string(),
            None => word.to_owned(),
        };
        line.extend(text.split_whitespace().map(word));
        line.extend(["--genesis".to_owned(), self.at("genesis.json").display().to_string()]);
        line.extend(["--endpoints".to_owned(), self.endpoints.clone()]);
        line
    }

    async fn run(&self, text: &str) -> Result<(), String> {
        let cli = Cli::try_parse_from(self.line("operator", text)).map_err(|error| error.to_string())?;
        let Command::Operator(command) = cli.command else { panic!("another command") };
        Box::pin(run(*command, Output { json: true })).await.map(|_| ()).map_err(|error| format!("{error:#}"))
    }

    async fn fails(&self, text: &str) -> String {
        let sent = self.sent();
        let error = self.run(text).await.unwrap_err();
        assert_eq!(self.sent(), sent, "{error}");
        error
    }

    fn me(&self) -> squad_l1::testing::Operator {
        let chain = self.chains[0].lock().unwrap();
        chain.restaked.as_ref().unwrap().operators.get(&me()).cloned().unwrap_or_default()
    }
}

fn address(byte: u8) -> Address {
    Account::from_secret(&[byte; 32]).unwrap().address()
}

/// The operator's account.
pub(in crate::cli) fn me() -> Address {
    address(7)
}

const ACCOUNT: &str = "--account @account --insecure-plaintext-account";
const KEY: &str = "--plaintext-key @key --insecure-plaintext-key";
const NODE: &str = "--peer-id 12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA --address /ip4/192.0.2.1/tcp/7700";

#[tokio::test]
async fn an_operator_comes_to_a_network_and_leaves_it_by_commands() {
    let place = Place::new().await;
    let register = format!("register {ACCOUNT} {KEY} {NODE} --yes");
    assert!(place.fails(&register).await.contains("is no operator of EigenLayer: add --as-operator"));
    place.run(&format!("{register} --as-operator --allocation-delay 0")).await.unwrap();
    assert!(place.me().known && !place.me().member);
    let error = place.fails(&format!("allocate {ACCOUNT} --fraction 1 --yes")).await;
    assert!(error.contains("nothing that counts for this network is delegated"), "{error}");
    place.restaked(|restaked| restaked.operators.get_mut(&me()).unwrap().shares = [40, 200]);
    let error = place.fails(&register).await;
    assert!(error.contains("has 0 tokens' weight at stake") && error.contains("32 are missing"), "{error}");
    assert!(error.contains("640 shares of") && error.contains("`squad operator allocate`"), "{error}");

    place.run(&format!("allocate {ACCOUNT} --fraction 0.5 --yes")).await.unwrap();
    assert_eq!(place.me().magnitude, [WAD / 2; 2]);
    let error = place.fails(&register).await;
    assert!(error.contains("has 25 tokens' weight at stake") && error.contains("7 are missing"), "{error}");
    place.run(&format!("allocate {ACCOUNT} --magnitude {WAD} --yes")).await.unwrap();
    assert!(place.fails(&format!("allocate {ACCOUNT} --fraction 1 --yes")).await.contains("nothing to do"));
    place.run(&register).await.unwrap();
    assert!(place.me().member && place.me().key == address(8));
    assert!(place.fails(&register).await.contains("is registered already, with the consensus key"));

    let rotate = format!("rotate-key {ACCOUNT} --plaintext-key @new-key --insecure-plaintext-key --yes");
    let same = rotate.replace("@new-key", "@key");
    assert!(place.fails(&same).await.contains("is the operator's key already"));
    place.run(&rotate).await.unwrap();
    assert_eq!(place.me().next.unwrap().0, address(9));
    let again = rotate.replace("@new-key", "@other-key");
    assert!(place.fails(&again).await.contains("already replaces it, from block 15"), "pending");
    place.change(|chain| chain.finalized += u64::from(ROTATION));
    place.run(&again).await.unwrap();
    assert_eq!((place.me().key, place.me().next.unwrap().0), (address(9), address(10)));
    place.run(&format!("set-contact {ACCOUNT} {NODE} --address /ip4/192.0.2.2/tcp/7700 --yes")).await.unwrap();
    assert_eq!(place.me().contact.unwrap().addresses.len(), 2);
    place.run(&format!("status {ACCOUNT}")).await.unwrap();

    place.run(&format!("allocate {ACCOUNT} --fraction 0.9 --yes")).await.unwrap();
    let error = place.fails(&format!("allocate {ACCOUNT} --fraction 0.8 --yes")).await;
    assert!(error.contains("an earlier change") && error.contains("wait for that"), "{error}");
    place.run(&format!("deregister {ACCOUNT} --yes")).await.unwrap();
    assert!(!place.me().member);
    assert!(place.fails(&format!("deregister {ACCOUNT} --yes")).await.contains("nothing to leave"));
    assert!(place.fails(&again).await.contains("is not registered in this network"));
    place.run(&format!("exit-status --operator {}", me())).await.unwrap();
}

#[tokio::test]
async fn a_try_sends_nothing_and_an_empty_account_neither() {
    let place = Place::new().await;
    place.run(&format!("register {ACCOUNT} {KEY} {NODE} --as-operator --dry-run")).await.unwrap();
    assert_eq!(place.sent(), 0);
    place.change(|chain| chain.ledger.balances.clear());
    let error = place.fails(&format!("register {ACCOUNT} {KEY} {NODE} --as-operator --yes")).await;
    assert!(error.contains("holds 0.0") && error.contains("send it some"), "{error}");
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_said_with_what_to_do() {
    let place = Place::new().await;
    place.restaked(|restaked| restaked.join(me(), address(8), [40, 0]));
    let cases = [
        ("register --yes", "give the operator's Ethereum account with --account"),
        ("register --account @account --yes", "no web3 keystore"),
        ("register --account @missing --insecure-plaintext-account --yes", "missing"),
        ("status", "which operator? give --operator"),
        ("allocate --account @account --insecure-plaintext-account", "--fraction"),
        ("allocate --account @account --insecure-plaintext-account --fraction 2", "'2' is no part"),
        ("rotate-key --account @account --insecure-plaintext-account --yes", "which new key?"),
    ];
    for (line, expected) in cases {
        let error = place.fails(line).await;
        assert!(error.contains(expected), "{line}: {error}");
    }
    let rotate = format!("rotate-key {ACCOUNT} --plaintext-key @new-key --yes");
    assert!(place.fails(&rotate).await.contains("add --insecure-plaintext-key"));
    let strategy = format!("allocate {ACCOUNT} --fraction 0.5 --strategy {} --yes", Address::repeat_byte(0x77));
    assert!(place.fails(&strategy).await.contains("does not count for this network"));
    place.restaked(|restaked| restaked.operators.get_mut(&me()).unwrap().allocation_delay = None);
    let more = format!("allocate {ACCOUNT} --fraction 1 --strategy {} --yes", squad_l1::testing::STRATEGIES[1]);
    place.restaked(|restaked| restaked.operators.get_mut(&me()).unwrap().magnitude[1] = 0);
    assert!(place.fails(&more).await.contains("allocation delay does not count yet"));
    place.restaked(|restaked| restaked.operators.get_mut(&me()).unwrap().tombstoned = true);
    let rotate = format!("{rotate} --insecure-plaintext-key");
    assert!(place.fails(&rotate).await.contains("was slashed in this network"));

    place.restaked(|restaked| restaked.network = squad_types::NetworkId([1; 32]));
    let error = place.fails(&format!("status --operator {}", me())).await;
    assert!(error.contains("is that the right genesis?"), "{error}");
}

#[tokio::test]
async fn a_consensus_key_of_somebody_else_is_not_registered() {
    let place = Place::new().await;
    place.restaked(|restaked| {
        restaked.join(me(), address(8), [40, 0]);
        restaked.operators.get_mut(&me()).unwrap().member = false;
        restaked.join(address(20), address(9), [40, 0]);
    });
    let line = format!("register {ACCOUNT} --plaintext-key @new-key --insecure-plaintext-key {NODE} --yes");
    assert!(place.fails(&line).await.contains("for ever: make another"));
    // Its own key of earlier it may have again.
    place.run(&format!("register {ACCOUNT} {KEY} {NODE} --yes")).await.unwrap();
}

#[tokio::test]
async fn blocks_are_told_in_days_at_the_chains_own_pace() {
    let place = Place::new().await;
    let cli =
        Cli::try_parse_from(place.line("operator", "status --operator 0x0000000000000000000000000000000000000001"));
    let Command::Operator(command) = cli.unwrap().command else { panic!("another command") };
    let OperatorCommand::Status(args) = *command else { panic!("another command") };
    let layer = Layer::open(&args.chain).await.unwrap();
    assert_eq!(layer.blocks(DELAY), "100800 blocks (14.0 days)");
    // A block each 12 s from the first second of 1970 on.
    assert_eq!(layer.block(7_202_u64), "block 7202, around 1970-01-02 00:00 UTC (in 23.7 hours)");
    assert_eq!(layer.block(102_u64), "block 102, 1970-01-01 00:20 UTC");
    assert_eq!(layer.block(100_902_u64), "block 100902, around 1970-01-15 (in 14.0 days)");
    assert_eq!(layer.block(2_u64), "block 2, around 1970-01-01 00:00 UTC (20 minutes ago)");
}
