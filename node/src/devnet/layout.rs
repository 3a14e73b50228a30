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

/// A devnet's directory.
pub(super) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) genesis: Genesis,
    pub(super) signers: Vec<EcdsaSigner>,
    /// Whether it was there before: the network continues.
    pub(super) continued: bool,
}

impl Layout {
    /// Finds the network that lies in the directory, or makes one.
    pub(super) fn prepare(args: &DevnetArgs) -> anyhow::Result<Self> {
        fs::create_dir_all(&args.dir).with_context(|| format!("cannot make the directory {}", args.dir.display()))?;
        let dir = args.dir.canonicalize().with_context(|| format!("cannot open {}", args.dir.display()))?;
        let wanted = usize::from(args.operators);
        let genesis_path = dir.join("genesis.json");
        let continued = genesis_path.exists();
        let signers = (0..wanted).map(|at| key(&dir, at, continued)).collect::<anyhow::Result<Vec<_>>>()?;
        let genesis = if continued {
            let genesis = crate::cli::read_genesis(&genesis_path)?;
            let known = genesis.validators.len();
            if known != wanted {
                bail!(
                    "{} holds a network of {known} operators, and {wanted} are asked for: give --operators {known}, another --dir, or remove the directory",
                    dir.display()
                );
            }
            genesis
        } else {
            let addresses: Vec<_> = signers.iter().map(Signer::address).collect();
            let genesis = devnet_genesis(&addresses, crate::cli::now())?;
            write(&genesis_path, &serde_json::to_string_pretty(&genesis)?)?;
            genesis
        };
        if let Some(stranger) = signers.iter().find(|s| genesis.validators.iter().all(|v| v.address != s.address())) {
            bail!("the key of {} is not in {}: remove the directory", stranger.address(), genesis_path.display());
        }
        Ok(Self { dir, genesis, signers, continued })
    }

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
            let text = format!(
                "# Operator {} of a development network. Start it by hand with\n#   squad node --config node.toml --insecure-plaintext-key\n\
                 data_dir = \"data\"\ngenesis = \"../genesis.json\"\n\n[key]\nplaintext = \"key.hex\"\n\n\
                 [p2p]\nlisten = [\"{}\"]\n{announce}bootstrap = [{}]\n\n[rpc]\nlisten = \"{}\"\n\n[grpc]\nlisten = \"{}\"\n\n[metrics]\nlisten = \"{}\"\n{executors}",
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
        self.dir.join(self.operator_name(at))
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

/// An operator's key: kept from the last time, or made.
fn key(dir: &Path, at: usize, continued: bool) -> anyhow::Result<EcdsaSigner> {
    let home = dir.join(format!("operator-{}", at + 1));
    fs::create_dir_all(&home).with_context(|| format!("cannot make the directory {}", home.display()))?;
    let path = home.join("key.hex");
    if path.exists() {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut secret = [0; 32];
        hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut secret)
            .with_context(|| format!("{} holds no key of 32 bytes in hex", path.display()))?;
        return EcdsaSigner::from_secret(secret).with_context(|| format!("{} holds no valid key", path.display()));
    }
    if continued {
        bail!(
            "{} is missing, but the network was made before: give fewer --operators or another --dir",
            path.display()
        );
    }
    loop {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        if let Some(signer) = EcdsaSigner::from_secret(secret) {
            write_private(&path, &format!("0x{}\n", hex::encode(secret)))?;
            return Ok(signer);
        }
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
