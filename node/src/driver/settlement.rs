//! Where stake comes from: the genesis file, or the settlement layer that it names.

use super::inbox::Inbox;
use super::node::Plan;
use crate::config::L1Config;
use crate::metrics::NodeMetrics;
use anyhow::Context as _;
use squad_l1::{Endpoints, EndpointsConfig, FollowConfig, Follower, L1Error, Step, View};
use squad_sequencer::Input;
use squad_sequencer::ledger::{GenesisStakeTable, StakeTable};
use std::sync::Arc;
use std::time::Duration;

/// In the data directory: what was read of the settlement layer.
const FILE: &str = "settlement.json";

/// What a node goes by.
pub(super) struct Settlement {
    pub(super) stakes: Arc<dyn StakeTable>,
    pub(super) follower: Option<Follower>,
}

/// Reads what is known already, and asks nobody yet. The data directory has to be there.
pub(super) fn open(plan: &Plan) -> anyhow::Result<Settlement> {
    let config = &plan.l1;
    let Some(layer) = &plan.genesis.settlement else {
        anyhow::ensure!(
            config.endpoints.is_empty(),
            "l1.endpoints are set, and the genesis names no settlement layer: remove them, or use that network's genesis"
        );
        return Ok(Settlement { stakes: Arc::new(GenesisStakeTable::new(&plan.genesis)), follower: None });
    };
    anyhow::ensure!(
        !config.endpoints.is_empty(),
        "this network's stakes are on chain {}, in the table {}: set l1.endpoints to JSON-RPC of that chain, of several \
         nodes if you can",
        layer.chain_id,
        layer.stake_table
    );
    let view = Arc::new(View::open(&plan.genesis, &plan.data_dir.join(FILE))?);
    let follow = FollowConfig {
        table: layer.stake_table.0.into(),
        lag: layer.lag_blocks.into(),
        every: layer.every_blocks.into(),
        poll: Duration::from_millis(config.poll_ms),
    };
    let follower = Follower::new(endpoints(config, layer)?, follow, Arc::clone(&view))?;
    Ok(Settlement { stakes: view, follower: Some(follower) })
}

/// The endpoints that the settings name, of the chain that the genesis does.
pub(super) fn endpoints(config: &L1Config, layer: &squad_types::Settlement) -> anyhow::Result<Endpoints> {
    let endpoints = Endpoints::new(&EndpointsConfig {
        urls: config.endpoints.clone(),
        agree: config.agree,
        timeout: Duration::from_millis(config.timeout_ms),
        chain_id: layer.chain_id,
    });
    endpoints.context("l1.endpoints")
}

/// Says in the log and in the metrics what a look at the settlement layer gave. What fails again and again is said once, until
/// it works. The sequencer hears of each look that may have given a block.
pub(super) fn teller(metrics: NodeMetrics, inbox: Inbox) -> impl FnMut(Result<Step, L1Error>) + Send {
    let mut failing = false;
    move |step| {
        // A look that failed may have read some blocks before.
        if !matches!(step, Ok(Step::Same)) {
            inbox.input(Input::AnchorSeen, None);
        }
        match step {
            Ok(step) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("the settlement layer can be read again");
                }
                if let Step::Read { number, members, .. } = step {
                    tracing::debug!(number, members, "stakes read from the settlement layer");
                    metrics.l1_block.set(i64::try_from(number).unwrap_or(i64::MAX));
                }
            }
            Err(error) => {
                metrics.l1_failures.inc();
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the settlement layer cannot be read; what is known of it goes on to count");
                }
            }
        }
    }
}
