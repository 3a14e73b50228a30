//! `squad operator allocate`

use super::args::{AccountArgs, ChainArgs};
use super::layer::{Layer, decimal, tokens};
use super::sending::{Plan, SendArgs, perform};
use crate::cli::Output;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::json;
use squad_l1::{Address, Allocated, Standing, U256, parse_ether};
use std::cmp::Ordering;

/// What stands for all of something.
const WAD: u64 = 1_000_000_000_000_000_000;

/// `squad operator allocate`
#[derive(Clone, Debug, Args)]
pub struct AllocateArgs {
    /// Which network.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Who allocates.
    #[command(flatten)]
    pub account: AccountArgs,
    /// The part of what is delegated to the operator that shall be at stake, 0 to 1, such as 0.5
    #[arg(long, value_parser = fraction, value_name = "PART", required_unless_present = "magnitude")]
    pub fraction: Option<u64>,
    /// The same as EigenLayer's magnitude: 1000000000000000000 is all that was never slashed
    #[arg(long, value_name = "NUMBER", conflicts_with = "fraction")]
    pub magnitude: Option<u64>,
    /// A strategy of the set; repeat for more. All that the operator has shares of, if none is given
    #[arg(long = "strategy", value_name = "ADDRESS")]
    pub strategies: Vec<Address>,
    /// How to send.
    #[command(flatten)]
    pub send: SendArgs,
}

/// A part, in 1e18 of one.
fn fraction(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no part: use 0 to 1, such as 0.5");
    if text.is_empty() || !text.chars().all(|char| char.is_ascii_digit() || char == '.') {
        return Err(wrong());
    }
    let part = parse_ether(text).map_err(|_| wrong())?;
    u64::try_from(part).ok().filter(|part| *part <= WAD).ok_or_else(wrong)
}

pub(super) async fn run(args: AllocateArgs, output: Output) -> anyhow::Result<()> {
    let layer = Layer::open(&args.chain).await?;
    let account = args.account.open()?;
    let me = account.address();
    let standing = layer.contracts.standing(&layer.endpoints, &layer.head, me).await?;
    ensure!(
        standing.is_operator,
        "{me} is no operator of EigenLayer: `squad operator register --as-operator` makes it one"
    );
    let mut will = vec![format!("operator {me} puts at stake for network {}", layer.genesis.name)];
    let mut magnitudes = Vec::new();
    for found in chosen(&layer, &standing, &args.strategies)? {
        let new = match (args.fraction, args.magnitude) {
            (Some(part), _) => u64::try_from(u128::from(part) * u128::from(found.most) / u128::from(WAD))?,
            (None, Some(magnitude)) => magnitude,
            (None, None) => bail!("how much? give --fraction or --magnitude"),
        };
        if let Some(line) = change(&layer, &standing, found, new)? {
            magnitudes.push((found.strategy, new));
            will.push(line);
        }
    }
    ensure!(!magnitudes.is_empty(), "that is what is allocated already: there is nothing to do");
    let after = weight_after(&layer, &standing, &magnitudes);
    will.push(format!("weight then      {} tokens, of at least {}", tokens(after), tokens(layer.contracts.minimum)));
    if standing.member && after < layer.contracts.minimum {
        will.push("below that it is in no committee, and may be taken out of a full set".to_owned());
    }
    if after > 0 {
        will.push(format!("slashed for      {}, of what is allocated", layer.fractions()));
    }
    let call = layer.contracts.allocate(me, &magnitudes);
    let changes: Vec<_> = magnitudes
        .iter()
        .map(|(strategy, new)| json!({ "strategy": strategy, "magnitude": new.to_string() }))
        .collect();
    let more = [("operator", json!(me)), ("allocations", json!(changes)), ("weight_then", json!(after))];
    perform(&layer, &account, Plan { action: "allocate", will, call }, &args.send, output, &more).await?;
    Ok(())
}

fn chosen<'a>(layer: &Layer, standing: &'a Standing, strategies: &[Address]) -> anyhow::Result<Vec<&'a Allocated>> {
    if strategies.is_empty() {
        let found: Vec<_> = standing.strategies.iter().filter(|found| !found.shares.is_zero()).collect();
        ensure!(
            !found.is_empty(),
            "nothing that counts for this network is delegated to the operator: deposit with EigenLayer into {}, or name a \
             strategy with --strategy to allocate before",
            names(layer)
        );
        return Ok(found);
    }
    let mut found = Vec::new();
    for strategy in strategies {
        let one = standing.strategies.iter().find(|found| found.strategy == *strategy);
        found.push(one.with_context(|| format!("{strategy} does not count for this network; {} do", names(layer)))?);
    }
    found.sort_by_key(|found| found.strategy);
    found.dedup_by_key(|found| found.strategy);
    Ok(found)
}

fn names(layer: &Layer) -> String {
    layer.contracts.strategies.iter().map(|(strategy, _)| strategy.to_string()).collect::<Vec<_>>().join(", ")
}

/// One strategy's line, if anything changes.
fn change(layer: &Layer, standing: &Standing, found: &Allocated, new: u64) -> anyhow::Result<Option<String>> {
    let strategy = found.strategy;
    if let Some((_, from)) = found.pending {
        ensure!(
            u64::from(from) <= layer.head.number,
            "an earlier change of {strategy} is pending until {}: wait for that",
            layer.block(from)
        );
    }
    let now = found.upcoming();
    ensure!(
        new <= found.most,
        "a magnitude of {new} is more than the operator has of {strategy}: {} at most{}",
        found.most,
        if found.most < WAD { ", since it was slashed" } else { "" }
    );
    let counts = match new.cmp(&now) {
        Ordering::Equal => return Ok(None),
        Ordering::Greater => {
            let delay = standing.allocation_delay.with_context(|| {
                format!(
                    "the operator's allocation delay does not count yet, so EigenLayer lets it allocate nothing: that takes {} from \
                     when it was set",
                    layer.blocks(layer.contracts.configuration_delay)
                )
            })?;
            ensure!(
                new - now <= found.free,
                "{} of {strategy} are free to be allocated, and {} more are asked for: other sets have the rest",
                decimal(U256::from(found.free)),
                decimal(U256::from(new - now))
            );
            if delay == 0 {
                "which counts at once".to_owned()
            } else {
                format!("which counts after {}", layer.blocks(delay))
            }
        }
        Ordering::Less if standing.slashable => {
            format!("and what is taken back stays slashable for {}", layer.blocks(layer.contracts.deallocation_delay))
        }
        Ordering::Less => "and what is taken back is free at once".to_owned(),
    };
    Ok(Some(format!(
        "{strategy}  {} to {} of its {} shares, {counts}",
        decimal(found.stake(now)),
        decimal(found.stake(new)),
        decimal(found.shares)
    )))
}

/// What the table would count once all of it counts.
fn weight_after(layer: &Layer, standing: &Standing, magnitudes: &[(Address, u64)]) -> u64 {
    let stake = |found: &Allocated| {
        let new = magnitudes.iter().find(|(strategy, _)| *strategy == found.strategy).map(|(_, new)| *new);
        found.stake(new.unwrap_or_else(|| found.upcoming()))
    };
    layer.contracts.weight(&standing.strategies.iter().map(stake).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_between_nothing_and_all() {
        assert_eq!((fraction("0"), fraction("1"), fraction("0.5")), (Ok(0), Ok(WAD), Ok(WAD / 2)));
        for wrong in ["", "1.1", "-1", "2", "half", "1e-3", "50%", "1.0.0", "99999999999999999999999"] {
            assert!(fraction(wrong).unwrap_err().contains("no part"), "{wrong}");
        }
    }
}
