//! Stake on a local Ethereum chain: EigenLayer's core, this network's contracts, and operators that restake there.

use super::chain::{self, INSTALL};
use super::children::Children;
use super::layout::{Home, operator_dir, secret, write};
use super::ports::Addresses;
use crate::cli::{DevnetArgs, note};
use crate::genesis::devnet_l1_genesis;
use anyhow::{Context as _, bail, ensure};
use secp256k1::{Message, SECP256K1, SecretKey};
use serde::{Deserialize, Serialize};
use squad_contracts::restaking::key_digest;
use squad_l1::deploy::{Chain, Contact, Contracts, Core, DELAYS, EigenLayer, Restaker, SET, STAKE_TABLE, Stakeable};
use squad_net::{Identity, Multiaddr};
use squad_types::{Address, Genesis, Member, Settlement, Signer as _, Stake};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The chain makes a block in this time.
const BLOCK_SECONDS: u64 = 1;
/// The stake table counts at every so-many-th final block.
const EVERY_BLOCKS: u32 = 2;
/// Blocks made at once before nodes start: they ask for final ones, and the chain has to say who is at stake as of these. When it
/// continues, it has no states of those from before.
const BLOCKS_AHEAD: u64 = 8;
/// What each operator deposits, in whole tokens of each kind.
const DEPOSIT: u64 = 1_000;
/// The tokens that count: name, symbol, and what one counts, in hundredths.
const TOKENS: [(&str, &str, u64); 2] = [("Restaked test ether", "rETH", 100), ("SQUAD test bond", "BOND", 5)];

/// What there is on the chain, for other programs: `l1.json` in the devnet's directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OnChain {
    pub(super) rpc: String,
    pub(super) chain_id: u64,
    block_seconds: u64,
    #[serde(flatten)]
    pub(super) contracts: Contracts,
    /// The number of the operator set; its AVS is `slasher`.
    operator_set: u32,
    #[serde(flatten)]
    core: EigenLayer,
    tokens: Vec<Stakeable>,
    operators: Vec<OnChainOperator>,
    /// What it took to put all of it there, in gas, by what.
    gas: BTreeMap<String, u64>,
}

/// An operator's account on the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OnChainOperator {
    /// Its address there, and the file with its key.
    account: Address,
    account_key: PathBuf,
    /// Its consensus key.
    key: Address,
}

/// The chain as long as the devnet runs.
pub(super) struct L1 {
    pub(super) chain: Chain,
    pub(super) on_chain: OnChain,
}

/// Starts the chain and puts everything on it, or takes up what is there. With the network's genesis.
pub(super) async fn prepare(
    args: &DevnetArgs,
    home: &Home,
    addresses: &Addresses,
    children: &mut Children,
) -> anyhow::Result<(L1, Genesis)> {
    let listen = addresses.chain.context("no address for the chain")?;
    let here = std::env::current_dir().context("cannot say which directory this is")?;
    let program = chain::program(args, std::env::var_os("PATH").as_deref(), &here)?;
    let dir = home.dir.join("chain");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    let (state, log) = (dir.join("state.json"), dir.join("chain.log"));
    let contacts = contacts(home, addresses)?;
    match &home.genesis {
        None => {
            let core = read_core(args, &here)?;
            // Of a beginning that was broken off.
            if state.exists() {
                fs::remove_file(&state).with_context(|| format!("cannot remove {}", state.display()))?;
            }
            let chain = chain::start(&program, listen, &state, &log, children).await?;
            note("Putting EigenLayer's core and the network's contracts on the chain …");
            begin(home, chain, &core, &contacts, listen).await
        }
        Some(genesis) => {
            ensure!(
                state.exists(),
                "{} is missing, and with it the chain that holds this network's stake: remove {}",
                state.display(),
                home.dir.display()
            );
            let chain = chain::start(&program, listen, &state, &log, children).await?;
            let l1 = proceed(home, chain, genesis, &contacts, listen).await?;
            Ok((l1, genesis.clone()))
        }
    }
}

fn read_core(args: &DevnetArgs, here: &Path) -> anyhow::Result<Core> {
    let path = args.core.clone().unwrap_or_else(|| here.join("contracts/core/v1.4.json"));
    Core::read(&path).with_context(|| {
        format!(
            "--l1 needs EigenLayer's core, which cannot be passed on with this program: run `{INSTALL}` in the repository \
             and start from there, or give --core"
        )
    })
}

/// Where the operators' nodes are.
fn contacts(home: &Home, addresses: &Addresses) -> anyhow::Result<Vec<Contact>> {
    let contact = |(at, listen): (usize, &super::ports::OperatorAddresses)| {
        // Where the node looks for it.
        let path = operator_dir(&home.dir, at).join("data/network-identity");
        let identity = Identity::load_or_generate(&path)?;
        let address: Multiaddr = format!("/ip4/{}/tcp/{}", listen.p2p.ip(), listen.p2p.port()).parse()?;
        Ok(Contact { peer_id: identity.peer_id().to_bytes(), addresses: vec![address.to_vec()] })
    };
    addresses.operators.iter().enumerate().map(contact).collect()
}

/// A new network.
async fn begin(
    home: &Home,
    chain: Chain,
    core: &Core,
    contacts: &[Contact],
    listen: SocketAddr,
) -> anyhow::Result<(L1, Genesis)> {
    let chain_id = chain.id().await?;
    // A slash looks at withdrawals of as long ago: the core's arithmetic fails on a chain that is younger.
    chain.mine(u64::from(DELAYS.withdrawal) + 1).await?;
    let (core, gas_of_core) = EigenLayer::deploy(&chain, core, &DELAYS).await?;
    let (mut tokens, mut gas_of_tokens) = (Vec::new(), 0);
    for (name, symbol, percent) in TOKENS {
        let (token, gas) = core.add_token(&chain, name, symbol, percent).await?;
        tokens.push(token);
        gas_of_tokens += gas;
    }
    // The genesis names the table, the slasher the genesis' hash: so the addresses come first.
    let contracts = Contracts::ahead(&chain, &core).await?;
    let stake = Stake(Restaker::weight(&tokens, DEPOSIT));
    let members: Vec<Member> = home.signers.iter().map(|signer| Member { address: signer.address(), stake }).collect();
    let settlement = Settlement {
        chain_id,
        stake_table: Address(contracts.stake_table.into_array()),
        every_blocks: EVERY_BLOCKS,
        lag_blocks: 0,
    };
    let genesis = devnet_l1_genesis(members, crate::cli::now(), settlement)?;
    let gas_of_network = contracts.deploy(&chain, &core, &tokens, &STAKE_TABLE, &genesis.network_id()).await?;
    let restaker = Restaker { chain: &chain, core: &core, tokens: &tokens, contracts: &contracts };
    let (operators, gas_of_operators) = restake(home, &restaker, chain_id, contacts).await?;
    let found = contracts.members(&chain).await?;
    ensure!(found == genesis.validators, "the table says {found:?}, and the genesis {:?}", genesis.validators);
    let gas = [
        ("eigenlayer", gas_of_core),
        ("tokens", gas_of_tokens),
        ("network", gas_of_network),
        ("operators", gas_of_operators),
    ];
    let on_chain = OnChain {
        rpc: format!("http://{listen}"),
        chain_id,
        block_seconds: BLOCK_SECONDS,
        contracts,
        operator_set: SET,
        core,
        tokens,
        operators,
        gas: gas.map(|(what, gas)| (what.to_owned(), gas)).into(),
    };
    write_file(home, &on_chain)?;
    chain.mine(BLOCKS_AHEAD).await?;
    chain.mine_every(BLOCK_SECONDS).await?;
    Ok((L1 { chain, on_chain }, genesis))
}

/// Has every operator restake, each with an account of its own.
async fn restake(
    home: &Home,
    restaker: &Restaker<'_>,
    chain_id: u64,
    contacts: &[Contact],
) -> anyhow::Result<(Vec<OnChainOperator>, u64)> {
    let mut operators = Vec::new();
    let mut gas = 0;
    for (at, signer) in home.signers.iter().enumerate() {
        let account_key = operator_dir(&home.dir, at).join("account.hex");
        let account = secret(&account_key, false)?.0.address();
        gas += restaker.deposit(account.0.into(), DEPOSIT).await?;
        operators.push(OnChainOperator { account, account_key, key: signer.address() });
    }
    restaker.wait(&DELAYS).await?;
    let registrar = Address(restaker.contracts.registrar.into_array());
    for (at, (operator, contact)) in operators.iter().zip(contacts).enumerate() {
        let (_, key) = secret(&operator_dir(&home.dir, at).join("key.hex"), true)?;
        let proof = proof(key, &key_digest(chain_id, &registrar, &operator.account, &operator.key))?;
        gas += restaker.join(operator.account.0.into(), operator.key.0.into(), &proof, contact).await?;
    }
    Ok((operators, gas))
}

/// A key's signature as contracts take it: r, s, v.
fn proof(secret: [u8; 32], digest: &[u8; 32]) -> anyhow::Result<[u8; 65]> {
    let key = SecretKey::from_byte_array(secret).context("a consensus key is not valid")?;
    let (id, compact) = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(*digest), &key).serialize_compact();
    let mut proof = [0; 65];
    proof[..64].copy_from_slice(&compact);
    proof[64] = 27 + (i32::from(id) & 1) as u8;
    Ok(proof)
}

/// A network that was there before.
async fn proceed(
    home: &Home,
    chain: Chain,
    genesis: &Genesis,
    contacts: &[Contact],
    listen: SocketAddr,
) -> anyhow::Result<L1> {
    let path = home.dir.join("l1.json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut on_chain: OnChain = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged: remove {}", path.display(), home.dir.display()))?;
    let table = Address(on_chain.contracts.stake_table.into_array());
    if genesis.settlement.is_none_or(|layer| layer.stake_table != table || layer.chain_id != on_chain.chain_id) {
        bail!("{} is of another network than genesis.json: remove {}", path.display(), home.dir.display());
    }
    on_chain.rpc = format!("http://{listen}");
    let restaker =
        Restaker { chain: &chain, core: &on_chain.core, tokens: &on_chain.tokens, contracts: &on_chain.contracts };
    // Ports are other ones than the last time, unless they were given.
    for (operator, contact) in on_chain.operators.iter().zip(contacts) {
        restaker.contact(operator.account.0.into(), contact).await?;
    }
    write_file(home, &on_chain)?;
    chain.mine(BLOCKS_AHEAD).await?;
    chain.mine_every(BLOCK_SECONDS).await?;
    Ok(L1 { chain, on_chain })
}

fn write_file(home: &Home, on_chain: &OnChain) -> anyhow::Result<()> {
    write(&home.dir.join("l1.json"), &serde_json::to_string_pretty(on_chain)?)
}
