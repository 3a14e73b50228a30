//! `squad operator status`

use super::args::{AccountArgs, ChainArgs};
use super::layer::{Layer, decimal, tokens};
use crate::cli::Output;
use crate::config::{KeySource, NodeConfig};
use crate::driver::contact_shown;
use crate::keystore;
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use squad_l1::{Address, Allocated, Standing, U256};

/// `squad operator status` and `exit-status`
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Which network.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// The operator's Ethereum address; that of --account, or whose the node's consensus key is, if it is not given
    #[arg(long, value_name = "ADDRESS")]
    pub operator: Option<Address>,
    /// The operator's account, for its address.
    #[command(flatten)]
    pub account: AccountArgs,
}

/// The address of the node's consensus key, without opening what has a password.
pub(in crate::cli) fn consensus_key(node: &NodeConfig) -> anyhow::Result<Option<Address>> {
    let address = match &node.key {
        KeySource::PlaintextDev { path } => keystore::address_of(&keystore::read_plaintext(path)?),
        KeySource::Keystore { path, .. } => keystore::read(path)?.address(),
    };
    Ok(address.map(|address| address.0.into()))
}

impl StatusArgs {
    /// Which operator is meant.
    pub(super) async fn who(&self, layer: &Layer) -> anyhow::Result<Address> {
        if let Some(operator) = self.operator.map_or_else(|| self.account.address(), |operator| Ok(Some(operator)))? {
            return Ok(operator);
        }
        let Some(node) = &layer.node else {
            bail!("which operator? give --operator, --account or the node's --config")
        };
        let key = consensus_key(node)?.context("the node's keystore states no address: give --operator")?;
        layer.owner(key).await?.with_context(|| {
            format!("nobody registered the node's consensus key {key} in this network: give --operator, or `register`")
        })
    }
}

pub(super) async fn run(args: StatusArgs, output: Output) -> anyhow::Result<()> {
    let layer = Layer::open(&args.chain).await?;
    let operator = args.who(&layer).await?;
    let standing = layer.contracts.standing(&layer.endpoints, &layer.head, operator).await?;
    let committee = layer.contracts.committee(&layer.endpoints, &layer.head).await?;
    let value = value(&layer, operator, &standing, &committee);
    output.result(&value, || describe(&layer, operator, &standing, &committee).join("\n"))
}

fn bytes(standing: &Standing) -> (String, Vec<String>) {
    contact_shown(&standing.peer, &standing.addresses.iter().map(|address| address.as_ref()).collect::<Vec<_>>())
}

fn value(layer: &Layer, operator: Address, standing: &Standing, committee: &[(Address, u64)]) -> Value {
    let (peer, addresses) = bytes(standing);
    let strategy = |found: &Allocated| {
        json!({
            "strategy": found.strategy, "shares": found.shares.to_string(), "multiplier": found.multiplier.to_string(),
            "magnitude": found.magnitude.to_string(), "free": found.free.to_string(), "most": found.most.to_string(),
            "allocated_shares": found.stake(found.magnitude).to_string(),
            "pending": found.pending.map(|(change, from)| json!({ "change": change.to_string(), "from_block": from })),
        })
    };
    json!({
        "operator": operator, "network": layer.genesis.network_id(), "block": layer.head.number,
        "is_operator": standing.is_operator, "allocation_delay_blocks": standing.allocation_delay,
        "registered": standing.member, "slashable": standing.slashable, "tombstoned": standing.tombstoned,
        "weight": standing.weight, "allocated_weight": standing.allocated, "upcoming_weight": standing.upcoming,
        "minimum": layer.contracts.minimum, "in_committee": in_committee(standing, committee),
        "committee_members": committee.len(), "key": (standing.key != Address::ZERO).then_some(standing.key),
        "next_key": standing.next.map(|next| json!({ "key": next.key, "from_block": next.from })),
        "peer_id": (!standing.peer.is_empty()).then_some(peer), "addresses": addresses,
        "strategies": standing.strategies.iter().map(strategy).collect::<Vec<_>>(),
    })
}

fn in_committee(standing: &Standing, committee: &[(Address, u64)]) -> bool {
    standing.key != Address::ZERO && committee.iter().any(|(key, _)| *key == standing.key)
}

/// One strategy's line.
pub(super) fn line(layer: &Layer, found: &Allocated) -> String {
    let pending = found.pending.map(|(_, from)| {
        let then = decimal(found.stake(found.upcoming()));
        format!("; {then} from {} on", layer.block(from))
    });
    format!(
        "  {}  {} shares, {} of them allocated{}, counted {}",
        found.strategy,
        decimal(found.shares),
        decimal(found.stake(found.magnitude)),
        pending.unwrap_or_default(),
        if found.multiplier == U256::from(1_000_000_000_000_000_000_u64) {
            "as they are".to_owned()
        } else {
            format!("{} each", decimal(found.multiplier))
        }
    )
}

fn describe(layer: &Layer, operator: Address, standing: &Standing, committee: &[(Address, u64)]) -> Vec<String> {
    let mut lines = vec![
        format!("operator {operator}, network {}, at {}", layer.genesis.name, layer.block(layer.head.number)),
        match (standing.tombstoned, standing.member, standing.slashable) {
            (true, _, slashable) => {
                format!(
                    "slashed, and barred for good; its stake {} be slashed again",
                    if slashable { "can" } else { "cannot" }
                )
            }
            (_, true, _) => "registered; its stake can be slashed".to_owned(),
            (_, false, true) => "has left; its stake can still be slashed: see `squad operator exit-status`".to_owned(),
            (_, false, false) if standing.is_operator => "not registered; nothing of it can be slashed".to_owned(),
            _ => "no operator of EigenLayer: `squad operator register --as-operator` makes it one".to_owned(),
        },
    ];
    lines.push(format!(
        "weight {} tokens, allocated {}, of at least {}{}",
        tokens(standing.weight),
        tokens(standing.allocated),
        tokens(layer.contracts.minimum),
        if standing.upcoming == standing.allocated {
            String::new()
        } else {
            format!("; {} once all that is pending counts", tokens(standing.upcoming))
        }
    ));
    lines.extend(standing.strategies.iter().map(|found| line(layer, found)));
    lines.push(match standing.allocation_delay {
        Some(delay) => format!("allocations count after {}", layer.blocks(delay)),
        None if standing.is_operator => format!(
            "its allocation delay does not count yet: that takes {} from when it was set",
            layer.blocks(layer.contracts.configuration_delay)
        ),
        None => "allocates nothing".to_owned(),
    });
    if standing.key != Address::ZERO {
        let member = if in_committee(standing, committee) { "in" } else { "not in" };
        lines.push(format!("consensus key {}, {member} the table's committee of {}", standing.key, committee.len()));
    }
    // A key that counts already is the one above.
    if let Some(next) = standing.next.filter(|next| u64::from(next.from) > layer.head.number) {
        lines.push(format!("next key {}, from {} on", next.key, layer.block(next.from)));
    }
    if !standing.peer.is_empty() {
        let (peer, addresses) = bytes(standing);
        lines.push(format!("node {peer} at {}", addresses.join(", ")));
    }
    lines
}
