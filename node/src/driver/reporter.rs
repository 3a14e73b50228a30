//! Sends what this node holds against others to where stake is taken for it.
//!
//! Every node does so that is told to, for the same incidents. So each waits a while first, longer or shorter by incident and
//! operator, and then asks whether somebody was quicker; and again until that is final. The contract counts an incident once, whoever sends it and however often:
//! nothing has to be remembered across a restart.

use super::inbox::Inbox;
use super::node::Plan;
use crate::metrics::NodeMetrics;
use anyhow::Context as _;
use squad_l1::{Account, AccountError, Address, B256, Contracts, Endpoints, Patience};
use squad_types::hash::keccak256;
use squad_types::{Domain, EcdsaVerifier, Encode as _, Evidence, IncidentId, NetworkId, Signer as _};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The most looks that a node lets pass before it sends: operators take turns so that few of them pay for the same incident.
const TURNS: u8 = 16;
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// When it is asked again about a key that nobody has registered: somebody still may.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(3_600);
/// How long a transaction is waited for, before one that offers more takes its place.
const MINED: Duration = Duration::from_secs(600);

/// How an incident stands here.
struct Due {
    at: Instant,
    failures: u32,
}

/// What came of looking at an incident.
enum Came {
    /// Stake was taken for it, by this node or by another, or never can be.
    Over,
    /// Stake was taken for it in a block that may still be replaced by one without it.
    Taken,
    /// Nobody is known to have that key.
    Unknown,
}

/// Sends evidence from an account of its own.
pub(super) struct Reporter {
    account: Account,
    endpoints: Endpoints,
    table: Address,
    network: NetworkId,
    /// This node's own key, which it accuses of nothing.
    key: squad_types::Address,
    poll: Duration,
    metrics: NodeMetrics,
    contracts: Option<Contracts>,
    /// Incidents that something is still to be done about, or nothing any more.
    incidents: BTreeMap<[u8; 32], Option<Due>>,
    said_poor: bool,
}

/// The reporter that the settings ask for. Nothing is asked or sent yet.
pub(super) fn open(plan: &Plan) -> anyhow::Result<Option<Box<Reporter>>> {
    let Some(account) = plan.account.clone().filter(|_| plan.l1.submit_evidence) else { return Ok(None) };
    let layer = plan.genesis.settlement.as_ref().context(
        "l1.submit_evidence is set, and the genesis names no settlement layer: leave it out, or use that network's genesis",
    )?;
    Ok(Some(Box::new(Reporter {
        account,
        endpoints: super::settlement::endpoints(&plan.l1, layer)?,
        table: layer.stake_table.0.into(),
        network: plan.genesis.network_id(),
        key: plan.signer.address(),
        poll: Duration::from_millis(plan.l1.poll_ms),
        metrics: plan.metrics.clone(),
        contracts: None,
        incidents: BTreeMap::new(),
        said_poor: false,
    })))
}

impl Reporter {
    /// Looks again and again, until the node ends.
    pub(super) async fn run(mut self, inbox: Inbox) {
        tracing::info!(account = %self.account.address(), "evidence is sent to the settlement layer");
        let mut ticks = tokio::time::interval(self.poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(facts) = inbox.facts().await else { return };
            for evidence in &facts.evidence {
                self.consider(evidence).await;
            }
        }
    }

    /// When it is this node's turn with an incident.
    fn turn(&self, incident: &[u8; 32]) -> Duration {
        let hash = keccak256(&[incident.as_slice(), self.account.address().as_slice()].concat());
        self.poll.saturating_mul(u32::from(hash[0] % TURNS))
    }

    async fn consider(&mut self, evidence: &Evidence) {
        let Some(IncidentId(incident)) = evidence.incident(&self.network) else { return };
        let now = Instant::now();
        let turn = self.turn(&incident);
        let failures = match self.incidents.entry(incident).or_insert(Some(Due { at: now + turn, failures: 0 })) {
            Some(due) if due.at <= now => due.failures,
            _ => return,
        };
        let next = match self.report(evidence, incident).await {
            Ok(Came::Over) => None,
            Ok(Came::Taken) => Some(Due { at: Instant::now() + self.poll.saturating_mul(TURNS.into()), failures: 0 }),
            Ok(Came::Unknown) => Some(Due { at: Instant::now() + UNKNOWN_PAUSE, failures: 0 }),
            Err(error) => {
                self.metrics.evidence_submit_failures.inc();
                self.complain(&incident, failures, &error);
                let pause = self.poll.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE.max(self.poll));
                Some(Due { at: Instant::now() + pause, failures: failures.saturating_add(1) })
            }
        };
        self.incidents.insert(incident, next);
    }

    /// What fails again and again is said once.
    fn complain(&mut self, incident: &[u8; 32], failures: u32, error: &AccountError) {
        let incident = B256::from(*incident);
        let poor = matches!(error, AccountError::TooPoor { .. });
        if poor && !std::mem::replace(&mut self.said_poor, true) {
            tracing::error!(%error, "evidence cannot be sent");
        } else if failures == 0 && !poor {
            tracing::warn!(%incident, %error, "evidence is not sent; it is tried again");
        } else {
            tracing::debug!(%incident, %error, failures, "evidence is not sent yet");
        }
    }

    async fn report(&mut self, evidence: &Evidence, incident: [u8; 32]) -> Result<Came, AccountError> {
        let Ok(accused) = evidence.verify(&Domain::new(self.network), &EcdsaVerifier) else { return Ok(Came::Over) };
        if accused == self.key {
            tracing::error!(incident = %B256::from(incident), "there is evidence against this node's own key: it is not sent from here");
            return Ok(Came::Over);
        }
        let head = self.endpoints.head().await?;
        let contracts = match &self.contracts {
            Some(contracts) => contracts,
            None => self.contracts.insert(Contracts::find(&self.endpoints, &head, self.table).await?),
        };
        if contracts.network.0 != self.network.0 {
            tracing::error!(slasher = %contracts.slasher, network = %contracts.network, "the slasher is another network's: nothing is sent");
            return Ok(Came::Over);
        }
        if let Some(taken) = contracts.incident(&self.endpoints, &head, incident.into()).await? {
            if taken.slashed_at > self.endpoints.finalized().await? {
                return Ok(Came::Taken);
            }
            tracing::info!(%accused, incident = %B256::from(incident), "stake was taken for it, and that is final");
            return Ok(Came::Over);
        }
        if contracts.operator_of(&self.endpoints, &head, accused.0.into()).await? == Address::ZERO {
            tracing::debug!(%accused, "nobody has registered the key of whom there is evidence against");
            return Ok(Came::Unknown);
        }
        let call = contracts.slash(&evidence.to_bytes());
        let quote = match self.endpoints.quote(self.account.address(), &call).await {
            Err(AccountError::Refused { revert, .. }) if is_final(revert.name()) => {
                tracing::warn!(%accused, %revert, "no stake is taken");
                return Ok(Came::Over);
            }
            quote => quote?,
        };
        let patience = Patience { poll: self.poll, most: MINED };
        let mined = self.endpoints.send(&self.account, &call, &quote, true, patience).await?;
        self.said_poor = false;
        self.metrics.evidence_submitted.inc();
        tracing::warn!(%accused, incident = %B256::from(incident), transaction = %mined.hash, block = mined.block, "stake was taken of an operator");
        Ok(Came::Taken)
    }
}

/// Whether a refusal is for good.
fn is_final(name: Option<&str>) -> bool {
    matches!(name, Some("AlreadySlashed" | "NoLongerSlashable"))
}
