//! Shows what a transaction will do and cost, asks, sends.

use super::layer::{Layer, decimal, ether};
use crate::cli::{Output, note};
use anyhow::{bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use squad_l1::{Account, Call, Mined, Patience, Quote};
use std::io::{BufRead, IsTerminal as _};
use std::time::Duration;

/// How often a sent transaction is looked for.
const POLL: Duration = Duration::from_secs(1);

/// How to send.
#[derive(Clone, Debug, Args)]
pub struct SendArgs {
    /// Do not ask before sending
    #[arg(long)]
    pub yes: bool,
    /// Try it, say what it would do and cost, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until a transaction is in a block, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub wait: u64,
}

impl SendArgs {
    pub(in crate::cli) fn patience(&self) -> Patience {
        Patience { poll: POLL, most: Duration::from_secs(self.wait) }
    }
}

/// What is about to be sent.
pub(in crate::cli) struct Plan {
    /// The command's name, for programs.
    pub(in crate::cli) action: &'static str,
    /// What will happen, line by line, in words.
    pub(in crate::cli) will: Vec<String>,
    pub(in crate::cli) call: Call,
}

/// What became of it.
pub(in crate::cli) enum Outcome {
    Tried,
    Sent(Mined),
}

/// Lets a person say yes. `terminal` is what it types on, if there is one.
///
/// # Errors
/// Whatever is not a yes.
pub(in crate::cli) fn confirm(terminal: Option<&mut dyn BufRead>) -> anyhow::Result<()> {
    let Some(terminal) = terminal else {
        bail!(
            "nothing was sent: there is no terminal to ask on. Add --yes to send without asking, or --dry-run to try"
        );
    };
    note("Send it? [yes/no]");
    let mut answer = String::new();
    // An answer is a word.
    std::io::Read::take(terminal, 64).read_line(&mut answer)?;
    ensure!(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"), "nothing was sent");
    Ok(())
}

/// Asks, unless the flags say not to.
pub(in crate::cli) fn ask(args: &SendArgs) -> anyhow::Result<()> {
    if args.yes {
        return Ok(());
    }
    let input = std::io::stdin();
    let mut lock = input.is_terminal().then(|| input.lock());
    confirm(lock.as_mut().map(|lock| lock as &mut dyn BufRead))
}

/// What a transaction costs, in words.
pub(in crate::cli) fn cost(quote: &Quote) -> String {
    format!(
        "{} gas, about {} ETH, at most {} ETH, of the account's {} ETH",
        quote.gas,
        ether(quote.likely()),
        ether(quote.most()),
        ether(quote.balance)
    )
}

/// Tries a plan, shows it, asks, and sends it. The result is printed, with what `more` adds to it for programs.
///
/// # Errors
/// A contract that refuses, a person that does, or what goes wrong with the transaction.
pub(in crate::cli) async fn perform(
    layer: &Layer,
    account: &Account,
    plan: Plan,
    args: &SendArgs,
    output: Output,
    more: &[(&str, Value)],
) -> anyhow::Result<Outcome> {
    let quote = layer.endpoints.quote(account.address(), &plan.call).await?;
    let mut will = plan.will;
    will.push(format!("costs            {}", cost(&quote)));
    let mut value = json!({
        "action": plan.action, "account": account.address(), "will": will, "gas": quote.gas,
        "likely_eth": decimal(quote.likely()), "most_eth": decimal(quote.most()), "sent": false,
    });
    for (name, found) in more {
        value[*name] = found.clone();
    }
    let text = will.join("\n  ");
    if args.dry_run {
        let funds = if quote.balance < quote.most() { ", if the account held enough for it" } else { "" };
        output.result(&value, || format!("{text}\nnothing was sent: it would go through now{funds}"))?;
        return Ok(Outcome::Tried);
    }
    note(&text);
    ask(args)?;
    let mined = layer.endpoints.send(account, &plan.call, &quote, false, args.patience()).await?;
    value["sent"] = json!(true);
    value["transaction"] = json!(mined.hash);
    value["block"] = json!(mined.block);
    value["paid_eth"] = json!(decimal(mined.cost));
    output.result(&value, || sent(&mined))?;
    Ok(Outcome::Sent(mined))
}

/// What became of a transaction, in words.
pub(in crate::cli) fn sent(mined: &Mined) -> String {
    let paid = ether(mined.cost);
    format!("done: transaction {} in block {}, for {paid} ETH; final some minutes later", mined.hash, mined.block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one_and_without_a_terminal_there_is_none() {
        for answer in ["yes\n", "y\n", " YES \n", "y"] {
            assert!(confirm(Some(&mut answer.as_bytes())).is_ok(), "{answer}");
        }
        for answer in ["no\n", "\n", "", "yesno\n", "yes please\n"] {
            assert_eq!(confirm(Some(&mut answer.as_bytes())).unwrap_err().to_string(), "nothing was sent");
        }
        let refused = confirm(None).unwrap_err().to_string();
        assert!(refused.contains("no terminal") && refused.contains("--yes"), "{refused}");
    }
}
