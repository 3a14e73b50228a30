//! CPU per delivered frame between two nodes on loopback, both ends together: `cargo run --release -p squad-net --example delivery`.
// They panic when nobody reads what they print.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::{io::Write as _, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use squad_net::{Channel, Identity, NetConfig, NetEvent, NetEvents, Network, NetworkHandle, PeerId, Rate, bind};
use squad_types::{Domain, EcdsaSigner, EcdsaVerifier, NetworkId, Signer, Timestamp};

/// Clock ticks of `/proc/self/stat` per second on Linux.
const TICKS: f64 = 100.0;

fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no fields")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS)
}

async fn node(number: u8, bootstrap: &[&NetworkHandle]) -> Result<(NetworkHandle, NetEvents)> {
    let identity = Identity::generate();
    let domain = Domain::new(NetworkId([1; 32]));
    let signer = EcdsaSigner::from_secret([number; 32]).context("secret")?;
    let mut config = NetConfig::new(identity.clone(), domain, Arc::new(EcdsaVerifier));
    config.binding = Some(bind(&identity, &domain, &signer, Timestamp(1), &[]));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.bootstrap = bootstrap.iter().flat_map(|handle| handle.listen_addresses()).collect();
    config.scoring.rates = [Rate { per_second: 1e9, burst: 1e9 }; Channel::ALL.len()];
    let (handle, events) = Network::start(config).await?;
    handle.set_committee((1..=2).filter_map(|n| EcdsaSigner::from_secret([n; 32])).map(|s| s.address()).collect());
    Ok((handle, events))
}

async fn connected(events: &mut NetEvents) -> Result<()> {
    loop {
        match events.recv().await.context("stopped")? {
            NetEvent::PeerConnected { .. } => return Ok(()),
            _ => continue,
        }
    }
}

async fn receive(events: &mut NetEvents, mut count: usize) -> Result<()> {
    while count > 0 {
        if let NetEvent::Message { .. } = events.recv().await.context("stopped")? {
            count -= 1;
        }
    }
    Ok(())
}

/// Sends `count` frames in groups of `group`, each group read before the next.
async fn measure(
    (handle, to, events): (&NetworkHandle, PeerId, &mut NetEvents),
    (channel, size): (Channel, usize),
    count: usize,
    group: usize,
) -> Result<()> {
    let frame = Bytes::from(vec![7; size]);
    let (cpu, start) = (cpu_seconds()?, Instant::now());
    for _ in 0..count / group {
        for _ in 0..group {
            handle.send(to, channel, frame.clone())?;
        }
        receive(events, group).await?;
    }
    let (cpu, wall) = (cpu_seconds()? - cpu, start.elapsed().as_secs_f64());
    let (each, rate) = (cpu * 1e6 / count as f64, count as f64 / wall);
    writeln!(
        std::io::stdout(),
        "{size:>7} bytes, {group:>4} at once: {each:8.2} µs CPU per frame, {:5.2} ns per byte, {rate:9.0}/s",
        each * 1e3 / size as f64
    )?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let (first, mut first_events) = node(1, &[]).await?;
    let (second, mut events) = node(2, &[&first]).await?;
    connected(&mut first_events).await?;
    connected(&mut events).await?;
    let to = second.local_peer();
    for group in [1, 4, 16, 100] {
        measure((&first, to, &mut events), (Channel::Vote, 200), 100_000, group).await?;
    }
    for group in [1, 4, 16] {
        measure((&first, to, &mut events), (Channel::Batch, 512 * 1024), 4_000, group).await?;
    }
    let (cpu, start) = (cpu_seconds()?, Instant::now());
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let idle = (cpu_seconds()? - cpu) / start.elapsed().as_secs_f64() * 100.0 / 2.0;
    writeln!(std::io::stdout(), "idle: {idle:.2} % of one core per node")?;
    first.shutdown().await;
    second.shutdown().await;
    Ok(())
}
