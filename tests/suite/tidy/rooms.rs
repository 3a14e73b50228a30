//! The room table: which crate may use which.

use super::{files, none, rooms, root};
use std::collections::BTreeSet;
use std::path::Path;

/// What each room may use of the others. ARCHITECTURE.md says why; a change here is a change of the architecture.
const MAY_USE: [(&str, &[&str]); 16] = [
    ("types", &[]),
    ("mempool", &["types"]),
    ("consensus", &["types"]),
    ("sequencer", &["types", "mempool", "consensus"]),
    ("storage", &["types"]),
    ("net", &["types"]),
    ("client", &["types"]),
    ("rpc", &[]),
    ("regions", &[]),
    ("executor", &["types", "client", "rpc"]),
    // The executor only where the program starts one: see `the_node_starts_executors_and_knows_no_more_of_them`.
    (
        "node",
        &[
            "types",
            "mempool",
            "consensus",
            "sequencer",
            "storage",
            "net",
            "client",
            "rpc",
            "executor",
            "regions",
            "contracts",
            "l1",
        ],
    ),
    ("simulations", &["types", "mempool", "consensus", "sequencer", "regions"]),
    ("contracts", &["types"]),
    ("l1", &["types", "sequencer", "contracts"]),
    ("fuzz", &["types", "consensus", "sequencer", "storage", "net", "client", "node", "executor"]),
    (
        "tests",
        &[
            "types",
            "consensus",
            "sequencer",
            "net",
            "client",
            "executor",
            "regions",
            "node",
            "storage",
            "simulations",
            "fuzz",
        ],
    ),
];

/// What the pure rooms may use from outside: nothing that knows a clock, a socket, a task or randomness.
const PURE: [(&str, &[&str]); 4] = [
    ("types", &["blake3", "bytes", "hex", "secp256k1", "serde", "sha2", "sha3", "thiserror"]),
    ("mempool", &["bytes", "thiserror"]),
    ("consensus", &["arc-malachitebft-core-consensus", "arc-malachitebft-core-types", "bytes", "thiserror", "tracing"]),
    ("sequencer", &["bytes", "thiserror", "tracing"]),
];

/// Crates that one room alone may name, by how their names begin.
const ONLY_IN: [(&str, &[&str]); 7] = [
    ("arc-malachitebft", &["consensus"]),
    ("libp2p", &["net"]),
    ("sled", &["storage"]),
    ("revm", &["executor", "contracts"]),
    ("alloy-provider", &["l1"]),
    ("redb", &["executor"]),
    ("soketto", &["rpc"]),
];

#[test]
fn a_room_uses_only_the_rooms_that_the_table_lists() {
    let mut complaints = Vec::new();
    for room in rooms() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room.name) else {
            complaints.push(format!("{} is not in the table", room.name));
            continue;
        };
        let used = room.dependencies.iter().filter_map(|name| name.strip_prefix("squad-"));
        complaints.extend(used.filter(|used| !allowed.contains(used)).map(|used| format!("{} uses {used}", room.name)));
    }
    none(complaints, "rooms that use others than they may");
}

#[test]
fn pure_rooms_use_no_crate_from_outside_that_is_not_listed() {
    let mut complaints = Vec::new();
    for room in rooms() {
        let Some((_, allowed)) = PURE.iter().find(|(name, _)| *name == room.name) else { continue };
        let outside = room.dependencies.iter().filter(|name| !name.starts_with("squad-"));
        complaints.extend(
            outside.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{} uses {name}", room.name)),
        );
    }
    none(complaints, "pure rooms with unlisted dependencies");
}

#[test]
fn malachite_libp2p_sled_and_revm_are_named_by_one_room_each() {
    let mut complaints = Vec::new();
    for room in rooms() {
        for (prefix, owners) in ONLY_IN {
            let named = room.dependencies.iter().any(|name| name.starts_with(prefix));
            if named && !owners.contains(&room.name.as_str()) {
                complaints.push(format!("{} names {prefix}, which only {owners:?} may", room.name));
            }
        }
    }
    none(complaints, "crates that are named outside of their room");
}

#[test]
fn the_node_starts_executors_and_knows_no_more_of_them() {
    let complaints = files(Path::new("node"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| {
            !["executor", "devnet", "bench"].iter().any(|room| path.starts_with(Path::new("node/src").join(room)))
        })
        .filter(|path| std::fs::read_to_string(root().join(path)).unwrap().contains("squad_executor::"))
        .map(|path| path.display().to_string())
        .collect();
    none(complaints, "files of the node that name the executor, outside of node/src/{executor,devnet,bench}");
}

#[test]
fn every_room_takes_the_workspace_lints_and_versions() {
    let mut complaints = Vec::new();
    for room in rooms() {
        let text = std::fs::read_to_string(root().join(&room.name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let from_workspace = |table: &toml::Table, key: &str| {
            table.get(key).and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
        };
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if lints != Some(true) {
            complaints.push(format!("{}: [lints] workspace = true is missing", room.name));
        }
        let package = manifest["package"].as_table().unwrap();
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !from_workspace(package, key) {
                complaints.push(format!("{}: {key}.workspace = true is missing", room.name));
            }
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            let own = table.keys().filter(|name| {
                let itself = table[*name].get("path").and_then(toml::Value::as_str) == Some(".");
                !itself && !from_workspace(table, name)
            });
            complaints.extend(own.map(|name| format!("{}: {name} has a version of its own in {section}", room.name)));
        }
    }
    none(complaints, "manifests that go their own way");
}

#[test]
fn pure_rooms_ban_clocks_tasks_and_unordered_maps() {
    let mut complaints = Vec::new();
    let bans = [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::thread::spawn",
        "std::collections::HashMap",
        "std::collections::HashSet",
    ];
    for (room, _) in PURE {
        let text = std::fs::read_to_string(root().join(room).join("clippy.toml")).unwrap_or_default();
        complaints.extend(bans.iter().filter(|ban| !text.contains(**ban)).map(|ban| format!("{room}: {ban}")));
    }
    none(complaints, "bans missing in the clippy.toml of a pure room");
}

#[test]
fn the_table_lists_every_folder_that_holds_a_crate() {
    let listed: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    let members: BTreeSet<String> = rooms().into_iter().map(|room| room.name).collect();
    let complaints = listed.iter().filter(|name| !members.contains(**name)).map(|name| (*name).to_owned()).collect();
    none(complaints, "rooms in the table that are no workspace members");
}
