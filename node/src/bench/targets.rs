//! Who load is offered to, and what they say of their network.

use super::BenchArgs;
use anyhow::{Context, bail};
use serde_json::Value;
use squad_client::proto::squad_client::SquadClient;
use squad_client::proto::{GenesisRequest, StatusRequest};
use squad_types::{Genesis, NamespaceSpec};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Time to connect, and to answer a question.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often chain time is asked for: short beside the window that a validity lies in.
const CLOCK_INTERVAL: Duration = Duration::from_millis(250);

/// Everybody that takes part in a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    /// gRPC addresses.
    pub(super) urls: Vec<String>,
    /// Operators' processes.
    pub(super) pids: Vec<u32>,
    /// Operators' metrics.
    pub(super) metrics: Vec<String>,
    /// An executor's JSON-RPC.
    pub(super) executor: Option<String>,
}

impl Targets {
    /// What the command line says, and for what it does not say, what the devnet's directory does.
    pub(super) fn find(args: &BenchArgs) -> anyhow::Result<Self> {
        let mut found = match &args.devnet {
            Some(dir) => Self::of_devnet(dir)?,
            None => Self::default(),
        };
        if !args.targets.is_empty() {
            found.urls.clone_from(&args.targets);
        }
        if !args.pids.is_empty() {
            found.pids.clone_from(&args.pids);
        }
        if !args.metrics.is_empty() {
            found.metrics.clone_from(&args.metrics);
        }
        found.executor = args.executor.clone().or(found.executor);
        Ok(found)
    }

    fn of_devnet(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("devnet.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: is a devnet of that directory running?", path.display()))?;
        let state: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is no devnet's state", path.display()))?;
        let operators = state["operators"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts = |key: &str| operators.iter().filter_map(|one| one[key].as_str()).map(str::to_owned).collect();
        let found = Self {
            urls: texts("grpc"),
            pids: operators.iter().filter_map(|one| u32::try_from(one["pid"].as_u64()?).ok()).collect(),
            metrics: texts("metrics"),
            executor: state["executors"][0]["rpc"].as_str().map(str::to_owned),
        };
        if found.urls.is_empty() {
            bail!("{} names no operators: start the devnet again", path.display());
        }
        Ok(found)
    }

    /// The namespace of a name or id, as the first operator that answers has it, and the longest validity.
    pub(super) async fn namespace(&self, name: &str) -> anyhow::Result<(NamespaceSpec, u64)> {
        let mut failures = Vec::new();
        for url in &self.urls {
            match genesis(url).await {
                Ok(genesis) => return find(genesis, name),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        bail!("no operator answers: {}", failures.join("; "))
    }
}

fn find(genesis: Genesis, name: &str) -> anyhow::Result<(NamespaceSpec, u64)> {
    let known = genesis.namespaces.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>().join(", ");
    let window = u64::from(genesis.params.window_ms);
    let found = genesis.namespaces.into_iter().find(|spec| spec.name == name || spec.id.to_string() == name);
    found.map(|spec| (spec, window)).with_context(|| format!("there is no namespace '{name}'; there are {known}"))
}

/// A connection of its own; made when it is first used.
pub(super) fn channel(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .with_context(|| format!("'{url}' is no address of a gRPC server: use one such as http://127.0.0.1:7702"))?;
    Ok(endpoint.connect_timeout(PATIENCE).tcp_nodelay(true).connect_lazy())
}

async fn genesis(url: &str) -> anyhow::Result<Genesis> {
    let mut client = SquadClient::new(channel(url)?);
    let asked = tokio::time::timeout(PATIENCE, client.get_genesis(GenesisRequest {}));
    let answer = asked.await.with_context(|| format!("{url} does not answer"))?;
    let answer =
        answer.with_context(|| format!("{url} does not answer: is the node running, and is this its gRPC?"))?;
    serde_json::from_str(&answer.into_inner().json).with_context(|| format!("the genesis of {url}"))
}

/// Chain time as operators say it, in milliseconds; 0 before the first block.
#[derive(Clone, Debug, Default)]
pub(super) struct ChainClock(Arc<AtomicU64>);

impl ChainClock {
    /// Asks the operators in turn, for ever, after a first answer.
    pub(super) async fn start(urls: &[String]) -> anyhow::Result<Self> {
        let clock = Self::default();
        let mut clients =
            urls.iter().map(|url| Ok(SquadClient::new(channel(url)?))).collect::<anyhow::Result<Vec<_>>>()?;
        let mut failure = Some("nobody was asked".to_owned());
        for client in &mut clients {
            failure = clock.ask(client).await.err();
            if failure.is_none() {
                break;
            }
        }
        if let Some(why) = failure {
            bail!("no operator says what chain time it is: {why}");
        }
        let running = clock.clone();
        tokio::spawn(async move {
            loop {
                for client in &mut clients {
                    tokio::time::sleep(CLOCK_INTERVAL).await;
                    // One that is down is passed over: another one answers.
                    let _ = running.ask(client).await;
                }
            }
        });
        Ok(clock)
    }

    async fn ask(&self, client: &mut SquadClient<Channel>) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, client.get_status(StatusRequest {})).await {
            Ok(Ok(status)) => {
                self.0.fetch_max(status.into_inner().chain_time_ms, Ordering::Relaxed);
                Ok(())
            }
            Ok(Err(status)) => Err(status.to_string()),
            Err(_) => Err(format!("no answer within {} ms", PATIENCE.as_millis())),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::args;

    #[test]
    fn a_devnet_names_its_operators_and_the_command_line_overrides_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = serde_json::json!({
            "operators": [
                { "grpc": "http://a", "metrics": "http://a/metrics", "pid": 7 },
                { "grpc": "http://b", "metrics": "http://b/metrics", "pid": 8 },
            ],
            "executors": [{ "rpc": "http://c", "pid": 9 }],
        });
        std::fs::write(dir.path().join("devnet.json"), state.to_string()).unwrap();
        let args = BenchArgs { devnet: Some(dir.path().into()), targets: Vec::new(), ..args(1) };
        let found = Targets::find(&args).unwrap();
        assert_eq!((found.urls, found.pids), (vec!["http://a".into(), "http://b".into()], vec![7, 8]));
        assert_eq!((found.metrics.len(), found.executor.as_deref()), (2, Some("http://c")));
        let args = BenchArgs { targets: vec!["http://d".into()], pids: vec![1], ..args };
        let found = Targets::find(&args).unwrap();
        assert_eq!((found.urls, found.pids), (vec!["http://d".into()], vec![1]));
    }

    #[test]
    fn a_directory_without_a_devnet_says_so() {
        let args = BenchArgs { devnet: Some("/nowhere".into()), targets: Vec::new(), ..args(1) };
        assert!(Targets::find(&args).unwrap_err().to_string().contains("devnet"));
    }
}
