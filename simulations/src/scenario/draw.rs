//! Random plans: everything that may go wrong, drawn from a seed, within what the protocol promises to bear.

use super::{
    BehaviourName, ByzantineSpec, ClockJump, Clusters, CommitteeSpec, Costs, Crash, Cut, DiskFate, Distribution,
    FaultSpec, L1Lag, LoadSpec, Loss, NetworkSpec, NodeSpec, OneNode, Partition, Scenario, Slow, SlowCpu, Space,
    StakeChange,
};
use crate::rng::Rng;
use squad_types::Params;

/// How large plans are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A second or two with a handful of nodes, seldom more: thousands of seeds in an hour.
    Quick,
    /// Longer, with larger committees and more load.
    Full,
}

impl Profile {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }

    fn members(self, rng: &mut Rng) -> usize {
        let sizes: &[usize] = match self {
            Self::Quick => &[4, 4, 4, 4, 4, 5, 5, 6, 7, 7, 8, 10, 13, 16, 31],
            Self::Full => &[4, 5, 7, 7, 10, 10, 13, 16, 16, 22, 31, 31],
        };
        pick(rng, sizes)
    }

    fn duration_ms(self, rng: &mut Rng) -> u64 {
        match self {
            Self::Quick => 1_000 + rng.below(2_000),
            Self::Full => 8_000 + rng.below(12_000),
        }
    }
}

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize].clone()
}

struct Draw {
    rng: Rng,
    members: usize,
    operators: usize,
    duration: u64,
    /// Operators that misbehave, and those that may lose their disk: together below a third of stake.
    faulty: Vec<usize>,
    forgetful: Vec<usize>,
}

/// How long everything may take to be in order again, where links carry what is sent in no time to speak of.
const SETTLE_MS: u64 = 30_000;

/// The plan of a seed.
pub fn draw(seed: u64, profile: Profile) -> Scenario {
    let mut rng = Rng::new(seed ^ 0xca_4ba1_6e00);
    let members = profile.members(&mut rng);
    let duration = profile.duration_ms(&mut rng);
    let distribution = if rng.per_mille(200) { Distribution::Zipf } else { Distribution::Equal };
    let newcomers = usize::from(rng.per_mille(150));
    let mut draw =
        Draw { rng, members, operators: members + newcomers, duration, faulty: Vec::new(), forgetful: Vec::new() };
    let mut scenario = Scenario {
        name: format!("campaign, seed {seed}"),
        seed,
        duration_ms: duration,
        settle_ms: SETTLE_MS,
        committee: CommitteeSpec { members, distribution, newcomers, ..CommitteeSpec::default() },
        params: draw.params(members),
        network: draw.network(),
        node: draw.node(members),
        load: Vec::new(),
        fault: Vec::new(),
        byzantine: Vec::new(),
    };
    draw.choose_faulty(&scenario.stakes());
    if newcomers > 0 {
        scenario.committee.change = draw.stake_change(&scenario.stakes());
    }
    if let Some(twin) = draw.faulty.first().copied().filter(|_| draw.rng.per_mille(120)) {
        scenario.committee.twins = vec![twin];
    }
    scenario.committee.followers = if draw.rng.per_mille(150) { 2 } else { 0 };
    scenario.load = draw.loads(profile, crate::cluster::max_transaction_bytes(&scenario.params, members));
    scenario.settle_ms += 2 * carrying_ms(&scenario);
    scenario.byzantine = draw.byzantine();
    scenario.fault = draw.faults(profile, scenario.nodes());
    if profile == Profile::Full {
        draw.settlement_layer(&mut scenario);
    }
    scenario
}

/// How long one link takes to carry all that clients send: whoever lost its disk has to get that. None where links are wide.
fn carrying_ms(scenario: &Scenario) -> u64 {
    let Some(mbit) = scenario.network.down_mbit else { return 0 };
    let bits_a_second: f64 = scenario.load.iter().map(|load| load.rate * load.bytes as f64 * 8.0).sum();
    (bits_a_second * scenario.duration_ms as f64 / (mbit * 1e6)) as u64
}

impl Draw {
    fn params(&mut self, members: usize) -> Params {
        let mut params = Params {
            idle_interval_ms: 200,
            propose_timeout_ms: 200,
            vote_timeout_ms: 100,
            timeout_step_ms: 100,
            epoch_heights: pick(&mut self.rng, &[16, 16, 16, 24]),
            epoch_ms: pick(&mut self.rng, &[1_000, 2_000, 3_000, 10_000]),
            ..Params::default()
        };
        if self.rng.per_mille(250) {
            // Small blocks and lanes: flow control, and blocks that are full.
            params.max_block_bytes = pick(&mut self.rng, &[64 << 10, 256 << 10]).max(members as u32 * (8 << 10));
            params.lane_bytes = 4 * params.max_block_bytes;
            params.max_block_transactions = pick(&mut self.rng, &[64, 1_024]);
        }
        if self.rng.per_mille(250) {
            params.window_ms = 3_000;
        }
        params.inclusion_heights = pick(&mut self.rng, &[3, 3, 3, 1, 5]);
        params
    }

    fn network(&mut self) -> NetworkSpec {
        let rng = &mut self.rng;
        let mut network = NetworkSpec {
            delay_ms: pick(rng, &[0.5, 2.0, 5.0, 5.0, 20.0]),
            jitter_ms: pick(rng, &[0.0, 1.0, 1.0, 10.0, 60.0]),
            loss_per_mille: pick(rng, &[0, 0, 10, 30, 80]),
            duplicate_per_mille: pick(rng, &[0, 0, 20, 200]),
            in_order: rng.per_mille(250),
            ..NetworkSpec::default()
        };
        if rng.per_mille(300) {
            network.retransmit_ms = Some(pick(rng, &[20.0, 200.0]));
        }
        if rng.per_mille(150) {
            let far_ms = pick(rng, &[20.0, 60.0]);
            network.clusters =
                Some(Clusters { count: 2 + rng.below(2) as usize, near_ms: 1.0, far_ms, p90_factor: 1.3 });
        }
        if rng.per_mille(120) {
            network.up_mbit = Some(50.0);
            network.down_mbit = Some(50.0);
        }
        network
    }

    fn node(&mut self, members: usize) -> NodeSpec {
        let rng = &mut self.rng;
        NodeSpec {
            costs: if members <= 16 && rng.per_mille(250) { Costs::Measured } else { Costs::None },
            cores: 2 + rng.below(3) as usize,
            machine_cores: None,
            driver_us: 0,
            sync_us: pick(rng, &[200, 500, 4_000]),
            sync_jitter_us: pick(rng, &[0, 500, 20_000]),
            sync_quantiles_us: Vec::new(),
            wake_us: 0,
            skew_ms: pick(rng, &[0, 0, 50, 200]),
            drift_ppm: pick(rng, &[0, 100, 5_000]),
            snapshot_gap: pick(rng, &[10_000, 10_000, 12, 30]),
            checkpoint_interval: pick(rng, &[4, 8, 16, 64]),
            pool_bytes: rng.per_mille(150).then_some(200_000),
        }
    }

    /// Picks operators at random while they hold less than a third of stake together.
    fn choose_faulty(&mut self, stakes: &[u64]) {
        let total: u64 = stakes.iter().sum();
        let mut order: Vec<usize> = (0..self.members).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.rng.below(at as u64 + 1) as usize);
        }
        let (mut taken, most) = (0, self.rng.below(self.members as u64 / 3 + 1) as usize);
        for node in order {
            if (taken + stakes[node]) * 3 >= total || self.faulty.len() + self.forgetful.len() > most {
                continue;
            }
            taken += stakes[node];
            if self.rng.per_mille(800) {
                self.faulty.push(node);
            } else {
                self.forgetful.push(node);
            }
        }
    }

    fn stake_change(&mut self, stakes: &[u64]) -> Vec<StakeChange> {
        let mut joined = stakes.to_vec();
        joined.push(stakes[0]);
        let mut changes = vec![StakeChange { epoch: 2, at_ms: 0, stakes: joined.clone() }];
        // Somebody leaves, if that leaves enough for whoever may misbehave.
        let leaver = self.rng.below(self.members as u64) as usize;
        if self.members >= 5 && !self.faulty.contains(&leaver) && self.rng.per_mille(500) {
            joined[leaver] = 0;
            changes.push(StakeChange { epoch: 4, at_ms: 0, stakes: joined });
        }
        changes
    }

    /// Tables that come while the network runs, and nodes that see them late.
    fn settlement_layer(&mut self, scenario: &mut Scenario) {
        for change in &mut scenario.committee.change {
            change.at_ms = self.rng.below(self.duration / 4);
            if self.rng.per_mille(700) {
                let node = self.rng.per_mille(700).then(|| self.rng.below(self.operators as u64) as usize);
                let (by_ms, unaware) = (100 + self.rng.below(3_000), self.rng.per_mille(400));
                let l1_lag = Some(L1Lag { node, by_ms, unaware, for_ms: self.duration / 2 });
                scenario.fault.push(FaultSpec { at_ms: 0, l1_lag, ..FaultSpec::default() });
            }
        }
        scenario.fault.sort_by_key(|fault| fault.at_ms);
    }

    fn loads(&mut self, profile: Profile, max_bytes: usize) -> Vec<LoadSpec> {
        let rng = &mut self.rng;
        let most = if profile == Profile::Quick { 60.0 } else { 300.0 };
        let count = 1 + rng.below(2);
        let load = |rng: &mut Rng| LoadSpec {
            nodes: Vec::new(),
            rate: 5.0 + (rng.below(1_000) as f64 / 1_000.0 * most).round(),
            bytes: pick(rng, &[64, 300, 512, 2_000, 20_000]).min(max_bytes),
            burst: pick(rng, &[1, 1, 1, 10]),
            copies: if rng.per_mille(200) { 2 } else { 1 },
            namespace: if rng.per_mille(200) { Space::Lottery } else { Space::Bytes },
            from_ms: 0,
            until_ms: None,
        };
        (0..count).map(|_| load(rng)).collect()
    }

    fn byzantine(&mut self) -> Vec<ByzantineSpec> {
        let mut specs = Vec::new();
        for node in self.faulty.clone() {
            let times = 1 + u64::from(self.rng.per_mille(300));
            for time in 0..times {
                let behaviour = pick(&mut self.rng, &BehaviourName::ALL);
                let from_ms = if time == 0 && self.rng.per_mille(600) { 0 } else { self.rng.below(self.duration) };
                let until_ms = self.rng.per_mille(200).then(|| from_ms + self.rng.below(self.duration));
                let strength = match behaviour {
                    BehaviourName::LaneForker => self.rng.below(6),
                    BehaviourName::WithholdBatches | BehaviourName::WithholdVotes | BehaviourName::SelectiveSender => {
                        2 + self.rng.below(2)
                    }
                    BehaviourName::Delayer => 20 + self.rng.below(400),
                    BehaviourName::Censor => self.rng.below(self.members as u64),
                    BehaviourName::CertificateHoarder => 200 + self.rng.below(2_000),
                    BehaviourName::Baiter => 50 + self.rng.below(1_000),
                    BehaviourName::Spammer => 2 + self.rng.below(4),
                    _ => 0,
                };
                specs.push(ByzantineSpec { node, behaviour, strength, from_ms, until_ms });
            }
        }
        specs
    }

    fn faults(&mut self, profile: Profile, nodes: usize) -> Vec<FaultSpec> {
        let most = if profile == Profile::Quick { 7 } else { 24 };
        let mut faults: Vec<FaultSpec> = (0..self.rng.below(most)).map(|_| self.fault(nodes)).collect();
        // Who put an old disk back is stopped by what its peers remember: not if they all forget at the same time.
        if self.forgetful.is_empty() && self.rng.per_mille(120) {
            // The power goes off everywhere, or nearly.
            let at_ms = self.rng.below(self.duration);
            for node in 0..self.operators {
                let down_ms = self.rng.below(600);
                let crash = Crash { node, down_ms, disk: DiskFate::Kept, stale_since_ms: 0, before_output: None };
                if self.rng.per_mille(900) {
                    faults.push(FaultSpec { at_ms, crash: Some(crash), ..FaultSpec::default() });
                }
            }
        }
        for node in self.forgetful.clone() {
            let at_ms = self.duration / 4 + self.rng.below(self.duration / 2);
            let stale = self.rng.per_mille(500);
            let crash = Crash {
                node,
                down_ms: self.rng.below(800),
                disk: if stale { DiskFate::Stale } else { DiskFate::Lost },
                stale_since_ms: if stale { self.rng.below(at_ms) } else { 0 },
                before_output: None,
            };
            faults.push(FaultSpec { at_ms, crash: Some(crash), ..FaultSpec::default() });
        }
        faults.sort_by_key(|fault| fault.at_ms);
        faults
    }

    fn fault(&mut self, nodes: usize) -> FaultSpec {
        let rng = &mut self.rng;
        let mut fault = FaultSpec { at_ms: rng.below(self.duration), ..FaultSpec::default() };
        let node = rng.below(nodes as u64) as usize;
        let operator = rng.below(self.operators as u64) as usize;
        let for_ms = 50 + rng.below(1_200);
        match rng.below(14) {
            0..=3 => {
                let before_output = rng.per_mille(600).then(|| rng.below(200));
                let disk = DiskFate::Kept;
                fault.crash = Some(Crash { node, down_ms: for_ms, disk, stale_since_ms: 0, before_output });
            }
            4 => fault.pause = Some(OneNode { node, for_ms }),
            5 => fault.cut = Some(Cut { from: operator, to: rng.below(self.operators as u64) as usize, for_ms }),
            6 | 7 => {
                let (mut left, mut right) = (Vec::new(), Vec::new());
                (0..self.operators)
                    .for_each(|node| if rng.per_mille(500) { left.push(node) } else { right.push(node) });
                fault.partition = Some(Partition { groups: vec![left, right], for_ms });
            }
            8 => fault.loss = Some(Loss { per_mille: pick(rng, &[100, 300, 1_000]), for_ms }),
            9 => fault.slow_link = Some(Slow { node, by_ms: 20 + rng.below(400), for_ms }),
            10 => fault.slow_disk = Some(Slow { node, by_ms: 5 + rng.below(300), for_ms }),
            11 => fault.slow_cpu = Some(SlowCpu { node, percent: 500 + rng.below(20_000), for_ms }),
            12 => fault.clock = Some(ClockJump { node, skew_ms: rng.below(1_400) as i64 - 700 }),
            _ => fault.disk_low = Some(OneNode { node: operator, for_ms }),
        }
        fault
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_plan_is_a_good_scenario_and_survives_being_written() {
        for seed in 0..300 {
            for profile in [Profile::Quick, Profile::Full] {
                let scenario = draw(seed, profile);
                let read = crate::scenario::parse(&scenario.to_toml());
                assert_eq!(read.unwrap(), scenario, "seed {seed}");
            }
        }
    }
}
