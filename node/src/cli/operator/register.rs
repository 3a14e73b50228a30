//! `squad operator register`

use super::args::{AccountArgs, ChainArgs, KeyArgs};
use super::layer::{Layer, decimal, tokens};
use super::sending::{Outcome, Plan, SendArgs, perform};
use crate::cli::Output;
use crate::config::NodeConfig;
use crate::driver::{contact, contact_shown};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::json;
use squad_l1::{Account, Address, Report, Standing, U256, key_proof};

/// `squad operator register`
#[derive(Clone, Debug, Args)]
pub struct RegisterArgs {
    /// Which network.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Who registers.
    #[command(flatten)]
    pub account: AccountArgs,
    /// With which key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Where the node is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Make the account an operator of EigenLayer first, where it is none
    #[arg(long)]
    pub as_operator: bool,
    /// With --as-operator: blocks until an allocation counts; EigenLayer keeps to it
    #[arg(long, default_value_t = 0, value_name = "BLOCKS")]
    pub allocation_delay: u32,
    /// With --as-operator: where EigenLayer's users read about the operator
    #[arg(long, default_value = "", value_name = "URL")]
    pub metadata_uri: String,
    /// How to send.
    #[command(flatten)]
    pub send: SendArgs,
}

/// Where a node is.
#[derive(Clone, Debug, Default, Args)]
pub struct PlaceArgs {
    /// A multiaddr that peers reach the node at; repeat for more, up to 8. The node's own if none is given
    #[arg(long = "address", value_name = "MULTIADDR")]
    pub addresses: Vec<String>,
    /// The node's libp2p peer id; that of its data directory if it is not given
    #[arg(long, value_name = "ID")]
    pub peer_id: Option<String>,
}

impl PlaceArgs {
    /// The node's place as it is registered, and as text.
    pub(super) fn report(&self, node: Option<&NodeConfig>) -> anyhow::Result<(Report, String)> {
        let own = node.map(|node| {
            let announced = node.p2p_announce.iter().any(|address| address.starts_with('/'));
            if announced { node.p2p_announce.clone() } else { node.p2p_listen.clone() }
        });
        let addresses = if self.addresses.is_empty() { own.unwrap_or_default() } else { self.addresses.clone() };
        for everywhere in ["/ip4/0.0.0.0/", "/ip6/::/"] {
            if let Some(bad) = addresses.iter().find(|address| address.starts_with(everywhere)) {
                bail!("{bad} stands for every address of the machine: give those that peers reach with --address");
            }
        }
        let data_dir = node.map(|node| node.data_dir.as_path());
        let report = contact(data_dir, self.peer_id.as_deref(), &addresses)?;
        let (peer, addresses) =
            contact_shown(&report.peer, &report.addresses.iter().map(Vec::as_slice).collect::<Vec<_>>());
        Ok((report, format!("{peer} at {}", addresses.join(", "))))
    }
}

pub(super) async fn run(args: RegisterArgs, output: Output) -> anyhow::Result<()> {
    let layer = Layer::open(&args.chain).await?;
    let account = args.account.open()?;
    let me = account.address();
    let standing = layer.contracts.standing(&layer.endpoints, &layer.head, me).await?;
    ensure!(!standing.tombstoned, "{me} was slashed in this network, and is barred from it for good");
    ensure!(
        !standing.member,
        "{me} is registered already, with the consensus key {}: `squad operator rotate-key` replaces the key, `set-contact` the \
         node's address",
        standing.key
    );
    if !standing.is_operator {
        ensure!(
            args.as_operator,
            "{me} is no operator of EigenLayer: add --as-operator to make it one (see also --allocation-delay and --metadata-uri)"
        );
        return become_operator(&layer, &account, &args, output).await;
    }
    enough(&layer, me, &standing)?;
    let (members, most) =
        (layer.contracts.members(&layer.endpoints, &layer.head).await?, layer.contracts.most_operators);
    ensure!(
        members < most,
        "the set is full with {members} operators: whoever is below the minimum can be taken out with `eject` of {}",
        layer.contracts.slasher
    );
    let secret = args.key.open(layer.node.as_ref())?;
    let (key, proof) = key_proof(&secret, layer.endpoints.chain_id(), layer.contracts.registrar, me)
        .context("the consensus key is no secp256k1 key")?;
    if let Some(owner) = layer.owner(key).await? {
        ensure!(owner == me, "the consensus key {key} is {owner}'s for ever: make another with `squad keys new`");
    }
    let (report, place) = args.place.report(layer.node.as_ref())?;
    let will = will(&layer, me, key, &place, &standing);
    let call = layer.contracts.register(me, key, &proof, &report);
    let more = [("operator", json!(me)), ("key", json!(key)), ("weight", json!(standing.allocated))];
    let plan = Plan { action: "register", will, call };
    if let Outcome::Sent(_) = perform(&layer, &account, plan, &args.send, output, &more).await? {
        output.note(|| {
            "keep the node running: it says by itself that it is ready. `squad operator status` shows when it counts".to_owned()
        });
    }
    Ok(())
}

fn will(layer: &Layer, me: Address, key: Address, place: &str, standing: &Standing) -> Vec<String> {
    let contracts = &layer.contracts;
    let settlement = layer.genesis.settlement.map_or(1, |settlement| settlement.every_blocks);
    vec![
        format!("operator {me} enters network {} ({})", layer.genesis.name, layer.genesis.network_id()),
        format!("consensus key    {key}, its own for ever"),
        format!("node             {place}"),
        format!(
            "at stake         {} tokens' weight, of at least {} ({} operators at most are in a committee)",
            tokens(standing.allocated),
            tokens(contracts.minimum),
            contracts.most_members
        ),
        format!("slashed for      {}, of what is allocated; and barred for good", layer.fractions()),
        format!(
            "counts           from an epoch after the next block that the network reads the table at, one in {}, once that is \
             final",
            layer.blocks(settlement)
        ),
        format!(
            "to leave         `deregister`; stake stays slashable for {} after",
            layer.blocks(contracts.deallocation_delay)
        ),
    ]
}

/// Whether what is allocated suffices, and what to do if not.
fn enough(layer: &Layer, me: Address, standing: &Standing) -> anyhow::Result<()> {
    let minimum = layer.contracts.minimum;
    if standing.allocated >= minimum {
        return Ok(());
    }
    let missing = minimum - standing.allocated;
    let shares: Vec<String> = layer
        .contracts
        .strategies
        .iter()
        .map(|(strategy, each)| format!("{} shares of {strategy}", decimal(layer.contracts.shares_for(missing, *each))))
        .collect();
    let pending = standing.strategies.iter().filter_map(|found| found.pending.map(|(_, from)| from)).max();
    let unallocated = standing.strategies.iter().any(|found| !found.shares.is_zero() && found.free > 0);
    let advice = match pending {
        Some(from) if standing.upcoming >= minimum => {
            format!("what is pending makes up for it from {} on", layer.block(from))
        }
        _ if unallocated => "`squad operator allocate` puts more of what is delegated to it at stake".to_owned(),
        _ => "deposit and delegate more with EigenLayer, then `squad operator allocate`".to_owned(),
    };
    bail!(
        "{me} has {} tokens' weight at stake for this network, and {} is the least: {} are missing, such as {}; {advice}",
        tokens(standing.allocated),
        tokens(minimum),
        tokens(missing),
        shares.join(" or ")
    )
}

async fn become_operator(layer: &Layer, account: &Account, args: &RegisterArgs, output: Output) -> anyhow::Result<()> {
    let me = account.address();
    let will = vec![
        format!("account {me} becomes an operator of EigenLayer, for good"),
        format!("allocations      count {} after they are made", layer.blocks(args.allocation_delay)),
        format!(
            "that delay       counts at once with newer cores, and after {} with older ones; until then nothing can be allocated",
            layer.blocks(layer.contracts.configuration_delay)
        ),
        format!("described at     {}", if args.metadata_uri.is_empty() { "nowhere" } else { &args.metadata_uri }),
        "its own stake    is delegated to itself; others may delegate to it without asking".to_owned(),
    ];
    let call = layer.contracts.become_operator(args.allocation_delay, &args.metadata_uri);
    let more = [("operator", json!(me))];
    let plan = Plan { action: "register-as-operator", will, call };
    perform(layer, account, plan, &args.send, output, &more).await?;
    let missing = layer.contracts.shares_for(layer.contracts.minimum, U256::from(1_000_000_000_000_000_000_u64));
    output.note(|| {
        format!(
            "next: deposit with EigenLayer ({} tokens' weight at least), `squad operator allocate`, then `register` again",
            decimal(missing)
        )
    });
    Ok(())
}
