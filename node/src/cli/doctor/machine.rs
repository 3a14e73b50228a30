//! What the machine has to give.

use super::{Check, fail, ok, warn};
use crate::api::NodeStatus;
use crate::cli::remote::Remote;
use std::path::Path;
use std::time::Instant;

/// With less than this above its mark a node stops taking transactions soon.
const LEAST_DISK: u64 = 512 << 20;
/// Below this an operator should make room.
const ENOUGH_DISK: u64 = 10 << 30;
/// Peers, clients and segments all take file handles.
const LEAST_FILES: u64 = 1_024;
/// What a node with many clients needs.
const ENOUGH_FILES: u64 = 4_096;
/// Validators refuse proposals that are further ahead of their clock.
const CLOCK_BOUND_MS: i64 = 500;
/// A clock that is kept by NTP is far closer.
const CLOCK_GOOD_MS: i64 = 100;

pub(super) fn disk(dir: &Path, mark: u64) -> Check {
    let name = "disk";
    // The directory may not be there yet: its nearest parent is on the same disk.
    let existing = dir.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    match fs4::available_space(existing) {
        Err(error) => warn(name, format!("free space at {} is not known: {error}", existing.display())),
        Ok(free) => {
            let shown = format!("{:.1} GiB free at {}", free as f64 / (1 << 30) as f64, existing.display());
            if free < mark {
                let marked = format!("{mark} bytes (storage.min_free_bytes)");
                let effect = "the node takes no transactions and proposes nothing, it only votes";
                fail(
                    name,
                    format!(
                        "{shown}, less than the {marked}, so {effect}: free some space, or choose another --data-dir"
                    ),
                )
            } else if free < mark.saturating_add(LEAST_DISK) {
                fail(
                    name,
                    format!(
                        "{shown}, which is soon less than the node needs: free some space, or choose another --data-dir"
                    ),
                )
            } else if free < ENOUGH_DISK {
                warn(name, format!("{shown}: a busy network fills that within hours"))
            } else {
                ok(name, shown)
            }
        }
    }
}

pub(super) fn files() -> Check {
    let name = "files";
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let advice = "raise it with `ulimit -n 65536`, or LimitNOFILE in the service's unit";
    if limit < LEAST_FILES {
        fail(name, format!("at most {limit} open files: {advice}"))
    } else if limit < ENOUGH_FILES {
        warn(name, format!("at most {limit} open files: {advice}"))
    } else {
        ok(name, format!("at most {limit} open files"))
    }
}

/// How far this machine's clock is ahead of another's, in milliseconds, to within half the round trip.
async fn offset(url: &str) -> anyhow::Result<i64> {
    let remote = Remote::new(url)?;
    let (sent, started) = (crate::cli::now(), Instant::now());
    let status: NodeStatus = remote.call("squad_status", Vec::new()).await?;
    let half = started.elapsed().as_millis() as i64 / 2;
    Ok(sent.0 as i64 + half - status.clock.0 as i64)
}

pub(super) async fn clock(others: &[String]) -> Check {
    let name = "clock";
    if others.is_empty() {
        return warn(name, "not compared: give --compare with the JSON-RPC of other operators");
    }
    let (mut offsets, mut silent) = (Vec::new(), Vec::new());
    for url in others {
        match offset(url).await {
            Ok(offset) => offsets.push(offset),
            Err(error) => silent.push(format!("{error:#}")),
        }
    }
    offsets.sort_unstable();
    // The middle one: a single operator may itself be off.
    let Some(middle) = offsets.get(offsets.len() / 2).copied() else {
        return warn(name, format!("not compared: {}", silent.join("; ")));
    };
    let side = if middle < 0 { "behind" } else { "ahead of" };
    let shown = format!("{} ms {side} {} other operators", middle.abs(), offsets.len());
    let advice = "set it, and keep it with NTP (systemd-timesyncd or chrony)";
    if middle.abs() <= CLOCK_GOOD_MS {
        ok(name, shown)
    } else if middle.abs() <= CLOCK_BOUND_MS {
        warn(name, format!("{shown}: {advice}"))
    } else {
        fail(name, format!("{shown}, over the bound of {CLOCK_BOUND_MS} ms: {advice}"))
    }
}
