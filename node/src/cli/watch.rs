//! `squad watch`: prints a namespace's blocks as they are ordered, without gaps, through reconnects.

use super::remote::{Remote, RemoteArgs};
use super::{Output, note};
use crate::api::view::BlockView;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use jsonrpsee::core::client::{Error, Subscription, SubscriptionClientT};
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use serde_json::{Value, json};
use squad_client::{BlockVerifier, CommitteeFollower};
use squad_types::{Height, NamespaceBlock, NamespaceSpec};
use std::path::PathBuf;
use std::time::Duration;

/// Pause before the first new attempt; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of a message: a namespace's share of the largest block, in hex.
const MAX_MESSAGE: u32 = 256 * 1024 * 1024;
/// Blocks that may wait to be printed. The client library drops a subscription that lags further; it is taken up again
/// where it ended.
const BUFFERED: usize = 256;

/// `squad watch`
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// The namespace
    #[arg(long, short, value_name = "NAME")]
    pub namespace: String,
    /// The first height; the next one to be ordered, if it is not given
    #[arg(long, value_name = "HEIGHT")]
    pub from: Option<u64>,
    /// Stop after this many blocks
    #[arg(long, value_name = "BLOCKS")]
    pub count: Option<u64>,
    /// Leave out blocks that hold nothing of the namespace
    #[arg(long)]
    pub skip_empty: bool,
    /// Check every block, trusting nobody but this genesis
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// The operator.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

struct Watch {
    args: WatchArgs,
    spec: NamespaceSpec,
    remote: Remote,
    verifier: Option<BlockVerifier>,
    next: Option<Height>,
    left: u64,
    output: Output,
}

pub(super) async fn run(args: WatchArgs, output: Output) -> anyhow::Result<()> {
    let remote = Remote::new(&args.remote.rpc)?;
    let spec = remote.namespace(&args.namespace).await?;
    let (next, left) = (args.from.map(|from| Height(from.max(1))), args.count.unwrap_or(u64::MAX));
    let mut watch = Watch { args, spec, remote, verifier: None, next, left, output };
    let mut pause = FIRST_PAUSE;
    while watch.left > 0 {
        let before = watch.next;
        match watch.follow().await {
            Ok(()) => return Ok(()),
            Err(Stop::For(error)) => return Err(error),
            Err(Stop::Lost(error)) => {
                pause = if watch.next == before { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
                note(format_args!("connection lost ({error:#}); trying again in {} ms", pause.as_millis()));
                tokio::time::sleep(pause).await;
            }
        }
    }
    Ok(())
}

/// Why following ends.
enum Stop {
    /// For good.
    For(anyhow::Error),
    /// For now: a new connection goes on where this one ended.
    Lost(anyhow::Error),
}

impl Watch {
    async fn follow(&mut self) -> Result<(), Stop> {
        let (_client, mut blocks) = self.subscribe().await?;
        while self.left > 0 {
            let lost = || Stop::Lost(anyhow!("the node ended the subscription"));
            let next: Value = blocks.next().await.ok_or_else(lost)?.map_err(|error| Stop::Lost(error.into()))?;
            self.show(next).await.map_err(Stop::For)?;
        }
        Ok(())
    }

    async fn subscribe(&self) -> Result<(WsClient, Subscription<Value>), Stop> {
        let url = self.args.remote.rpc.replacen("http", "ws", 1);
        let builder =
            WsClientBuilder::default().max_response_size(MAX_MESSAGE).max_buffer_capacity_per_subscription(BUFFERED);
        let client = builder.build(&url).await.map_err(|error| Stop::Lost(error.into()))?;
        let params = rpc_params![&self.spec.name, self.next];
        match client.subscribe("squad_subscribeBlocks", params, "squad_unsubscribeBlocks").await {
            Ok(blocks) => Ok((client, blocks)),
            Err(Error::Call(object)) => Err(Stop::For(anyhow!("refused: {}", object.message()))),
            Err(error) => Err(Stop::Lost(error.into())),
        }
    }

    async fn show(&mut self, value: Value) -> anyhow::Result<()> {
        let view: BlockView = serde_json::from_value(value).context("a block that cannot be read")?;
        let height = view.header.height;
        if self.next.is_some_and(|next| next != height) {
            bail!("the node sent height {height} where {} was due", self.next.unwrap_or_default());
        }
        let verified = self.args.genesis.is_some();
        if verified {
            self.verify(&view).await.with_context(|| format!("the block of height {height} does not hold"))?;
        }
        self.next = Some(height.next());
        if self.args.skip_empty && view.transactions.is_empty() {
            return Ok(());
        }
        self.left = self.left.saturating_sub(1);
        let line = json!({ "height": height, "verified": verified, "block": view });
        self.output.result(&line, || {
            let checked = if verified { "  verified" } else { "" };
            let mut text = format!("height {height}  {}  {} transactions{checked}", view.hash, view.transactions.len());
            for tx in &view.transactions {
                let data: String = tx.data.chars().take(66).collect();
                let more = if data.len() < tx.data.len() { "…" } else { "" };
                text.push_str(&format!("\n  {}  {data}{more}", tx.id));
            }
            text
        })
    }

    async fn verify(&mut self, view: &BlockView) -> anyhow::Result<()> {
        let block = NamespaceBlock::try_from(view.clone()).map_err(|reason| anyhow!(reason))?;
        if self.verifier.is_none() {
            let path = self.args.genesis.as_deref().context("no genesis")?;
            let genesis = super::read_genesis(path)?;
            let (height, namespace) = (view.header.height, self.spec.id);
            let verifier = if height == Height(1) {
                BlockVerifier::from_genesis(&genesis, namespace)?
            } else {
                let mut follower = CommitteeFollower::from_genesis(&genesis)?;
                follower.newest().check_fresh(super::now())?;
                self.remote.follow(&mut follower, view.header.epoch).await?;
                BlockVerifier::from_trusted(follower, namespace, height)
            };
            self.verifier = Some(verifier);
        }
        if let Some(verifier) = &mut self.verifier {
            verifier.verify(block)?;
        }
        Ok(())
    }
}
