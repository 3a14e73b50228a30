//! Where the processes listen: on loopback, on free ports unless a first one is given.

use crate::cli::DevnetArgs;
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports that an operator takes: peers, JSON-RPC, gRPC, metrics.
const PER_OPERATOR: u16 = 4;

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
}

/// Picks an address for everything.
pub(super) fn choose(args: &DevnetArgs) -> anyhow::Result<Addresses> {
    let needed = args.operators * PER_OPERATOR + args.executors;
    // All are held at once, so that none is picked twice, and let go together just before the processes start.
    let held: Vec<TcpListener> = match args.base_port {
        Some(base) => (0..needed).map(|offset| bind(base.checked_add(offset))).collect::<Result<_, _>>()?,
        None => (0..needed).map(|_| bind(Some(0))).collect::<Result<_, _>>()?,
    };
    let ports = held.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let (operators, executors) = ports.split_at(usize::from(args.operators * PER_OPERATOR));
    let operator =
        |four: &[SocketAddr]| OperatorAddresses { p2p: four[0], rpc: four[1], grpc: four[2], metrics: four[3] };
    Ok(Addresses {
        operators: operators.chunks_exact(usize::from(PER_OPERATOR)).map(operator).collect(),
        executors: executors.to_vec(),
    })
}

fn bind(port: Option<u16>) -> anyhow::Result<TcpListener> {
    let port = port.context("the ports from --base-port on go beyond 65535: choose a lower one")?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("port {port} is in use: choose another --base-port, or leave it out"))
}
