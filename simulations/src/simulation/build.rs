//! The cluster that a scenario describes.

use crate::cluster::{Cluster, ClusterConfig, StakeTableChange};
use crate::cpu::CostTable;
use crate::network::Links;
use crate::network::places::{Places, PlacesError};
use crate::network::spread::Spread;
use crate::rng::{Durations, Rng};
use crate::scenario::{Costs, NetworkSpec, Scenario};

/// A scenario that makes no cluster.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its regions are not in its table.
    #[error("network: {0}")]
    Places(#[from] PlacesError),
    /// A table of round-trip times cannot be read.
    #[error("network.table: cannot read {path:?}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

pub(super) fn config(scenario: &Scenario) -> Result<ClusterConfig, BuildError> {
    let (network, node) = (&scenario.network, &scenario.node);
    let micros = |ms: f64| (ms * 1_000.0).round().max(0.0) as u64;
    let bytes = |mbit: f64| (mbit * 125_000.0) as u64;
    let links = Links {
        delay: micros(network.delay_ms),
        jitter: micros(network.jitter_ms),
        loss_per_mille: network.loss_per_mille,
        duplicate_per_mille: network.duplicate_per_mille,
        retransmit: network.retransmit_ms.map(micros),
        in_order: network.in_order,
    };
    let mut config = ClusterConfig::equal(scenario.seed, 1);
    config.stakes = scenario.stakes();
    config.newcomers = scenario.committee.newcomers;
    config.twins.clone_from(&scenario.committee.twins);
    config.followers = scenario.committee.followers;
    config.params = scenario.params.clone();
    config.links = links;
    config.places = places(network, scenario.nodes())?;
    config.bandwidth = network.up_mbit.zip(network.down_mbit).map(|(up, down)| (bytes(up), bytes(down)));
    config.cpu = match node.costs {
        Costs::None => None,
        Costs::Measured => Some((CostTable { driver: node.driver_us * 1_000, ..CostTable::measured() }, node.cores)),
    };
    config.shared_cores = node.machine_cores;
    config.wake_times = (node.wake_us > 0).then_some(Durations::Memoryless(node.wake_us));
    config.sync_times = match node.sync_quantiles_us.as_slice() {
        [] => Durations::Even(node.sync_us, node.sync_jitter_us),
        quantiles => Durations::Quantiles(quantiles.to_vec()),
    };
    config.snapshot_gap = node.snapshot_gap;
    config.checkpoint_interval = node.checkpoint_interval;
    for change in &scenario.committee.change {
        let staked = change.stakes.iter().copied().enumerate().filter(|(_, stake)| *stake > 0);
        let (epoch, at_ms, table) = (change.epoch, change.at_ms, staked.collect());
        config.stake_changes.push(StakeTableChange { epoch, at_ms, table });
    }
    Ok(config)
}

fn places(network: &NetworkSpec, nodes: usize) -> Result<Option<Places>, BuildError> {
    if let Some(clusters) = &network.clusters {
        let spread = |ms: f64| Spread::fitted(ms * 1_000.0, ms * 1_000.0 * clusters.p90_factor);
        let places = Places::clustered(nodes, clusters.count, spread(clusters.near_ms), spread(clusters.far_ms));
        return Ok(Some(places));
    }
    if let Some(files) = &network.table {
        let read = |path: &String| {
            std::fs::read_to_string(path).map_err(|error| BuildError::Read { path: path.clone(), error })
        };
        return Ok(Some(Places::regions(nodes, &network.regions, &read(&files.p50)?, &read(&files.p90)?)?));
    }
    if network.regions.is_empty() {
        return Ok(None);
    }
    Ok(Some(Places::aws(nodes, &network.regions)?))
}

/// Sets up clocks and pools.
pub(super) fn nodes(scenario: &Scenario, cluster: &mut Cluster, rng: &mut Rng) {
    let mut either_side = |most: u64| rng.below(2 * most + 1) as i64 - most as i64;
    for node in &mut cluster.nodes {
        node.skew_ms = either_side(scenario.node.skew_ms);
        node.drift_ppm = either_side(scenario.node.drift_ppm);
        if let Some(bytes) = scenario.node.pool_bytes {
            node.config.pool.max_bytes = bytes;
            node.config.pool.max_namespace_bytes = bytes;
        }
    }
}
