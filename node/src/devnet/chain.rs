//! The local Ethereum chain's process: which program, how it is started, and how it ends with whoever started it.

use super::children::{CHAIN, Children};
use crate::cli::DevnetArgs;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use squad_l1::deploy::Chain;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// What puts the program and EigenLayer's core there, from the repository's root.
pub(super) const INSTALL: &str = "npm run --prefix contracts l1";
/// How long it has to answer; a busy machine takes its time.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const START_POLL: Duration = Duration::from_millis(25);
/// How long it may take to save its state.
const SAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// States of past blocks that are kept: nodes ask for those of a few final ones.
const KEPT_STATES: &str = "256";
/// How often its state is saved meanwhile, in seconds.
const SAVE_EVERY: &str = "60";

/// The program that is asked for, or the first that is found.
pub(super) fn program(args: &DevnetArgs, path: Option<&OsStr>, repository: &Path) -> anyhow::Result<PathBuf> {
    if let Some(given) = &args.anvil {
        return if given.is_file() {
            Ok(given.clone())
        } else {
            bail!("--anvil {}: there is no such file", given.display())
        };
    }
    let (system, machine) = match (std::env::consts::OS, std::env::consts::ARCH) {
        (os, "x86_64") => (if os == "macos" { "darwin" } else { os }, "amd64"),
        (os, "aarch64") => (if os == "macos" { "darwin" } else { os }, "arm64"),
        other => other,
    };
    let packaged = format!("contracts/node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil");
    let on_path = path.into_iter().flat_map(std::env::split_paths).map(|dir| dir.join("anvil"));
    let found = on_path.chain([repository.join(&packaged)]).find(|file| file.is_file());
    found.with_context(|| {
        format!("--l1 needs anvil, which is neither on PATH nor at {packaged}: run `{INSTALL}` in the repository and start from there, or give --anvil")
    })
}

/// Starts it, with the state of the last time if there is one. It makes no blocks by itself yet.
pub(super) async fn start(
    program: &Path,
    listen: SocketAddr,
    state: &Path,
    log: &Path,
    children: &mut Children,
) -> anyhow::Result<Chain> {
    let mut command: Vec<OsString> = vec!["devnet-chain".into(), program.into(), "--".into()];
    let (host, port) = (listen.ip().to_string(), listen.port().to_string());
    // Final is what lies two blocks back. Whoever asks, it signs for: nobody else reaches it.
    let options = ["--quiet", "--no-mining", "--auto-impersonate", "--slots-in-an-epoch", "1"];
    command.extend(options.map(OsString::from));
    command.extend(["--prune-history", KEPT_STATES, "--state-interval", SAVE_EVERY].map(OsString::from));
    command.extend(["--host", &host, "--port", &port, "--state"].map(OsString::from));
    command.push(state.into());
    children.start(CHAIN, &command, log)?;
    let chain = Chain::new(&format!("http://{listen}"))?;
    let end = Instant::now() + START_TIMEOUT;
    while let Err(error) = chain.id().await {
        children.check()?;
        if Instant::now() > end {
            return Err(error).with_context(|| format!("the chain does not answer: see {}", log.display()));
        }
        tokio::time::sleep(START_POLL).await;
    }
    Ok(chain)
}

/// Runs a chain's program until it ends or this process is told to; then it saves its state.
///
/// # Errors
/// A program that does not start, or ends by itself.
pub async fn run(program: &Path, arguments: &[OsString]) -> anyhow::Result<()> {
    let mut told = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    tokio::select! {
        status = child.wait() => bail!("{} ended by itself ({})", program.display(), status?),
        _ = told.recv() => {}
    }
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
    }
    let ended = tokio::time::timeout(SAVE_TIMEOUT, child.wait()).await;
    ended.with_context(|| format!("{} does not end within {SAVE_TIMEOUT:?}: killed", program.display()))??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn args(line: &str) -> DevnetArgs {
        let Command::Devnet(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!("devnet") };
        args
    }

    #[test]
    fn the_program_is_what_is_given_or_lies_on_path_or_was_installed() {
        let dir = tempfile::tempdir().unwrap();
        let (on_path, repository) = (dir.path().join("bin"), dir.path().join("repository"));
        let path = std::env::join_paths([&dir.path().join("nothing"), &on_path]).unwrap();
        let plain = args("squad devnet --l1");
        let error = program(&plain, Some(&path), &repository).unwrap_err().to_string();
        assert!(error.contains("npm run --prefix contracts l1") && error.contains("--anvil"), "{error}");
        let packages = repository.join("contracts/node_modules/@foundry-rs");
        for package in ["anvil-linux-amd64", "anvil-linux-arm64", "anvil-darwin-amd64", "anvil-darwin-arm64"] {
            std::fs::create_dir_all(packages.join(package).join("bin")).unwrap();
            std::fs::write(packages.join(package).join("bin/anvil"), "").unwrap();
        }
        assert!(program(&plain, Some(&path), &repository).unwrap().starts_with(&packages));
        std::fs::create_dir_all(&on_path).unwrap();
        std::fs::write(on_path.join("anvil"), "").unwrap();
        assert_eq!(program(&plain, Some(&path), &repository).unwrap(), on_path.join("anvil"));
        let given = args(&format!("squad devnet --l1 --anvil {}", on_path.join("other").display()));
        assert!(program(&given, Some(&path), &repository).unwrap_err().to_string().contains("no such file"));
        std::fs::write(on_path.join("other"), "").unwrap();
        assert_eq!(program(&given, Some(&path), &repository).unwrap(), on_path.join("other"));
    }

    #[test]
    fn what_is_for_a_chain_needs_one() {
        assert!(Cli::try_parse_from("squad devnet --anvil a".split(' ')).is_err());
        assert!(Cli::try_parse_from("squad devnet --core c".split(' ')).is_err());
        let both = args("squad devnet --l1 --anvil a --core c");
        assert_eq!((both.anvil, both.core), (Some("a".into()), Some("c".into())));
    }
}
