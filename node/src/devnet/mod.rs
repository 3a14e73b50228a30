//! A network of operator and executor processes on this machine.
//!
//! `layout` makes or finds its directory, `ports` its addresses, `children` starts and stops its processes, `watch` asks
//! them how they are, `show` prints it; `wide` puts distance between operators; `l1` keeps stake on a local Ethereum chain, whose
//! process is `chain`'s. Each process is the very program that runs on a real network.

mod chain;
mod children;
mod l1;
mod layout;
mod ports;
mod show;
mod watch;
mod wide;

use crate::cli::DevnetArgs;
use anyhow::Context;
pub use chain::run as chain;
use children::Children;
use l1::L1;
use layout::{Home, Layout};
use show::Show;
use std::time::{Duration, Instant};
use watch::Watch;
use wide::Wide;

/// How often its processes are asked how they are.
const POLL: Duration = Duration::from_millis(200);
/// How long all processes have to answer, the first time; a busy machine takes its time.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs a development network until it is told to stop.
///
/// # Errors
/// Whatever keeps a process from starting; standard output that nobody reads any more. Its processes are stopped first.
pub async fn run(args: DevnetArgs) -> anyhow::Result<()> {
    let places = wide::places(args.operators, &args.regions)?;
    let home = Home::open(&args)?;
    let (addresses, listeners) = ports::choose(&args, places.as_ref())?;
    let wide = match &places {
        Some(places) => Some(Wide::start(places, &addresses, listeners)?),
        None => None,
    };
    let mut children = Children::default();
    let result = Box::pin(live(&args, home, &addresses, wide.as_ref(), &mut children)).await;
    children.stop().await;
    result
}

async fn live(
    args: &DevnetArgs,
    home: Home,
    addresses: &ports::Addresses,
    wide: Option<&Wide>,
    children: &mut Children,
) -> anyhow::Result<()> {
    let (l1, genesis) = if args.l1 {
        let (l1, genesis) = l1::prepare(args, &home, addresses, children).await?;
        (Some(l1), genesis)
    } else {
        (None, home.genesis.clone().map_or_else(|| home.plain_genesis(), Ok)?)
    };
    let layout = home.with(genesis)?;
    layout.write_configs(addresses, wide)?;
    run_network(args, &layout, addresses, l1, children).await
}

async fn run_network(
    args: &DevnetArgs,
    layout: &Layout,
    addresses: &ports::Addresses,
    l1: Option<L1>,
    children: &mut Children,
) -> anyhow::Result<()> {
    for at in 0..addresses.operators.len() {
        children.start(&layout.operator_name(at), &layout.node_command(at)?, &layout.operator_log(at))?;
    }
    let on_chain = l1.as_ref().map(|l1| l1.on_chain.clone());
    let mut watch = Watch::new(layout, addresses, l1)?;
    let mut stop = Stop::new(args.exit_after)?;
    let started = Instant::now();
    while !watch.operators_answer().await {
        children.check()?;
        if started.elapsed() > START_TIMEOUT {
            anyhow::bail!("the operators do not answer after {START_TIMEOUT:?}: see {}", layout.dir.display());
        }
        if stop.within(POLL).await {
            return Ok(());
        }
    }
    for at in 0..addresses.executors.len() {
        let command = layout.executor_command(at, addresses)?;
        children.start(&layout.executor_name(at), &command, &layout.executor_log(at))?;
    }
    while !watch.executors_answer().await {
        children.check()?;
        if started.elapsed() > START_TIMEOUT {
            anyhow::bail!("the executors do not answer after {START_TIMEOUT:?}: see {}", layout.dir.display());
        }
        if stop.within(POLL).await {
            return Ok(());
        }
    }
    let ready = show::ready(layout, addresses, on_chain.as_ref(), children);
    layout.write_state(&ready)?;
    let mut show = Show::new(args.json, layout);
    show.ready(&ready, layout, addresses, on_chain.as_ref())?;
    loop {
        let done = stop.within(POLL).await;
        for ended in children.ended() {
            show.ended(&ended, layout)?;
        }
        let seen = watch.look().await;
        show.epochs(&seen)?;
        show.blocks(&seen)?;
        show.table(&seen)?;
        if done {
            show.summary(&seen)?;
            return Ok(());
        }
    }
}

/// What ends a devnet: a signal, or its time.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    at: Option<tokio::time::Instant>,
}

impl Stop {
    fn new(exit_after: Option<u64>) -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            at: exit_after.map(|seconds| tokio::time::Instant::now() + Duration::from_secs(seconds)),
        })
    }

    /// Waits that long; whether it is time to stop.
    async fn within(&mut self, wait: Duration) -> bool {
        let end = async {
            match self.at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => true,
            () = end => true,
            () = tokio::time::sleep(wait) => false,
        }
    }
}
