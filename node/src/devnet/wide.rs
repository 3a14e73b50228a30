//! Distance between operators: a proxy for each pair and direction of dialling, which holds all bytes back for as long as
//! they would take between the operators' regions.
//!
//! An operator is told one address for each other one, a proxy's, and to announce none of its own. So no two of them have
//! a connection that does not lead through a proxy. What clients and executors do stays on loopback.

mod alarm;
mod line;

use super::ports::Addresses;
use crate::cli::note;
use alarm::Alarm;
use anyhow::Context;
use line::Line;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use squad_regions::Places;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Pause after a connection could not be taken.
const RETRY: Duration = Duration::from_millis(100);
/// Open files of this process beside the proxies'.
const OTHER_FILES: u64 = 128;
/// Open files of an ordered pair: its listener, and both ends of each of two connections, since dials may cross.
const FILES_A_PAIR: u64 = 5;
/// Where all draws begin: the same at each start.
const SEED: u64 = 0x51ac_0bad_5eed;

/// The places that were asked for; none if the operators are to be next to each other.
pub(super) fn places(operators: u16, regions: &[String]) -> anyhow::Result<Option<Places>> {
    if regions.is_empty() {
        return Ok(None);
    }
    let places = Places::aws(usize::from(operators), regions).context("--regions")?;
    Ok(Some(places))
}

/// The ordered pairs of that many operators, in the order of their proxies.
fn pairs(operators: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..operators).flat_map(move |from| (0..operators).filter(move |to| *to != from).map(move |to| (from, to)))
}

/// How many proxies that many operators need.
pub(super) fn proxies(operators: u16) -> u16 {
    operators * (operators - 1)
}

/// The proxies. They end with it.
pub(super) struct Wide {
    operators: usize,
    addresses: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Wide {
    /// Serves on the listeners, one for each ordered pair.
    pub(super) fn start(
        places: &Places,
        addresses: &Addresses,
        listeners: Vec<std::net::TcpListener>,
    ) -> anyhow::Result<Self> {
        let operators = addresses.operators.len();
        allow_open_files(FILES_A_PAIR * listeners.len() as u64 + OTHER_FILES)?;
        let alarm = Alarm::start()?;
        let mut wide = Self { operators, addresses: Vec::with_capacity(listeners.len()), _tasks: JoinSet::new() };
        for ((from, to), listener) in pairs(operators).zip(listeners) {
            wide.addresses.push(listener.local_addr().context("a proxy's address")?);
            listener.set_nonblocking(true).context("a proxy's socket")?;
            let listener = TcpListener::from_std(listener).context("a proxy's socket")?;
            let proxy = Proxy {
                to: addresses.operators[to].p2p,
                there: Line::new(places.between(from, to).clone(), alarm.clone()),
                back: Line::new(places.between(to, from).clone(), alarm.clone()),
                seed: SEED ^ ((from as u64) << 48) ^ ((to as u64) << 32),
            };
            wide._tasks.spawn(Arc::new(proxy).serve(listener));
        }
        Ok(wide)
    }

    /// Where one operator finds another.
    pub(super) fn address(&self, from: usize, to: usize) -> SocketAddr {
        // Each has a row of all others.
        self.addresses[from * (self.operators - 1) + to - usize::from(to > from)]
    }
}

/// Raises the limit of open files of this process if it is too low.
fn allow_open_files(needed: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    anyhow::ensure!(
        most >= needed,
        "--regions needs {needed} open files, and at most {most} are allowed (`ulimit -Hn`): give fewer --operators"
    );
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).with_context(|| format!("cannot raise the limit of open files to {needed}"))
}

/// What stands between an operator that dials and the one that it dials.
struct Proxy {
    to: SocketAddr,
    there: Line,
    back: Line,
    seed: u64,
}

impl Proxy {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        for number in 0.. {
            let accepted = loop {
                tokio::select! {
                    accepted = listener.accept() => break accepted,
                    Some(_) = connections.join_next() => {}
                }
            };
            match accepted {
                Ok((dialler, _)) => {
                    connections.spawn(Arc::clone(&self).connect(dialler, number));
                }
                Err(error) => {
                    note(format_args!("a proxy between operators takes no connection: {error}"));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn connect(self: Arc<Self>, dialler: TcpStream, number: u64) {
        // One that is not there is found out by the dialler: its connection ends.
        let Ok(dialled) = TcpStream::connect(self.to).await else { return };
        if dialler.set_nodelay(true).and(dialled.set_nodelay(true)).is_err() {
            return;
        }
        let ((from_dialler, to_dialler), (from_dialled, to_dialled)) = (dialler.into_split(), dialled.into_split());
        let seed = self.seed ^ (number << 1);
        // A connection that breaks at one end is cut at the other: both sockets are dropped.
        let _ = tokio::try_join!(
            self.there.carry(from_dialler, to_dialled, seed),
            self.back.carry(from_dialled, to_dialler, seed ^ 1)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ordered_pair_has_an_address_of_its_own() {
        let operators = 5;
        let address = |number: usize| SocketAddr::from(([127, 0, 0, 1], number as u16));
        let addresses = (0..usize::from(proxies(5))).map(address).collect();
        let wide = Wide { operators, addresses, _tasks: JoinSet::new() };
        for (number, (from, to)) in pairs(operators).enumerate() {
            assert_eq!(wide.address(from, to), address(number), "{from} to {to}");
        }
        assert_eq!(pairs(operators).count(), wide.addresses.len());
    }

    #[test]
    fn unknown_regions_are_named_with_those_there_are() {
        let error = places(4, &["moon-1".to_owned()]).map(|_| ()).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("moon-1") && text.contains("us-east-1") && text.contains("alto-10"), "{text}");
        assert!(places(4, &[]).unwrap().is_none());
    }
}
