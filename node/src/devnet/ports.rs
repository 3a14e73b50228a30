//! Where the processes listen: on loopback, on free ports unless a first one is given.

use super::wide;
use crate::cli::DevnetArgs;
use anyhow::{Context, bail};
use rand::Rng as _;
use squad_regions::Places;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports that an operator takes: peers, JSON-RPC, gRPC, metrics.
const PER_OPERATOR: u16 = 4;

/// Where free ports are looked for: below those that systems take for outgoing connections, of which one would
/// otherwise take a process's port while that process is being restarted.
const FREE_PORTS: std::ops::Range<u16> = 10_000..32_000;

/// An operator's addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct OperatorAddresses {
    pub(super) p2p: SocketAddr,
    pub(super) rpc: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) metrics: SocketAddr,
}

/// All addresses.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) operators: Vec<OperatorAddresses>,
    pub(super) executors: Vec<SocketAddr>,
    /// The local chain's; none without one.
    pub(super) chain: Option<SocketAddr>,
    /// Each operator's region; empty if they are next to each other.
    pub(super) regions: Vec<String>,
}

/// Picks an address for everything, and takes those of the proxies that stand between operators in different places.
pub(super) fn choose(args: &DevnetArgs, places: Option<&Places>) -> anyhow::Result<(Addresses, Vec<TcpListener>)> {
    let processes = args.operators * PER_OPERATOR + args.executors + u16::from(args.l1);
    let needed = processes + places.map_or(0, |_| wide::proxies(args.operators));
    // All are held at once, so that none is picked twice, and let go together just before the processes start.
    let mut held: Vec<TcpListener> = match args.base_port {
        Some(base) => (0..needed).map(|offset| bind(base.checked_add(offset))).collect::<Result<_, _>>()?,
        None => free(needed)?,
    };
    let proxies = held.split_off(usize::from(processes));
    let ports = held.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let (operators, others) = ports.split_at(usize::from(args.operators * PER_OPERATOR));
    let (executors, chain) = others.split_at(usize::from(args.executors));
    let operator =
        |four: &[SocketAddr]| OperatorAddresses { p2p: four[0], rpc: four[1], grpc: four[2], metrics: four[3] };
    let name = |at| places.map(|places| places.name_of(usize::from(at)).to_owned());
    let addresses = Addresses {
        operators: operators.chunks_exact(usize::from(PER_OPERATOR)).map(operator).collect(),
        executors: executors.to_vec(),
        chain: chain.first().copied(),
        regions: (0..args.operators).filter_map(name).collect(),
    };
    Ok((addresses, proxies))
}

fn bind(port: Option<u16>) -> anyhow::Result<TcpListener> {
    let port = port.context("the ports from --base-port on go beyond 65535: choose a lower one")?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("port {port} is in use: choose another --base-port, or leave it out"))
}

/// That many free ports, from a random one on, so that networks that start together do not meet.
fn free(needed: u16) -> anyhow::Result<Vec<TcpListener>> {
    let first = rand::rng().random_range(FREE_PORTS);
    let all = (first..FREE_PORTS.end).chain(FREE_PORTS.start..first);
    let held: Vec<_> = all.filter_map(|port| bind(Some(port)).ok()).take(usize::from(needed)).collect();
    if held.len() < usize::from(needed) {
        bail!("only {} of the ports {FREE_PORTS:?} are free, and {needed} are needed: give --base-port", held.len());
    }
    Ok(held)
}
