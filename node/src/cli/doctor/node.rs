//! What the node itself is given: network, key, data, ports, peers.

use super::{Check, fail, ok, warn};
use crate::api::{NodeStatus, Readiness};
use crate::cli::remote::Remote;
use crate::config::{KeySource, NodeConfig, PasswordSource};
use crate::keystore;
use squad_storage::{Disk, RealDisk};
use squad_types::{Address, Genesis};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long a peer may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// The file that says whose a data directory is; `squad_storage` writes it.
const IDENTITY: &str = "identity";
/// The file that a running node holds locked.
const LOCK: &str = "lock";

pub(super) async fn examine(config: &NodeConfig) -> Vec<Check> {
    let mut checks = Vec::new();
    let genesis = match crate::cli::read_genesis(&config.genesis) {
        Ok(genesis) => {
            checks.push(match crate::genesis::begins_later(&genesis) {
                None => ok("genesis", format!("network {} {}", genesis.name, genesis.network_id())),
                Some(advice) => fail("genesis", advice),
            });
            Some(genesis)
        }
        Err(error) => {
            checks.push(fail("genesis", format!("{error:#}: get the file from whoever started the network")));
            None
        }
    };
    let (check, address) = key(&config.key);
    checks.push(check);
    // Where a settlement layer says who is at stake, the genesis does so for the beginning only.
    checks.extend(member(address, genesis.as_ref().filter(|genesis| genesis.settlement.is_none())));
    let (check, running) = data(&config.data_dir, genesis.as_ref(), address);
    checks.push(check);
    checks.extend(ports(config, running).await);
    if running {
        checks.extend(alive(config).await);
    }
    checks.extend(peers(config).await);
    if let Some(genesis) = &genesis {
        let key = address.map(|address| address.0.into());
        checks.extend(super::settlement::examine(config, genesis, key).await);
    }
    checks
}

fn key(source: &KeySource) -> (Check, Option<Address>) {
    let name = "key";
    let (path, opened) = match source {
        KeySource::PlaintextDev { path } => {
            let address = keystore::read_plaintext(path).map(|secret| keystore::address_of(&secret));
            return match address {
                Ok(address) => (warn(name, "it lies unencrypted on disk: for development only"), address),
                Err(error) => (fail(name, error.to_string()), None),
            };
        }
        KeySource::Keystore { path, password: PasswordSource::Prompt } => (path, None),
        KeySource::Keystore { path, .. } => (path, Some(keystore::open(source))),
    };
    let stated = match keystore::read(path) {
        Ok(keystore) => keystore.address(),
        Err(error) => return (fail(name, error.to_string()), None),
    };
    let (address, how) = match opened {
        None => (stated, "its password is asked for at the start"),
        Some(Ok(secret)) => (keystore::address_of(&secret), "its password opens it"),
        Some(Err(error)) => return (fail(name, error.to_string()), stated),
    };
    let shown = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    if let Some(mode) = open_to_others(path) {
        let detail = format!("{shown}: others may read {} (mode {mode:o}): chmod 600 it", path.display());
        return (warn(name, detail), address);
    }
    (ok(name, format!("{shown}; {how}")), address)
}

#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<u32> {
    None
}

fn member(address: Option<Address>, genesis: Option<&Genesis>) -> Option<Check> {
    let (address, genesis) = (address?, genesis?);
    let found = genesis.validators.iter().find(|member| member.address == address);
    Some(match found {
        Some(member) => ok("committee", format!("in the first committee with stake {}", member.stake)),
        None => {
            warn("committee", format!("{address} is not in the first committee: it follows until it is given stake"))
        }
    })
}

/// The check, and whether a node runs from the directory.
fn data(dir: &Path, genesis: Option<&Genesis>, address: Option<Address>) -> (Check, bool) {
    let name = "data";
    let shown = dir.display();
    if !dir.exists() {
        let parent = dir.ancestors().skip(1).find(|path| path.exists());
        let writable = parent.is_none_or(|path| !path.metadata().is_ok_and(|meta| meta.permissions().readonly()));
        let check = if writable {
            ok(name, format!("{shown} is made at the first start"))
        } else {
            fail(name, format!("{shown} cannot be made: its parent is read-only"))
        };
        return (check, false);
    }
    if let Some(check) = foreign(dir, genesis, address) {
        return (check, false);
    }
    let lock = dir.join(LOCK);
    if !lock.exists() {
        return (ok(name, format!("{shown} is not in use")), false);
    }
    match RealDisk.lock(&lock) {
        Ok(_held) => (ok(name, format!("{shown} is this operator's and not in use")), false),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            let pid = RealDisk.lock_holder(&lock).map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            (ok(name, format!("{shown} is in use by a running node{pid}")), true)
        }
        Err(error) => (fail(name, format!("{} cannot be locked: {error}: check its owner", lock.display())), false),
    }
}

/// A directory of another network or operator.
fn foreign(dir: &Path, genesis: Option<&Genesis>, address: Option<Address>) -> Option<Check> {
    let text = std::fs::read_to_string(dir.join(IDENTITY)).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let wanted = [
        ("network ", genesis.map(|genesis| genesis.network_id().to_string())),
        ("operator ", address.map(|address| address.to_string())),
    ];
    wanted.into_iter().find_map(|(name, expected)| {
        let (found, expected) = (field(name)?, expected?);
        let what = name.trim_end();
        (found != expected).then(|| {
            let shown = dir.display();
            fail("data", format!("{shown} belongs to {what} {found}, not {expected}: choose another --data-dir"))
        })
    })
}

/// The address and port of a multiaddr such as `/ip4/127.0.0.1/tcp/7700`; none for names and other transports.
pub(super) fn socket_of(multiaddr: &str) -> Option<SocketAddr> {
    let mut parts = multiaddr.split('/').skip(1);
    let ip: IpAddr = match parts.next()? {
        "ip4" | "ip6" => parts.next()?.parse().ok()?,
        _ => return None,
    };
    (parts.next()? == "tcp").then_some(())?;
    Some(SocketAddr::new(ip, parts.next()?.parse().ok()?))
}

async fn ports(config: &NodeConfig, running: bool) -> Vec<Check> {
    let mut wanted: Vec<(String, SocketAddr)> = Vec::new();
    let interfaces = [("rpc", config.rpc_listen), ("grpc", config.grpc_listen), ("metrics", config.metrics_listen)];
    wanted.extend(interfaces.into_iter().filter_map(|(name, address)| Some((name.to_owned(), address?))));
    let p2p = config.p2p_listen.iter().filter_map(|address| socket_of(address));
    wanted.extend(p2p.map(|address| ("p2p".to_owned(), address)));
    let mut checks = Vec::new();
    for (name, address) in wanted {
        checks.push(match TcpListener::bind(address).await {
            Ok(_) => ok("port", format!("{name} {address} is free")),
            Err(error) if running && error.kind() == std::io::ErrorKind::AddrInUse => {
                ok("port", format!("{name} {address} is in use, by the running node it seems"))
            }
            Err(error) => fail("port", format!("{name} {address}: {error}: choose another with --{name}-listen")),
        });
    }
    checks
}

/// What the running node says of itself.
async fn alive(config: &NodeConfig) -> Vec<Check> {
    let name = "node";
    let Some(address) = config.rpc_listen else { return Vec::new() };
    let asked = async {
        let status: NodeStatus = Remote::new(&format!("http://{address}"))?.call("squad_status", Vec::new()).await?;
        anyhow::Ok(status)
    };
    let status = match asked.await {
        Ok(status) => status,
        Err(error) => return vec![warn(name, format!("it runs, but does not answer: {error:#}"))],
    };
    let mut checks = vec![match &status.readiness {
        Readiness::Ready => ok(name, format!("it runs, at height {}, and takes transactions", status.height)),
        Readiness::Starting => warn(name, "it is starting, and takes no transactions yet"),
        Readiness::CatchingUp { target } => {
            warn(name, format!("it is at height {} and catches up to {target}", status.height))
        }
        // A newcomer that waits for its epoch, or somebody who only follows: nothing is wrong with the node.
        Readiness::Refusing { .. } if !status.in_committee => {
            let why = format!("its operator is not in the committee of epoch {}", status.epoch);
            warn(name, format!("it follows, at height {}, and takes no transactions: {why}", status.height))
        }
        Readiness::Refusing { reason } => fail(name, format!("it takes no transactions: {reason}")),
    }];
    checks.extend(status.warnings.iter().map(|warning| fail(name, warning)));
    checks
}

async fn peers(config: &NodeConfig) -> Vec<Check> {
    if config.bootstrap.is_empty() {
        return vec![warn("peers", "no bootstrap addresses: the node waits to be dialled; give --bootstrap")];
    }
    let mut checks = Vec::new();
    for multiaddr in &config.bootstrap {
        let Some(address) = socket_of(multiaddr) else {
            checks.push(ok("peers", format!("{multiaddr} is not tried here: only /ip4/…/tcp/… and /ip6/…/tcp/… are")));
            continue;
        };
        checks.push(match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => ok("peers", format!("{multiaddr} accepts connections")),
            Ok(Err(error)) => warn("peers", format!("{multiaddr}: {error}: is it up, and is no firewall between?")),
            Err(_) => warn("peers", format!("{multiaddr} does not answer: is it up, and is no firewall between?")),
        });
    }
    checks
}
