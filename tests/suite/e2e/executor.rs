//! An executor as a process of its own.

use super::process::{Guarded, squad};
use super::rpc::Rpc;
use super::wait::wait_for;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// An executor with its log.
pub(super) struct Executor {
    pub(super) process: Guarded,
    log: PathBuf,
}

impl Executor {
    /// Starts one over these operators, or starts it again.
    pub(super) fn start(home: &Path, genesis: &Path, operators: &[String]) -> Self {
        std::fs::create_dir_all(home).unwrap();
        let log = home.join("executor.log");
        let file = std::fs::File::create(&log).unwrap();
        let mut command = squad(["executor", "--rpc-listen", "127.0.0.1:0", "--operators"]);
        command.arg(operators.join(",")).arg("--genesis").arg(genesis).arg("--data-dir").arg(home.join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Self { process: Guarded(command.spawn().unwrap()), log }
    }

    /// What it has logged since its start.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Its URL, once it says where it serves wallets.
    pub(super) fn url(&self) -> String {
        let address = || {
            let said = self.said();
            let line = said.lines().find(|line| line.contains("executor serves wallets"))?;
            Some(line.split_once("rpc=")?.1.split_whitespace().next()?.to_owned())
        };
        format!("http://{}", wait_for("the executor serves wallets", address).0)
    }

    /// A client of it, once it says where it serves wallets.
    pub(super) fn client(&self) -> Rpc {
        Rpc::new(&self.url())
    }
}

/// Where the executor stands.
pub(super) fn state(executor: &mut Rpc) -> Value {
    executor.call("squad_status", json!([]))
}
