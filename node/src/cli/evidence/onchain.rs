//! Evidence and the contract that takes stake for it: what it knows of an incident, and how it comes to know.

use super::{Checked, load};
use crate::cli::operator::{AccountArgs, ChainArgs, Layer, SendArgs, ask, cost, decimal, percent, sent};
use crate::cli::{Output, note};
use anyhow::{bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use squad_l1::{Account, AccountError, Address, B256, Call, Contracts, Incident, Mined, Standing};
use std::path::PathBuf;
use std::process::ExitCode;

/// `squad evidence show`
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// The file, as `squad evidence list --out` writes it
    pub file: PathBuf,
    /// Where to look whether it was slashed.
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// `squad evidence submit`
#[derive(Clone, Debug, Args)]
pub struct SubmitArgs {
    /// The file, as `squad evidence list --out` writes it
    pub file: PathBuf,
    /// Which network.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Who signs and pays: any account.
    #[command(flatten)]
    pub account: AccountArgs,
    /// Commit to the evidence first, and claim the reporter's part of what is slashed
    #[arg(long)]
    pub claim: bool,
    /// How to send.
    #[command(flatten)]
    pub send: SendArgs,
}

/// What the contracts know of whom the evidence accuses, and of what.
struct Known {
    /// Whose the key is; none if nobody ever registered it.
    operator: Option<(Address, Standing)>,
    incident: Option<Incident>,
}

async fn look(layer: &Layer, checked: &Checked) -> anyhow::Result<Known> {
    let key = Address::from(checked.accused.0);
    let incident = layer.contracts.incident(&layer.endpoints, &layer.head, checked.incident.0.into()).await?;
    let operator = match layer.owner(key).await? {
        Some(owner) => Some((owner, layer.contracts.standing(&layer.endpoints, &layer.head, owner).await?)),
        None => None,
    };
    Ok(Known { operator, incident })
}

impl Known {
    fn words(&self, layer: &Layer) -> String {
        match (&self.incident, &self.operator) {
            (Some(incident), _) => format!(
                "operator {} was slashed for it in {}{}",
                incident.operator,
                layer.block(incident.slashed_at),
                match incident.reporter {
                    Address::ZERO => String::new(),
                    reporter => format!("; {reporter} claimed the bounty"),
                }
            ),
            (None, None) => "nobody ever registered that key: nothing can be slashed".to_owned(),
            (None, Some((owner, standing))) if !standing.slashable => {
                format!("not slashed; operator {owner} has left, and its stake is free")
            }
            (None, Some((owner, _))) => format!("not slashed yet: operator {owner} can be (`squad evidence submit`)"),
        }
    }

    fn value(&self) -> Value {
        json!({
            "operator": self.operator.as_ref().map(|(owner, _)| owner),
            "slashable": self.operator.as_ref().is_some_and(|(_, standing)| standing.slashable),
            "slashed": self.incident.is_some(),
            "slashed_at_block": self.incident.map(|incident| incident.slashed_at),
            "reporter": self.incident.map(|incident| incident.reporter).filter(|reporter| *reporter != Address::ZERO),
        })
    }
}

pub(super) async fn show(args: ShowArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (network, _, checked) = load(&args.file)?;
    let node = args.chain.node()?;
    if let Some(path) = args.chain.genesis.as_ref().or(node.as_ref().map(|node| &node.genesis)) {
        let genesis = crate::cli::read_genesis(path)?.network_id();
        ensure!(
            genesis == network,
            "{} is about network {network}, and the genesis is of network {genesis}",
            args.file.display()
        );
    }
    let asks = !args.chain.endpoints.is_empty() || node.is_some_and(|node| !node.l1.endpoints.is_empty());
    let known = if asks {
        let layer = Layer::open(&args.chain).await?;
        let known = look(&layer, &checked).await?;
        Some((known.words(&layer), known.value()))
    } else {
        None
    };
    let value = json!({
        "network": network, "accused": checked.accused, "incident": checked.incident, "what": checked.what,
        "statements": checked.statements, "settlement": known.as_ref().map(|(_, value)| value),
    });
    output.result(&value, || {
        let mut lines = vec![format!("{} signed {}", checked.accused, checked.what)];
        lines.extend(checked.statements.iter().map(|statement| format!("  {statement}")));
        lines.push(format!("network {network}"));
        lines.push(format!("incident {}", checked.incident));
        lines.push(known.map_or_else(
            || "whether it was slashed: give the network's --genesis and --endpoints to look".to_owned(),
            |(words, _)| words,
        ));
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One submission under way.
struct Submission<'a> {
    layer: Layer,
    account: Account,
    checked: Checked,
    bytes: Vec<u8>,
    args: &'a SubmitArgs,
    /// What was sent, in order.
    sent: Vec<(String, Mined)>,
}

pub(super) async fn submit(args: SubmitArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (network, bytes, checked) = load(&args.file)?;
    let layer = Layer::open(&args.chain).await?;
    ensure!(
        layer.genesis.network_id() == network,
        "{} is about network {network}, and the genesis is of network {}: its slasher would refuse it",
        args.file.display(),
        layer.genesis.network_id()
    );
    let known = look(&layer, &checked).await?;
    let Some((owner, standing)) = &known.operator else {
        bail!("nobody ever registered the key {} on this settlement layer: there is no stake to take", checked.accused);
    };
    ensure!(
        !args.claim || layer.contracts.pays(),
        "this network burns what it slashes, so there is no bounty: leave out --claim"
    );
    if known.incident.is_none() {
        ensure!(standing.slashable, "operator {owner} has left, and its stake is free: there is nothing left to take");
    } else if !args.claim {
        bail!("{}: there is nothing left to do", known.words(&layer));
    }
    let account = args.account.open_or(layer.node.as_ref())?;
    let fraction = layer.contracts.fractions.get(usize::from(bytes.first().copied().unwrap_or_default()));
    let mut will = vec![
        format!("operator {owner}, whose key is {}, is slashed for {}", checked.accused, checked.what),
        format!("takes            {} of what it has at stake for the network, and bars it for good", {
            fraction.map_or_else(|| "a part".to_owned(), |fraction| percent(*fraction))
        }),
    ];
    let operator = *owner;
    let mut submission = Submission { layer, account, checked, bytes, args: &args, sent: Vec::new() };
    if args.claim {
        return submission.claim(known.incident, will, output).await;
    }
    let call = submission.layer.contracts.slash(&submission.bytes);
    let quote = submission.layer.endpoints.quote(submission.account.address(), &call).await?;
    will.push(format!("costs            {}", cost(&quote)));
    if !submission.begin(&will, output)? {
        return Ok(ExitCode::SUCCESS);
    }
    submission.send(call).await?;
    submission.report(operator, &will, output)
}

impl Submission<'_> {
    fn incident(&self) -> B256 {
        self.checked.incident.0.into()
    }

    /// Shows what will happen, and asks. False where nothing is to be sent.
    fn begin(&self, will: &[String], output: Output) -> anyhow::Result<bool> {
        let text = will.join("\n  ");
        if self.args.send.dry_run {
            let value = json!({ "sent": [], "will": will, "incident": self.checked.incident });
            output.result(&value, || format!("{text}\nnothing was sent: it would go through now"))?;
            return Ok(false);
        }
        note(&text);
        ask(&self.args.send)?;
        Ok(true)
    }

    async fn send(&mut self, call: Call) -> Result<Mined, AccountError> {
        let quote = self.layer.endpoints.quote(self.account.address(), &call).await?;
        let patience = self.args.send.patience();
        let mined = self.layer.endpoints.send(&self.account, &call, &quote, false, patience).await?;
        self.sent.push((call.what, mined));
        Ok(mined)
    }

    /// Commits, slashes, claims and is paid; goes on from wherever an earlier run ended.
    async fn claim(
        mut self,
        slashed: Option<Incident>,
        mut will: Vec<String>,
        output: Output,
    ) -> anyhow::Result<ExitCode> {
        let me = self.account.address();
        let salt = self.account.salt(&self.bytes);
        let commitment = Contracts::commitment(&self.bytes, me, salt);
        let contracts = self.layer.contracts.clone();
        let made = contracts.committed_at(&self.layer.endpoints, &self.layer.head, commitment).await?;
        if let Some(incident) = slashed {
            ensure!(
                incident.reporter == Address::ZERO || incident.reporter == me,
                "the bounty is {}'s, who claimed it first",
                incident.reporter
            );
            ensure!(
                made != 0 && made < incident.slashed_at,
                "it was slashed in {}, and {me} had not committed to this evidence in a block before: there is no bounty for it",
                self.layer.block(incident.slashed_at)
            );
        }
        will.push(format!(
            "bounty           {} of what is taken, for the first to claim it of those who committed before",
            percent(contracts.bounty)
        ));
        let first = match (made, slashed) {
            (0, _) => contracts.commit(commitment),
            (_, None) => contracts.slash(&self.bytes),
            _ => contracts.claim(&self.bytes, salt),
        };
        if slashed.is_none_or(|incident| incident.reporter == Address::ZERO) {
            let quote = self.layer.endpoints.quote(me, &first).await?;
            will.push(format!("costs            {} for `{}`", cost(&quote), first.what));
            if slashed.is_none() && made == 0 {
                let quote = self.layer.endpoints.quote(me, &contracts.slash(&self.bytes)).await?;
                will.push(format!(
                    "then             {} for `slash`, and less than 200000 gas for `claim` and `pay`",
                    cost(&quote)
                ));
            }
        }
        if !self.begin(&will, output)? {
            return Ok(ExitCode::SUCCESS);
        }
        if made == 0 {
            self.send(contracts.commit(commitment)).await?;
        }
        if slashed.is_none() {
            match self.send(contracts.slash(&self.bytes)).await {
                Ok(_) => {}
                // Somebody else's came first: the commitment may still have been there before it.
                Err(AccountError::Refused { revert, .. }) if revert.name() == Some("AlreadySlashed") => {}
                Err(AccountError::Failed { .. }) if self.is_slashed().await? => {}
                Err(error) => return Err(error.into()),
            }
        }
        if slashed.is_none_or(|incident| incident.reporter == Address::ZERO) {
            self.send(contracts.claim(&self.bytes, salt)).await?;
        }
        self.layer.refresh().await?;
        let coming = contracts.bounties(&self.layer.endpoints, &self.layer.head, self.incident()).await?;
        for (token, _) in &coming {
            self.send(contracts.pay(self.incident(), *token)).await?;
        }
        for (token, amount) in &coming {
            output.note(|| format!("bounty: {} of token {token}", decimal(*amount)));
        }
        let operator = contracts.incident(&self.layer.endpoints, &self.layer.head, self.incident()).await?;
        self.report(operator.map(|incident| incident.operator).unwrap_or_default(), &will, output)
    }

    async fn is_slashed(&mut self) -> anyhow::Result<bool> {
        self.layer.refresh().await?;
        let incident = self.layer.contracts.incident(&self.layer.endpoints, &self.layer.head, self.incident()).await?;
        Ok(incident.is_some())
    }

    fn report(self, operator: Address, will: &[String], output: Output) -> anyhow::Result<ExitCode> {
        let each = |(what, mined): &(String, Mined)| {
            json!({
                "call": what, "transaction": mined.hash, "block": mined.block, "gas": mined.gas,
                "paid_eth": decimal(mined.cost),
            })
        };
        let value = json!({
            "accused": self.checked.accused, "operator": operator, "incident": self.checked.incident, "will": will,
            "sent": self.sent.iter().map(each).collect::<Vec<_>>(),
        });
        output.result(&value, || {
            let lines = self.sent.iter().map(|(what, mined)| format!("{what}: {}", sent(mined)));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
