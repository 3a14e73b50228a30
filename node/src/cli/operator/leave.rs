//! `squad operator deregister` and `exit-status`

use super::args::{AccountArgs, ChainArgs};
use super::layer::{Layer, tokens};
use super::sending::{Outcome, Plan, SendArgs, perform};
use super::status::{StatusArgs, line};
use crate::cli::Output;
use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};
use squad_l1::{Address, Standing};

/// `squad operator deregister`
#[derive(Clone, Debug, Args)]
pub struct DeregisterArgs {
    /// Which network.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Who leaves.
    #[command(flatten)]
    pub account: AccountArgs,
    /// How to send.
    #[command(flatten)]
    pub send: SendArgs,
}

pub(super) async fn run(args: DeregisterArgs, output: Output) -> anyhow::Result<()> {
    let layer = Layer::open(&args.chain).await?;
    let account = args.account.open()?;
    let me = account.address();
    let standing = layer.contracts.standing(&layer.endpoints, &layer.head, me).await?;
    ensure!(standing.member, "{me} is not registered in this network: there is nothing to leave");
    let delay = u64::from(layer.contracts.deallocation_delay);
    let mut will = vec![
        format!("operator {me} leaves network {}", layer.genesis.name),
        format!("weight           {} tokens leave the table at once", tokens(standing.weight)),
        "committees       that it is in already it still serves: keep the node running until `squad status` says that it is in none"
            .to_owned(),
        format!("stake            stays slashable until {}, and evidence counts until then", layer.block(layer.head.number.saturating_add(delay))),
        "allocations      stay as they are: `squad operator allocate --fraction 0` takes them back".to_owned(),
    ];
    let committee = layer.contracts.committee(&layer.endpoints, &layer.head).await?;
    if committee.len() <= 4 && committee.iter().any(|(key, _)| *key == standing.key) {
        will.push(format!(
            "the network      is left with {} operators at stake: below four, it stands still while one of them is away",
            committee.len() - 1
        ));
    }
    let call = layer.contracts.deregister(me);
    let more = [("operator", json!(me)), ("slashable_until_block", json!(layer.head.number.saturating_add(delay)))];
    let plan = Plan { action: "deregister", will, call };
    if let Outcome::Sent(mined) = perform(&layer, &account, plan, &args.send, output, &more).await? {
        let until = layer.block(mined.block.saturating_add(delay));
        output.note(|| format!("its stake stays slashable until {until}: `squad operator exit-status` shows it"));
    }
    Ok(())
}

/// Until when an operator answers for what it signed.
enum Exit {
    /// It is in the set.
    Stays,
    /// It left in this block, and its stake is slashable until that one.
    Left(u64, u64),
    /// It left, and endpoints do not say when: until that block at the latest.
    LeftSometime(u64, String),
    /// Nothing of it can be slashed.
    Free,
}

async fn exit(layer: &Layer, operator: Address, standing: &Standing) -> Exit {
    let delay = u64::from(layer.contracts.deallocation_delay);
    if standing.member {
        return Exit::Stays;
    }
    if !standing.slashable {
        return Exit::Free;
    }
    let latest = layer.head.number.saturating_add(delay);
    match layer.contracts.left_at(&layer.endpoints, &layer.head, operator).await {
        Ok(Some(block)) => Exit::Left(block, block.saturating_add(delay)),
        Ok(None) => Exit::LeftSometime(latest, "they show no such event".to_owned()),
        Err(error) => Exit::LeftSometime(latest, error.to_string()),
    }
}

pub(super) async fn exit_status(args: StatusArgs, output: Output) -> anyhow::Result<()> {
    let layer = Layer::open(&args.chain).await?;
    let operator = args.who(&layer).await?;
    let standing = layer.contracts.standing(&layer.endpoints, &layer.head, operator).await?;
    let exit = exit(&layer, operator, &standing).await;
    output
        .result(&value(&layer, operator, &standing, &exit), || describe(&layer, operator, &standing, &exit).join("\n"))
}

fn value(layer: &Layer, operator: Address, standing: &Standing, exit: &Exit) -> Value {
    let (left, until, exact) = match exit {
        Exit::Stays | Exit::Free => (None, None, true),
        Exit::Left(block, until) => (Some(*block), Some(*until), true),
        Exit::LeftSometime(until, _) => (None, Some(*until), false),
    };
    let allocated: Vec<Value> = standing
        .strategies
        .iter()
        .map(|found| {
            json!({
                "strategy": found.strategy, "allocated_shares": found.stake(found.magnitude).to_string(),
                "pending": found.pending.map(|(change, from)| json!({ "change": change.to_string(), "from_block": from })),
            })
        })
        .collect();
    json!({
        "operator": operator, "network": layer.genesis.network_id(), "block": layer.head.number,
        "registered": standing.member, "slashable": standing.slashable, "left_block": left,
        "slashable_until_block": until, "until_is_exact": exact, "tombstoned": standing.tombstoned, "strategies": allocated,
        "deallocation_delay_blocks": layer.contracts.deallocation_delay,
        "withdrawal_delay_blocks": layer.contracts.withdrawal_delay,
    })
}

fn describe(layer: &Layer, operator: Address, standing: &Standing, exit: &Exit) -> Vec<String> {
    let contracts = &layer.contracts;
    let mut lines =
        vec![format!("operator {operator}, network {}, at {}", layer.genesis.name, layer.block(layer.head.number))];
    lines.push(match exit {
        Exit::Stays => format!(
            "it is registered. If it leaves now, its stake stays slashable until {}",
            layer.block(layer.head.number.saturating_add(contracts.deallocation_delay.into()))
        ),
        Exit::Left(block, until) => {
            format!("it left in {}. Its stake is slashable, and evidence counts, until {}", layer.block(*block), layer.block(*until))
        }
        Exit::LeftSometime(until, why) => format!(
            "it left. Its stake is slashable, and evidence counts, until {} at the latest; the endpoints do not say when it left: {why}",
            layer.block(*until)
        ),
        Exit::Free => "nothing of it can be slashed for this network".to_owned(),
    });
    lines.extend(standing.strategies.iter().map(|found| line(layer, found)));
    if standing.strategies.iter().any(|found| found.upcoming() > 0) {
        lines.push(if standing.slashable {
            format!(
                "what is allocated can be taken back now (`squad operator allocate --fraction 0`), and is free after {}",
                layer.blocks(contracts.deallocation_delay)
            )
        } else {
            "what is allocated can be taken back, and is free at once (`squad operator allocate --fraction 0`)".to_owned()
        });
    }
    lines.push(format!(
        "stakers withdraw with EigenLayer whenever they like, {} after they queue it{}",
        layer.blocks(contracts.withdrawal_delay),
        if standing.slashable { "; until then, what is queued can be slashed as well" } else { "" }
    ));
    lines
}
