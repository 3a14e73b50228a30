//! What a devnet prints: JSON lines for programs, a live table for people.

use super::children::{Children, Ended};
use super::l1::OnChain;
use super::layout::Layout;
use super::ports::Addresses;
use super::watch::{ChainSeen, Seen};
use crate::api::{NodeStatus, Readiness};
use crate::cli::{line, print};
use serde_json::{Value, json};
use squad_types::{Address, Signer};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Instant;

/// How often the table is printed where it cannot be drawn over.
const PLAIN_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// What a token of 18 decimals weighs in the stake table.
const UNITS_OF_A_TOKEN: f64 = 1e6;

/// Prints.
pub(super) struct Show {
    json: bool,
    /// The operators' consensus keys.
    keys: Vec<Address>,
    terminal: bool,
    drawn: usize,
    printed: Option<Instant>,
    started: Instant,
    blocks: u64,
    transactions: u64,
    first_height: Option<u64>,
    disagreed: bool,
}

/// What other programs need to know of a devnet that is ready.
pub(super) fn ready(layout: &Layout, addresses: &Addresses, on_chain: Option<&OnChain>, children: &Children) -> Value {
    let operators = layout.signers.iter().zip(&addresses.operators).zip(children.pids("operator"));
    let operators = operators.enumerate().map(|(at, ((signer, listen), pid))| {
        json!({
            "id": signer.address(),
            "rpc": format!("http://{}", listen.rpc),
            "grpc": format!("http://{}", listen.grpc),
            "metrics": format!("http://{}/metrics", listen.metrics),
            "pid": pid,
            "region": addresses.regions.get(at),
        })
    });
    let executors = addresses.executors.iter().zip(children.pids("executor"));
    let executors = executors.map(|(rpc, pid)| json!({ "rpc": format!("http://{rpc}"), "pid": pid }));
    json!({
        "event": "ready",
        "network_id": layout.genesis.network_id(),
        "dir": layout.dir,
        "operators": operators.collect::<Vec<_>>(),
        "executors": executors.collect::<Vec<_>>(),
        "namespaces": layout.genesis.namespaces,
        "l1": on_chain,
    })
}

impl Show {
    pub(super) fn new(json: bool, layout: &Layout) -> Self {
        Self {
            json,
            keys: layout.signers.iter().map(Signer::address).collect(),
            terminal: !json && std::io::stdout().is_terminal(),
            drawn: 0,
            printed: None,
            started: Instant::now(),
            blocks: 0,
            transactions: 0,
            first_height: None,
            disagreed: false,
        }
    }

    pub(super) fn ready(
        &self,
        ready: &Value,
        layout: &Layout,
        addresses: &Addresses,
        on_chain: Option<&OnChain>,
    ) -> anyhow::Result<()> {
        if self.json {
            return line(ready);
        }
        let verb = if layout.continued { "continues from" } else { "lies in" };
        let mut text =
            format!("A network of {} operators {verb} {}.\n\n", addresses.operators.len(), layout.dir.display());
        for (at, (signer, listen)) in layout.signers.iter().zip(&addresses.operators).enumerate() {
            let (name, address) = (at + 1, signer.address());
            let (rpc, grpc) = (listen.rpc, listen.grpc);
            let region = addresses.regions.get(at).map(|region| format!("  {region}")).unwrap_or_default();
            let _ = writeln!(text, "  operator {name}  {address}  page and JSON-RPC http://{rpc}  gRPC {grpc}{region}");
        }
        for (at, rpc) in addresses.executors.iter().enumerate() {
            let (name, chain) = (at + 1, crate::genesis::DEVNET_CHAIN_ID);
            let _ = writeln!(text, "  executor {name}  wallets connect to http://{rpc}  (chain id {chain})");
        }
        if let Some(OnChain { rpc, chain_id, .. }) = on_chain {
            let file = layout.dir.join("l1.json");
            let _ = writeln!(
                text,
                "  stake       on chain {chain_id}, {rpc}; contracts and accounts in {}",
                file.display()
            );
        }
        text.push_str(
            "\nTen accounts of the mnemonic 'test test test test test test test test test test test junk' hold 10,000 ether each:\n",
        );
        for account in squad_executor::dev_accounts().iter().take(3) {
            let _ = writeln!(text, "  {}  key {}", account.address(), account.secret());
        }
        text.push_str(
            "  … and seven more. Everybody knows these keys: never use them elsewhere.\n\nCtrl-C stops it; a second start continues.\n",
        );
        line(text)
    }

    /// Prints the committees of epochs that began since the last look.
    pub(super) fn epochs(&self, seen: &Seen) -> anyhow::Result<()> {
        if !self.json {
            return Ok(());
        }
        for committee in &seen.committees {
            line(json!({ "event": "epoch", "epoch": committee.epoch(), "members": committee.members() }))?;
        }
        Ok(())
    }

    /// Counts and prints the blocks that were ordered since the last look.
    pub(super) fn blocks(&mut self, seen: &Seen) -> anyhow::Result<()> {
        for found in &seen.headers {
            let header = &found.header;
            self.first_height.get_or_insert(header.height.0);
            self.blocks += 1;
            self.transactions += u64::from(header.tx_count);
            if self.json {
                line(json!({
                    "event": "block",
                    "height": header.height,
                    "hash": header.hash(),
                    "epoch": header.epoch,
                    "timestamp": header.timestamp,
                    "proposer": header.proposer,
                    "round": found.certificate.round,
                    "signatures": found.certificate.signatures.len(),
                    "transactions": header.tx_count,
                    "l1_block": header.l1_anchor.number,
                }))?;
            }
        }
        self.disagreed |= seen.executors_agree() == Some(false);
        Ok(())
    }

    pub(super) fn ended(&self, ended: &Ended, layout: &Layout) -> anyhow::Result<()> {
        let Ended { name, status, log } = ended;
        if self.json {
            return line(json!({ "event": "ended", "process": name, "status": status.to_string(), "log": log }));
        }
        let (log, dir) = (log.display(), layout.dir.display());
        line(format_args!(
            "{name} ended ({status}): see {log}. To start it again: squad node --config {dir}/{name}/node.toml --insecure-plaintext-key"
        ))
    }

    /// Draws the table.
    pub(super) fn table(&mut self, seen: &Seen) -> anyhow::Result<()> {
        if self.json || (!self.terminal && self.printed.is_some_and(|at| at.elapsed() < PLAIN_EVERY)) {
            return Ok(());
        }
        self.printed = Some(Instant::now());
        let text = self.rows(seen);
        let mut out = String::new();
        if self.terminal && self.drawn > 0 {
            // Up over the last table, which is then drawn over.
            let _ = write!(out, "\x1b[{}A\x1b[J", self.drawn);
        }
        out.push_str(&text);
        self.drawn = text.lines().count();
        print(out)
    }

    /// What the chain says of an operator's stake, if there is one: in whole tokens, with a column's width.
    fn stake(&self, seen: &Seen, at: usize) -> String {
        let Some(chain) = &seen.chain else { return String::new() };
        let key = self.keys.get(at);
        let found = chain.members.iter().find(|member| Some(&member.address) == key);
        let tokens = found.map_or(0.0, |member| member.stake.0 as f64 / UNITS_OF_A_TOKEN);
        format!("{tokens:>14.3}")
    }

    fn rows(&self, seen: &Seen) -> String {
        let mut text = String::new();
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let _ = writeln!(
            text,
            "{:>8.0} s   {} blocks, {} transactions, {:.1} certificates/s",
            seconds,
            self.blocks,
            self.transactions,
            self.blocks as f64 / seconds
        );
        if let Some(ChainSeen { newest, finalized, members }) = &seen.chain {
            let _ = writeln!(
                text,
                "             chain at block {newest}, final {finalized}: {} operators at stake",
                members.len()
            );
        }
        let stake = if seen.chain.is_some() { "         stake" } else { "" };
        let _ = writeln!(
            text,
            "  {:<11}{:>9}{:>7}{:>7}{:>7}{:>13}{:>13}{stake}  state",
            "", "height", "epoch", "round", "peers", "interval ms", "ordered ms"
        );
        for (at, status) in seen.operators.iter().enumerate() {
            let name = format!("operator {}", at + 1);
            match status {
                Some(status) => {
                    let interval = status.latencies.block_interval.p50;
                    let ordered = status.latencies.ordered.p50;
                    let stake = self.stake(seen, at);
                    let _ = writeln!(
                        text,
                        "  {name:<11}{:>9}{:>7}{:>7}{:>7}{interval:>13.1}{ordered:>13.1}{stake}  {}",
                        status.height.0,
                        status.epoch.0,
                        status.round.0,
                        status.peers.len(),
                        state(status)
                    );
                }
                None => {
                    let _ = writeln!(text, "  {name:<11}does not answer");
                }
            }
        }
        for (at, status) in seen.executors.iter().enumerate() {
            let name = format!("executor {}", at + 1);
            match status {
                Some(status) => {
                    let root = status["stateRoot"].as_str().unwrap_or("").chars().take(14).collect::<String>();
                    // As text: a JSON value takes no width.
                    let [ordered, evm] = ["orderedHeight", "evmHeight"].map(|height| status[height].to_string());
                    let _ = writeln!(text, "  {name:<11}{ordered:>9}  EVM block {evm}, state root {root}…");
                }
                None => {
                    let _ = writeln!(text, "  {name:<11}does not answer");
                }
            }
        }
        if self.disagreed {
            let _ = writeln!(text, "  THE EXECUTORS DISAGREE ON A STATE ROOT");
        }
        text
    }

    pub(super) fn summary(&self, seen: &Seen) -> anyhow::Result<()> {
        let heights: Vec<Option<u64>> = seen.operators.iter().map(|s| s.as_ref().map(|s| s.height.0)).collect();
        let seconds = self.started.elapsed().as_secs_f64();
        if self.json {
            line(json!({
                "event": "summary",
                "seconds": seconds,
                "blocks": self.blocks,
                "transactions": self.transactions,
                "first_height": self.first_height,
                "heights": heights,
                "executors": seen.executors,
                "executors_agree": !self.disagreed,
            }))
        } else {
            let (blocks, transactions) = (self.blocks, self.transactions);
            line(format_args!("\n{blocks} blocks and {transactions} transactions in {seconds:.0} s. Stopping."))
        }
    }
}

fn state(status: &NodeStatus) -> String {
    match &status.readiness {
        Readiness::Starting => "starting".to_owned(),
        Readiness::CatchingUp { target } => format!("catching up to {target}"),
        Readiness::Ready => "ready".to_owned(),
        Readiness::Refusing { reason } => format!("refusing: {reason}"),
    }
}
