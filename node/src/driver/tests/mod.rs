//! Nodes in one process, over real disks and sockets.
//!
//! Nothing sleeps here: whoever waits, waits for heights and answers. The timeouts only bound a failure.

mod faults;
mod network;
mod reporter;
mod settlement;

use super::backend::NodeBackend;
use super::node::{Node, Plan};
use crate::api::{Accepted, Answer, Backend as _, RejectCode, Rejected, Source, Submission, Ticket};
use crate::config::L1Config;
use crate::metrics::NodeMetrics;
use bytes::Bytes;
use squad_net::{Announce, Multiaddr};
use squad_storage::Options;
use squad_types::{
    Address, EcdsaSigner, Genesis, Height, Member, NamespaceId, NamespaceKind, OrderingPolicy, Params, Signer as _,
    Stake, Tier, TxId,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const FAILURE: Duration = Duration::from_secs(120);
const BYTES: NamespaceId = NamespaceId(1);

fn signer(number: u8) -> EcdsaSigner {
    EcdsaSigner::from_secret([number + 1; 32]).unwrap()
}

fn operator(number: u8) -> Address {
    signer(number).address()
}

/// Operators with equal stakes and one namespace of plain bytes.
fn genesis(operators: u8) -> Genesis {
    let spec = crate::genesis::namespace(BYTES.0, "bytes", NamespaceKind::Opaque, OrderingPolicy::Fifo);
    let members = (0..operators).map(|number| Member { address: operator(number), stake: Stake(100) }).collect();
    let params = Params { idle_interval_ms: 100, ..Params::default() };
    crate::genesis::assemble("test", crate::cli::now(), params, vec![spec], members).unwrap()
}

fn plan(genesis: &Genesis, number: u8, dir: &Path, bootstrap: Vec<Multiaddr>) -> Plan {
    Plan {
        genesis: genesis.clone(),
        signer: signer(number),
        guarded: true,
        data_dir: dir.join(number.to_string()),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        announce: Announce::Listening,
        bootstrap,
        l1: L1Config {
            endpoints: Vec::new(),
            agree: 1,
            timeout_ms: 60_000,
            poll_ms: 10,
            account: None,
            submit_evidence: false,
        },
        account: None,
        storage: Options { log_file_bytes: 1 << 20, segment_bytes: 4 << 20, free_space_mark: 0, ..Options::default() },
        disk: Arc::new(squad_storage::RealDisk),
        wait: FAILURE,
        metrics: NodeMetrics::new().unwrap(),
    }
}

#[test]
fn what_is_announced_is_said_in_one_way() {
    let said = |texts: &[&str]| super::announce(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    assert_eq!(said(&[]).unwrap(), Announce::Listening);
    assert_eq!(said(&["none"]).unwrap(), Announce::Nothing);
    let address = "/ip4/10.0.0.1/tcp/7700";
    assert_eq!(said(&[address]).unwrap(), Announce::These(vec![address.parse().unwrap()]));
    assert!(said(&[address, "none"]).unwrap_err().to_string().contains("alone"));
    assert!(said(&["nowhere"]).unwrap_err().to_string().contains("p2p.announce: 'nowhere'"));
}

/// Some operators of one network, in one process.
struct Cluster {
    genesis: Genesis,
    dir: tempfile::TempDir,
    l1: Vec<String>,
    /// What the first node sends evidence from.
    account: Option<squad_l1::Account>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    async fn start(operators: u8) -> Self {
        Self::start_of(genesis(operators), operators, &[]).await
    }

    /// So many nodes, which ask these endpoints of the genesis's settlement layer.
    async fn start_of(genesis: Genesis, nodes: u8, l1: &[String]) -> Self {
        let (dir, l1) = (tempfile::tempdir().unwrap(), l1.to_vec());
        let mut cluster = Self { genesis, dir, l1, account: None, nodes: Vec::new() };
        for number in 0..nodes {
            cluster.nodes.push(None);
            cluster.start_node(number).await;
        }
        cluster
    }

    async fn start_node(&mut self, number: u8) {
        self.start_node_on(number, Arc::new(squad_storage::RealDisk)).await;
    }

    async fn start_node_on(&mut self, number: u8, disk: Arc<dyn squad_storage::Disk>) {
        let running = self.nodes.iter().flatten();
        let bootstrap = running.flat_map(|node| node.net().listen_addresses()).collect();
        let mut plan = Plan { disk, ..plan(&self.genesis, number, self.dir.path(), bootstrap) };
        plan.l1.endpoints.clone_from(&self.l1);
        plan.l1.agree = self.l1.len() / 2 + 1;
        plan.account = self.account.clone().filter(|_| number == 0);
        plan.l1.submit_evidence = plan.account.is_some();
        self.nodes[usize::from(number)] = Some(Box::pin(Node::start(plan)).await.unwrap());
    }

    async fn stop_node(&mut self, number: u8) {
        let node = self.nodes[usize::from(number)].take().unwrap();
        node.drain().await;
        node.stop().await.unwrap();
    }

    fn backend(&self, number: u8) -> Arc<NodeBackend> {
        self.nodes[usize::from(number)].as_ref().unwrap().backend()
    }

    /// Waits until a node has decided a height.
    async fn reach(&self, number: u8, height: Height) {
        let mut tip = self.backend(number).tip();
        let reached = tip.wait_for(|tip| *tip >= height);
        let _ = tokio::time::timeout(FAILURE, reached).await.expect("the height is not reached").unwrap();
    }

    /// Waits until a node takes transactions.
    async fn ready(&self, number: u8) {
        let backend = self.backend(number);
        let mut tip = backend.tip();
        let ready = async {
            while !backend.status().await.is_ready() {
                // Every block is a reason to look again; an idle network makes one every tenth of a second.
                let _ = tokio::time::timeout(Duration::from_millis(100), tip.changed()).await;
            }
        };
        tokio::time::timeout(FAILURE, ready).await.expect("the node does not get ready");
    }

    async fn submit(&self, number: u8, data: &str, wait: Tier) -> Result<Accepted, Rejected> {
        self.submit_after(number, data, wait, None).await
    }

    /// The same, to be taken behind another one.
    async fn submit_after(
        &self,
        number: u8,
        data: &str,
        wait: Tier,
        after: Option<TxId>,
    ) -> Result<Accepted, Rejected> {
        let submission = Submission { after, ..self.submission(number, data, wait) };
        let group = self.submit_all(number, vec![submission]).await;
        group.into_iter().next().unwrap().outcome
    }

    fn submission(&self, number: u8, data: &str, wait: Tier) -> Submission {
        let (chain_time, window) = self.backend(number).chain_time();
        Submission {
            namespace: BYTES,
            data: Bytes::copy_from_slice(data.as_bytes()),
            valid_until: Some(chain_time.plus(window / 2)),
            evm: None,
            wait,
            within: FAILURE,
            with_confirmation: true,
            source: Source::Local,
            after: None,
        }
    }

    /// Submits together; the answers by their places.
    async fn submit_all(&self, number: u8, submissions: Vec<Submission>) -> Vec<Answer> {
        let count = submissions.len();
        let tickets = (7..).zip(submissions).map(|(number, submission)| Ticket { number, submission });
        let (answers, mut answered) = mpsc::unbounded_channel();
        self.backend(number).submit(tickets.collect(), answers).await;
        let mut all = Vec::new();
        while let Some(group) = tokio::time::timeout(FAILURE, answered.recv()).await.expect("an answer is missing") {
            all.extend(group);
        }
        all.sort_by_key(|answer| answer.number);
        assert_eq!(all.iter().map(|answer| answer.number).collect::<Vec<_>>(), (7..).take(count).collect::<Vec<_>>());
        all
    }
}
