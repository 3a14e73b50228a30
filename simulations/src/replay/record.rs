//! The record as it is written: one JSON object, mostly columns of numbers. Times are microseconds since the start.

use super::Recorder;
use super::messages::{Columns, Counted};
use crate::cluster::START;
use crate::network::NodeIndex;
use crate::network::places;
use crate::queue::Instant;
use crate::results::Summary;
use crate::scenario::FaultSpec;
use crate::simulation::Simulation;
use serde::{Deserialize, Serialize};

/// A run's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// The form of this record; a page takes only the one it was made for.
    pub version: u32,
    /// The scenario's name.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// `held`, `beyond` or `violated`.
    pub verdict: String,
    /// What did not hold.
    pub what: String,
    /// A hash over everything that happened.
    pub trace: String,
    /// When the run ended.
    pub end: u64,
    /// When load and faults ended.
    pub duration: u64,
    /// From when to when messages and what happens all the time are kept.
    pub window: (u64, u64),
    /// Places of nodes, if there are any.
    pub places: Vec<Place>,
    /// The nodes.
    pub nodes: Vec<NodeInfo>,
    /// What went wrong, and when.
    pub faults: Vec<Fault>,
    /// Who misbehaved.
    pub byzantine: Vec<Byzantine>,
    /// Names of messages' kinds, by their number.
    pub kinds: Vec<String>,
    /// How much of each kind is here.
    pub counted: Vec<Counted>,
    /// Messages.
    pub messages: Columns,
    /// Texts that events point at.
    pub words: Vec<String>,
    /// What nodes did.
    pub events: Events,
    /// Events and batches that there was no room for.
    pub left_out: u64,
    /// Batches.
    pub batches: Batches,
    /// One of so many transactions is here.
    pub one_of: usize,
    /// Transactions, in the order in which they were sent.
    pub transactions: Transactions,
    /// Decided heights.
    pub blocks: Vec<Block>,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// A city there.
    pub city: String,
    /// Longitude and latitude in degrees, if they are known.
    pub at: Option<(f64, f64)>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// `member`, `newcomer`, `twin` or `follower`.
    pub role: String,
    /// Its place among the places.
    pub place: Option<usize>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it began.
    pub from: u64,
    /// When it was over.
    pub to: u64,
    /// In a few words.
    pub name: String,
    /// Whom it was about; nobody for what is about all.
    pub nodes: Vec<NodeIndex>,
    /// Of a partition: its parts.
    pub groups: Vec<Vec<NodeIndex>>,
}

/// Somebody who misbehaved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Byzantine {
    /// Which node.
    pub node: NodeIndex,
    /// How.
    pub behaviour: String,
    /// From when on.
    pub from: u64,
    /// Until when.
    pub to: u64,
}

/// What nodes did, as columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// The names of what is done, by number.
    pub names: Vec<String>,
    /// When each happened, in microseconds after the one before.
    pub at: Vec<u64>,
    /// Which node.
    pub node: Vec<NodeIndex>,
    /// What, by its place among the names.
    pub what: Vec<u8>,
    /// Three figures of each, one after the other; see [`What`](super::What).
    pub figures: Vec<u64>,
}

/// Batches, as columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batches {
    /// The author's node.
    pub node: Vec<NodeIndex>,
    /// The epoch of its lane.
    pub epoch: Vec<u64>,
    /// Its place in the lane.
    pub sequence: Vec<u64>,
    /// Transactions in it.
    pub count: Vec<u64>,
    /// When it was batched; -1 if it is not known.
    pub batched: Vec<i64>,
    /// When it was secured; -1 if never.
    pub secured: Vec<i64>,
    /// Whose acks secured it first.
    pub signers: Vec<Vec<NodeIndex>>,
}

/// Transactions, as columns. A time is -1 for what never happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transactions {
    /// The first eight bytes of each id, in hexadecimal.
    pub id: Vec<String>,
    /// When it was sent.
    pub sent: Vec<u64>,
    /// To which node first.
    pub node: Vec<NodeIndex>,
    /// Its bytes.
    pub bytes: Vec<usize>,
    /// When it was batched first.
    pub batched: Vec<i64>,
    /// When it was secured first.
    pub secured: Vec<i64>,
    /// When it was ordered first.
    pub ordered: Vec<i64>,
    /// Its batch; -1 if that is not known.
    pub batch: Vec<i64>,
    /// Its height; 0 if it was not ordered.
    pub height: Vec<u64>,
    /// Its position in its namespace's part of the block.
    pub position: Vec<u32>,
    /// Its namespace; 0 if it was not ordered.
    pub namespace: Vec<u32>,
}

/// A decided height.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// The height.
    pub height: u64,
    /// The round of its certificate.
    pub round: u32,
    /// Who proposed it.
    pub proposer: Option<NodeIndex>,
    /// When it was decided first.
    pub at: u64,
    /// Transactions in it.
    pub transactions: usize,
}

/// The form of records that is written and read.
pub const VERSION: u32 = 1;

/// Transactions that are kept at most.
const MAX_TRANSACTIONS: usize = 40_000;

const REGIONS: &str = include_str!("../../data/aws-regions.csv");

/// The names of [`What`](super::What), in its order.
const NAMES: [&str; 20] = [
    "up",
    "down",
    "proposed",
    "prevoted",
    "precommitted",
    "decided",
    "batched",
    "secured",
    "accused",
    "lane closed",
    "refused",
    "round",
    "catching up",
    "caught up",
    "may sign",
    "state lost",
    "rebatched",
    "fetching",
    "not voted for",
    "key in use",
];

impl Replay {
    /// Of a run that is over.
    pub fn new(simulation: &Simulation, recorder: &Recorder, summary: &Summary) -> Self {
        let (scenario, cluster) = (&simulation.scenario, &simulation.cluster);
        let end = simulation.elapsed();
        let window = recorder.window();
        let byzantine = scenario.byzantine.iter().map(|spec| Byzantine {
            node: spec.node,
            behaviour: spec.behaviour.name(),
            from: spec.from_ms * 1_000,
            to: spec.until_ms.map_or(end, |until| until * 1_000).min(end),
        });
        let twins = scenario.operators()..scenario.operators() + scenario.committee.twins.len();
        let twins = scenario.committee.twins.iter().copied().chain(twins);
        let twins = twins.map(|node| Byzantine { node, behaviour: "twins".to_owned(), from: 0, to: end });
        let (transactions, one_of) = transactions(simulation, recorder);
        Self {
            version: VERSION,
            name: scenario.name.clone(),
            seed: scenario.seed,
            verdict: summary.verdict.to_owned(),
            what: summary.what.clone(),
            trace: summary.trace.clone(),
            end,
            duration: (scenario.duration_ms * 1_000).min(end),
            window: (window.start.min(end), window.end.min(end)),
            places: cluster.network.places().map(places_of).unwrap_or_default(),
            nodes: (0..scenario.nodes()).map(|node| node_info(simulation, node)).collect(),
            faults: scenario.fault.iter().map(|spec| fault(spec, end)).collect(),
            byzantine: byzantine.chain(twins).collect(),
            kinds: crate::packet::Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect(),
            counted: recorder.messages.counted(),
            messages: recorder.messages.columns(),
            words: recorder.words.clone(),
            events: events(recorder),
            left_out: recorder.left_out,
            batches: batches(recorder),
            one_of,
            transactions,
            blocks: blocks(simulation),
        }
    }
}

fn since_start(at: Instant) -> u64 {
    at.0.saturating_sub(START.0)
}

fn signed(at: Option<u64>) -> i64 {
    at.map_or(-1, |at| at as i64)
}

fn places_of(places: &places::Places) -> Vec<Place> {
    let known = |name: &str| {
        let mut rows = REGIONS.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let row = rows.find(|row| row.first() == Some(&name))?;
        let at = (row.get(2)?.parse().ok()?, row.get(3)?.parse().ok()?);
        Some((row.get(1)?.to_string(), at))
    };
    let place = |name: &String| match known(name) {
        Some((city, at)) => Place { name: name.clone(), city, at: Some(at) },
        None => Place { name: name.clone(), city: String::new(), at: None },
    };
    places.names().iter().map(place).collect()
}

fn node_info(simulation: &Simulation, node: NodeIndex) -> NodeInfo {
    let committee = &simulation.scenario.committee;
    let operators = simulation.scenario.operators();
    let role = match node {
        _ if node < committee.members => "member",
        _ if node < operators => "newcomer",
        _ if node < operators + committee.twins.len() => "twin",
        _ => "follower",
    };
    NodeInfo { role: role.to_owned(), place: simulation.cluster.network.places().map(|places| places.of(node)) }
}

fn fault(spec: &FaultSpec, end: u64) -> Fault {
    let (name, lasts_ms) = spec.describe();
    let from = (spec.at_ms * 1_000).min(end);
    let groups = spec.partition.as_ref().map(|partition| partition.groups.clone()).unwrap_or_default();
    Fault { from, to: (from + lasts_ms * 1_000).min(end), name, nodes: spec.nodes(), groups }
}

fn events(recorder: &Recorder) -> Events {
    let mut sorted = recorder.events.clone();
    // An output leaves when its node is done with it, which may be after what another node did later.
    sorted.sort_by_key(|event| event.at);
    let mut events = Events { names: NAMES.map(str::to_owned).to_vec(), ..Events::default() };
    let mut before = 0;
    for event in sorted {
        events.at.push(event.at - before);
        before = event.at;
        events.node.push(event.node);
        events.what.push(event.what as u8);
        events.figures.extend(event.figures);
    }
    events
}

fn batches(recorder: &Recorder) -> Batches {
    let mut columns = Batches::default();
    for batch in &recorder.batches {
        columns.node.push(batch.node);
        columns.epoch.push(batch.epoch);
        columns.sequence.push(batch.sequence);
        columns.count.push(batch.count);
        columns.batched.push(signed(batch.batched));
        columns.secured.push(signed(batch.secured));
        columns.signers.push(batch.signers.clone());
    }
    columns
}

fn transactions(simulation: &Simulation, recorder: &Recorder) -> (Transactions, usize) {
    let invariants = &simulation.cluster.invariants;
    let mut sent: Vec<_> = simulation.sent.iter().collect();
    sent.sort_by_key(|(id, sent)| (sent.at, **id));
    let one_of = sent.len().div_ceil(MAX_TRANSACTIONS).max(1);
    let mut columns = Transactions::default();
    for (id, sent) in sent.into_iter().step_by(one_of) {
        let placed = recorder.placed(id);
        let time = |at: Option<Instant>| signed(at.map(since_start));
        columns.id.push(id.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect());
        columns.sent.push(since_start(sent.at));
        columns.node.push(sent.node);
        columns.bytes.push(sent.bytes);
        columns.batched.push(time(invariants.batched_at(id)));
        columns.secured.push(time(invariants.secured_at(id)));
        columns.ordered.push(time(invariants.ordered_at(id)));
        columns.batch.push(recorder.batch_of.get(id).map_or(-1, |place| i64::from(*place)));
        columns.height.push(placed.map_or(0, |placed| placed.height.0));
        columns.position.push(placed.map_or(0, |placed| placed.position));
        columns.namespace.push(placed.map_or(0, |placed| placed.namespace.0));
    }
    (columns, one_of)
}

fn blocks(simulation: &Simulation) -> Vec<Block> {
    let block = |decided: &crate::invariants::Decided| Block {
        height: decided.height.0,
        round: decided.round.0,
        proposer: simulation.cluster.node_of(&decided.proposer),
        at: since_start(decided.at),
        transactions: decided.transactions,
    };
    simulation.cluster.invariants.blocks().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::What;

    #[test]
    fn every_thing_a_node_does_has_its_name_and_every_region_of_the_table_its_place() {
        assert_eq!(What::KeyInUse as usize + 1, NAMES.len());
        assert_eq!(
            [NAMES[What::Decided as usize], NAMES[What::Fetching as usize], NAMES[What::Up as usize]],
            ["decided", "fetching", "up"]
        );
        // No regions means all of them.
        let table = places::Places::aws(1, &[]).map(|places| places.names().to_vec()).unwrap_or_default();
        assert!(table.len() > 30);
        for region in &table {
            let line = REGIONS.lines().find(|line| line.starts_with(&format!("{region},")));
            let line = line.unwrap_or_else(|| panic!("{region} is nowhere"));
            let at: Vec<f64> = line.split(',').skip(2).filter_map(|cell| cell.parse().ok()).collect();
            assert!(at.len() == 2 && at[0].abs() <= 180.0 && at[1].abs() <= 90.0, "{line}");
        }
    }
}
