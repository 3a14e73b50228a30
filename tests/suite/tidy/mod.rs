//! The layout of the workspace as a test: which crate may use which, and what no source file does.

mod rooms;
mod sources;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A workspace member.
struct Room {
    /// Its folder, which is also its name in DESIGN's table.
    name: String,
    /// What it links into the program: neither dev- nor build-dependencies.
    dependencies: Vec<String>,
}

/// All workspace members, as cargo sees them.
fn rooms() -> Vec<Room> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let room = |package: &Value| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let name = manifest.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let linked =
            package["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"].is_null());
        let mut dependencies: Vec<String> = linked.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
        dependencies.sort();
        dependencies.dedup();
        Room { name, dependencies }
    };
    metadata["packages"].as_array().unwrap().iter().map(room).collect()
}

/// Folders that hold no sources of ours.
const LEFT_OUT: [&str; 6] = ["target", ".git", "node_modules", "corpus", "artifacts", "squad-devnet"];

/// The files of the workspace below `dir`, relative to the root; build outputs and git's own are left out.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(dir)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = dir.join(&name);
        let kind = entry.file_type().unwrap();
        if kind.is_file() {
            found.push(path);
        } else if kind.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
            found.extend(files(&path));
        }
    }
    found.sort();
    found
}

/// Fails with all complaints at once.
fn none(complaints: Vec<String>, rule: &str) {
    assert!(complaints.is_empty(), "{rule}:\n  {}", complaints.join("\n  "));
}
