//! Talks to an operator over JSON-RPC. Nothing that it answers is trusted where it matters: see `squad verify`.

use anyhow::{Context, anyhow};
use clap::Args;
use jsonrpsee::core::client::{ClientT, Error};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;
use squad_client::CommitteeFollower;
use squad_types::{CommitteeProof, Decode, Epoch, NamespaceSpec};
use std::time::Duration;

/// How long an answer may take: longer than a node lets a submission wait for its tier.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer: a namespace's share of the largest block, in hex.
const MAX_ANSWER: u32 = 256 * 1024 * 1024;

/// Which operator to ask.
#[derive(Clone, Debug, Args)]
pub struct RemoteArgs {
    /// The operator's JSON-RPC
    #[arg(long, env = "SQUAD_RPC", default_value = "http://127.0.0.1:7701", value_name = "URL")]
    pub rpc: String,
}

/// An operator's JSON-RPC.
pub(super) struct Remote {
    url: String,
    client: HttpClient,
}

impl Remote {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let builder = HttpClientBuilder::default().request_timeout(TIMEOUT).max_response_size(MAX_ANSWER);
        let client = builder.build(url).with_context(|| {
            format!("'{url}' is no address of a JSON-RPC server: use one such as http://127.0.0.1:7701")
        })?;
        Ok(Self { url: url.to_owned(), client })
    }

    /// Calls a method.
    pub(super) async fn call<T: DeserializeOwned>(&self, method: &str, params: Vec<Value>) -> anyhow::Result<T> {
        let mut list = ArrayParams::new();
        for param in params {
            list.insert(param)?;
        }
        self.client.request(method, list).await.map_err(|error| self.explain(method, error))
    }

    fn explain(&self, method: &str, error: Error) -> anyhow::Error {
        let Error::Call(object) = error else {
            return anyhow!(error)
                .context(format!("{} does not answer {method}: is the node running, and is --rpc right?", self.url));
        };
        let data: Value = object.data().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let code = data["code"].as_str().unwrap_or("error");
        let retry = data["retry_after_ms"].as_u64().map(|ms| format!(" (try again after {ms} ms)")).unwrap_or_default();
        anyhow!("refused, {code}: {}{retry}", object.message())
    }

    /// The namespace of a name or id.
    pub(super) async fn namespace(&self, name: &str) -> anyhow::Result<NamespaceSpec> {
        let all: Vec<NamespaceSpec> = self.call("squad_namespaces", Vec::new()).await?;
        let known = all.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = all.into_iter().find(|spec| spec.name == name || spec.id.to_string() == name);
        found.ok_or_else(|| anyhow!("there is no namespace '{name}'; there are {known}"))
    }

    /// Takes a follower from the committee that it trusts to that of `epoch`, by proofs that it checks.
    pub(super) async fn follow(&self, follower: &mut CommitteeFollower, epoch: Epoch) -> anyhow::Result<()> {
        while follower.newest().epoch() < epoch {
            let next = follower.newest().epoch().next();
            let proof = self.committee_proof(next).await?;
            follower.follow(&proof).with_context(|| format!("the committee of epoch {next} as {} has it", self.url))?;
        }
        Ok(())
    }

    /// The proof of an epoch's committee, as the operator has it.
    pub(super) async fn committee_proof(&self, epoch: Epoch) -> anyhow::Result<CommitteeProof> {
        let text: String = self.call("squad_getCommitteeProof", vec![epoch.0.into()]).await?;
        let bytes = hex::decode(text.trim_start_matches("0x")).context("the proof of a committee is no hex")?;
        CommitteeProof::from_bytes(bytes.into()).context("the proof of a committee")
    }
}
