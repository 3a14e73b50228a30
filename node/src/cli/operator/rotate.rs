//! `squad operator rotate-key` and `set-contact`: what changes while an operator stays.

use super::args::{AccountArgs, ChainArgs, KeyArgs};
use super::layer::Layer;
use super::register::PlaceArgs;
use super::sending::{Outcome, Plan, SendArgs, perform};
use crate::cli::Output;
use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;
use squad_l1::{Account, Standing, key_proof};

/// `squad operator rotate-key`
#[derive(Clone, Debug, Args)]
pub struct RotateArgs {
    /// Which network.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Whose.
    #[command(flatten)]
    pub account: AccountArgs,
    /// The new key.
    #[command(flatten)]
    pub key: KeyArgs,
    /// How to send.
    #[command(flatten)]
    pub send: SendArgs,
}

/// `squad operator set-contact`
#[derive(Clone, Debug, Args)]
pub struct ContactArgs {
    /// Which network.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Whose.
    #[command(flatten)]
    pub account: AccountArgs,
    /// Where the node is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// How to send.
    #[command(flatten)]
    pub send: SendArgs,
}

/// The operator, which has to be in the set.
async fn registered(layer: &Layer, account: &Account) -> anyhow::Result<Standing> {
    let me = account.address();
    let standing = layer.contracts.standing(&layer.endpoints, &layer.head, me).await?;
    ensure!(!standing.tombstoned, "{me} was slashed in this network, and is barred from it for good");
    ensure!(standing.member, "{me} is not registered in this network: `squad operator register` does that");
    Ok(standing)
}

pub(super) async fn run(args: RotateArgs, output: Output) -> anyhow::Result<()> {
    ensure!(
        args.key.keystore.is_some() || args.key.plaintext_key.is_some(),
        "which new key? make one with `squad keys new`, and give it with --keystore"
    );
    let layer = Layer::open(&args.chain).await?;
    let account = args.account.open()?;
    let me = account.address();
    let standing = registered(&layer, &account).await?;
    let now = layer.head.number;
    if let Some(next) = standing.next.filter(|next| u64::from(next.from) > now) {
        anyhow::bail!("the key {} already replaces it, from {}: wait for that", next.key, layer.block(next.from));
    }
    let secret = args.key.open(None)?;
    let (key, proof) = key_proof(&secret, layer.endpoints.chain_id(), layer.contracts.registrar, me)
        .context("the new key is no secp256k1 key")?;
    ensure!(key != standing.key, "{key} is the operator's key already: make another with `squad keys new`");
    if let Some(owner) = layer.owner(key).await? {
        ensure!(owner == me, "the key {key} is {owner}'s for ever: make another with `squad keys new`");
    }
    let delay = layer.contracts.rotation_delay;
    let will = vec![
        format!("operator {me} of network {} gets another consensus key", layer.genesis.name),
        format!("from             {}", standing.key),
        format!("to               {key}, its own for ever"),
        format!("counts           {} after the transaction, as the table is read from then on", layer.blocks(delay)),
        "the new key      is a newcomer to the nodes: it counts towards the third of stake that may be new".to_owned(),
        "the old key      still signs for the committees it is in, and evidence against it takes stake as before"
            .to_owned(),
    ];
    let call = layer.contracts.rotate_key(key, &proof);
    let more = [("operator", json!(me)), ("key", json!(key)), ("old_key", json!(standing.key))];
    let plan = Plan { action: "rotate-key", will, call };
    if let Outcome::Sent(mined) = perform(&layer, &account, plan, &args.send, output, &more).await? {
        let from = layer.block(mined.block.saturating_add(delay.into()));
        output.note(|| {
            format!(
                "the new key counts from {from}. Until then start a second node with it, in a data directory of its own, and keep the \
                 old one running. Once `squad status` of the old one says that it is not in the committee, stop it and destroy its \
                 key; never run two nodes with one key. `squad operator set-contact` says where the new one is"
            )
        });
    }
    Ok(())
}

pub(super) async fn set_contact(args: ContactArgs, output: Output) -> anyhow::Result<()> {
    let layer = Layer::open(&args.chain).await?;
    let account = args.account.open()?;
    registered(&layer, &account).await?;
    let (report, place) = args.place.report(layer.node.as_ref())?;
    let me = account.address();
    let will = vec![
        format!("operator {me} of network {} says where its node is", layer.genesis.name),
        format!("node             {place}"),
    ];
    let call = layer.contracts.set_contact(&report);
    let more = [("operator", json!(me)), ("contact", json!(place))];
    perform(&layer, &account, Plan { action: "set-contact", will, call }, &args.send, output, &more).await?;
    Ok(())
}
