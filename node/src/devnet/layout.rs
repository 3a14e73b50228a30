//! A devnet's directory: genesis, and for every process its key, configuration, state and log.

use super::ports::Addresses;
use super::wide::Wide;
use crate::cli::DevnetArgs;
use crate::genesis::devnet_genesis;
use anyhow::{Context, bail};
use rand::RngCore;
use serde_json::Value;
use squad_types::{EcdsaSigner, Genesis, Signer};
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// How often the local chain is asked: it makes a block a second.
const L1_POLL_MS: u64 = 500;

/// A devnet's directory before it is known which network lies there.
pub(super) struct Home {
    pub(super) dir: PathBuf,
    pub(super) signers: Vec<EcdsaSigner>,
    /// The network's, if there is one already.
    pub(super) genesis: Option<Genesis>,
}

/// A devnet's directory.
pub(super) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) genesis: Genesis,
    pub(super) signers: Vec<EcdsaSigner>,
    /// Whether it was there before: the network continues.
    pub(super) continued: bool,
}

impl Home {
    /// Finds the network that lies in the directory, or begins one with its operators' keys.
    pub(super) fn open(args: &DevnetArgs) -> anyhow::Result<Self> {
        fs::create_dir_all(&args.dir).with_context(|| format!("cannot make the directory {}", args.dir.display()))?;
        let dir = args.dir.canonicalize().with_context(|| format!("cannot open {}", args.dir.display()))?;
        let wanted = usize::from(args.operators);
        let genesis_path = dir.join("genesis.json");
        let genesis = if genesis_path.exists() { Some(crate::cli::read_genesis(&genesis_path)?) } else { None };
        if let Some(genesis) = &genesis {
            check(genesis, wanted, args.l1, &dir)?;
        }
        let secret = |at| secret(&operator_dir(&dir, at).join("key.hex"), genesis.is_some());
        let signers = (0..wanted).map(|at| Ok(secret(at)?.0)).collect::<anyhow::Result<Vec<_>>>()?;
        let known = |signer: &EcdsaSigner, genesis: &Genesis| {
            genesis.validators.iter().any(|validator| validator.address == signer.address())
        };
        if let Some(stranger) = signers.iter().find(|signer| genesis.iter().any(|genesis| !known(signer, genesis))) {
            bail!("the key of {} is not in {}: remove the directory", stranger.address(), genesis_path.display());
        }
        Ok(Self { dir, signers, genesis })
    }

    /// A genesis of operators with one stake each.
    pub(super) fn plain_genesis(&self) -> anyhow::Result<Genesis> {
        let addresses: Vec<_> = self.signers.iter().map(Signer::address).collect();
        Ok(devnet_genesis(&addresses, crate::cli::now())?)
    }

    /// The directory with its network, whose genesis is written if it is new.
    pub(super) fn with(self, genesis: Genesis) -> anyhow::Result<Layout> {
        let continued = self.genesis.is_some();
        if !continued {
            write(&self.dir.join("genesis.json"), &serde_json::to_string_pretty(&genesis)?)?;
        }
        Ok(Layout { dir: self.dir, genesis, signers: self.signers, continued })
    }
}

/// Refuses a directory whose network is not the one that is asked for.
fn check(genesis: &Genesis, wanted: usize, l1: bool, dir: &Path) -> anyhow::Result<()> {
    let (known, dir) = (genesis.validators.len(), dir.display());
    if known != wanted {
        bail!(
            "{dir} holds a network of {known} operators, and {wanted} are asked for: give --operators {known}, another --dir, or remove the directory"
        );
    }
    match (genesis.settlement.is_some(), l1) {
        (true, false) => {
            bail!("{dir} holds a network whose stake is on a chain: give --l1, another --dir, or remove the directory")
        }
        (false, true) => {
            bail!(
                "{dir} holds a network whose stake is in its genesis: leave --l1 out, give another --dir, or remove the directory"
            )
        }
        _ => Ok(()),
    }
}

impl Layout {
    /// Writes every operator's configuration, so that each can also be started by hand.
    pub(super) fn write_configs(&self, addresses: &Addresses, wide: Option<&Wide>) -> anyhow::Result<()> {
        let multiaddr = |address: SocketAddr| format!("/ip4/127.0.0.1/tcp/{}", address.port());
        // Between operators in regions stand proxies: nobody may learn another way.
        let announce = wide.map_or("", |_| "announce = [\"none\"]\n");
        for (at, listen) in addresses.operators.iter().enumerate() {
            let others = (0..addresses.operators.len()).filter(|other| *other != at);
            let dialled = |to: usize| wide.map_or(addresses.operators[to].p2p, |wide| wide.address(at, to));
            let bootstrap: Vec<String> = others.map(|other| format!("{:?}", multiaddr(dialled(other)))).collect();
            // Operators answer wallets with the help of executors, spread over them.
            let executor = addresses.executors.get(at % addresses.executors.len().max(1));
            let executors = executor.map(|rpc| format!("\n[executors]\nevm = \"http://{rpc}\"\n")).unwrap_or_default();
            let l1 =
                addresses.chain.map(|rpc| format!("\n[l1]\nendpoints = [\"http://{rpc}\"]\npoll_ms = {L1_POLL_MS}\n"));
            let l1 = l1.unwrap_or_default();
            let text = format!(
                "# Operator {} of a development network. Start it by hand with\n#   squad node --config node.toml --insecure-plaintext-key\n\
                 data_dir = \"data\"\ngenesis = \"../genesis.json\"\n\n[key]\nplaintext = \"key.hex\"\n\n\
                 [p2p]\nlisten = [\"{}\"]\n{announce}bootstrap = [{}]\n\n[rpc]\nlisten = \"{}\"\n\n[grpc]\nlisten = \"{}\"\n\n[metrics]\nlisten = \"{}\"\n{executors}{l1}",
                at + 1,
                multiaddr(listen.p2p),
                bootstrap.join(", "),
                listen.rpc,
                listen.grpc,
                listen.metrics,
            );
            write(&self.operator_dir(at).join("node.toml"), &text)?;
        }
        Ok(())
    }

    /// Keeps what the devnet printed when it was ready, for other programs.
    pub(super) fn write_state(&self, ready: &Value) -> anyhow::Result<()> {
        write(&self.dir.join("devnet.json"), &serde_json::to_string_pretty(ready)?)
    }

    pub(super) fn operator_name(&self, at: usize) -> String {
        format!("operator-{}", at + 1)
    }

    pub(super) fn executor_name(&self, at: usize) -> String {
        format!("executor-{}", at + 1)
    }

    fn operator_dir(&self, at: usize) -> PathBuf {
        operator_dir(&self.dir, at)
    }

    fn executor_dir(&self, at: usize) -> PathBuf {
        self.dir.join(self.executor_name(at))
    }

    pub(super) fn operator_log(&self, at: usize) -> PathBuf {
        self.operator_dir(at).join("node.log")
    }

    pub(super) fn executor_log(&self, at: usize) -> PathBuf {
        self.executor_dir(at).join("executor.log")
    }

    /// The arguments of an operator's process.
    pub(super) fn node_command(&self, at: usize) -> anyhow::Result<Vec<OsString>> {
        let config = self.operator_dir(at).join("node.toml");
        Ok(vec![
            "node".into(),
            "--config".into(),
            config.into(),
            "--insecure-plaintext-key".into(),
            "--exit-with-stdin".into(),
        ])
    }

    /// The arguments of an executor's process: it follows every operator, each executor another one first.
    pub(super) fn executor_command(&self, at: usize, addresses: &Addresses) -> anyhow::Result<Vec<OsString>> {
        let dir = self.executor_dir(at);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let count = addresses.operators.len();
        let urls: Vec<String> =
            (0..count).map(|offset| format!("http://{}", addresses.operators[(at + offset) % count].grpc)).collect();
        Ok(vec![
            "executor".into(),
            "--operators".into(),
            urls.join(",").into(),
            "--genesis".into(),
            self.dir.join("genesis.json").into(),
            "--namespace".into(),
            "evm".into(),
            "--data-dir".into(),
            dir.join("data").into(),
            "--rpc-listen".into(),
            addresses.executors[at].to_string().into(),
            "--exit-with-stdin".into(),
        ])
    }
}

pub(super) fn operator_dir(dir: &Path, at: usize) -> PathBuf {
    dir.join(format!("operator-{}", at + 1))
}

/// A secret key in a file, and whose it is: kept from the last time, or made.
pub(super) fn secret(path: &Path, continued: bool) -> anyhow::Result<(EcdsaSigner, [u8; 32])> {
    if let Some(home) = path.parent() {
        fs::create_dir_all(home).with_context(|| format!("cannot make the directory {}", home.display()))?;
    }
    let mut secret = [0; 32];
    if path.exists() {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut secret)
            .with_context(|| format!("{} holds no key of 32 bytes in hex", path.display()))?;
        let signer =
            EcdsaSigner::from_secret(secret).with_context(|| format!("{} holds no valid key", path.display()))?;
        return Ok((signer, secret));
    }
    if continued {
        bail!(
            "{} is missing, but the network was made before: give fewer --operators or another --dir",
            path.display()
        );
    }
    loop {
        rand::rng().fill_bytes(&mut secret);
        if let Some(signer) = EcdsaSigner::from_secret(secret) {
            write_private(path, &format!("0x{}\n", hex::encode(secret)))?;
            return Ok((signer, secret));
        }
    }
}

pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::genesis::devnet_l1_genesis;
    use clap::Parser as _;
    use squad_types::{Address, Member, Settlement, Stake};

    fn args(dir: &Path, rest: &[&str]) -> DevnetArgs {
        let line = ["squad", "devnet", "--dir", dir.to_str().unwrap()];
        let Command::Devnet(args) = Cli::try_parse_from(line.iter().chain(rest)).unwrap().command else {
            panic!("devnet")
        };
        args
    }

    fn settled(home: &Home) -> Genesis {
        let settlement = Settlement { chain_id: 31_337, stake_table: Address([7; 20]), every_blocks: 2, lag_blocks: 0 };
        let members = home.signers.iter().map(|s| Member { address: s.address(), stake: Stake(5) }).collect();
        devnet_l1_genesis(members, crate::cli::now(), settlement).unwrap()
    }

    #[test]
    fn a_directory_is_continued_as_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, l1) = (dir.path().join("plain"), dir.path().join("l1"));
        let refused = |dir: &Path, rest: &[&str]| Home::open(&args(dir, rest)).map(drop).unwrap_err().to_string();

        let home = Home::open(&args(&plain, &[])).unwrap();
        let genesis = home.plain_genesis().unwrap();
        assert!(!home.with(genesis.clone()).unwrap().continued);
        let again = Home::open(&args(&plain, &[])).unwrap();
        assert_eq!(again.genesis, Some(genesis.clone()));
        assert!(again.with(genesis).unwrap().continued);
        assert!(refused(&plain, &["--l1"]).contains("leave --l1 out"));
        assert!(refused(&plain, &["--operators", "7"]).contains("give --operators 4"));

        let home = Home::open(&args(&l1, &["--l1"])).unwrap();
        let genesis = settled(&home);
        home.with(genesis.clone()).unwrap();
        assert_eq!(Home::open(&args(&l1, &["--l1"])).unwrap().genesis, Some(genesis));
        assert!(refused(&l1, &[]).contains("give --l1"));
        fs::remove_file(l1.join("operator-1/key.hex")).unwrap();
        assert!(refused(&l1, &["--l1"]).contains("is missing"));
    }

    #[test]
    fn a_beginning_that_was_broken_off_is_begun_again_with_the_same_keys() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(&args(dir.path(), &["--l1"])).unwrap();
        let again = Home::open(&args(dir.path(), &["--l1"])).unwrap();
        let addresses = |home: &Home| home.signers.iter().map(Signer::address).collect::<Vec<_>>();
        assert_eq!((addresses(&first), again.genesis.is_none()), (addresses(&again), true));
    }
}
