//! What commands for a settlement layer have in common: which network, whose account, which key.

use crate::config::{KeySource, NodeConfig, Overrides, PasswordSource, load};
use crate::keystore::{self, Secret};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use squad_l1::Account;
use std::path::PathBuf;

/// Which network, and how to ask its settlement layer.
#[derive(Clone, Debug, Default, Args)]
pub struct ChainArgs {
    /// The node's configuration, for what flags do not say; also SQUAD_CONFIG
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The network's genesis file
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// JSON-RPC of the settlement layer, URLs with commas between; over half of them have to agree
    #[arg(long, env = "SQUAD_L1_ENDPOINTS", hide_env_values = true, value_delimiter = ',', value_name = "URLS")]
    pub endpoints: Vec<String>,
}

impl ChainArgs {
    /// The node's configuration, if one is named. Nothing of it is opened.
    pub(in crate::cli) fn node(&self) -> anyhow::Result<Option<NodeConfig>> {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        if self.config.is_none() && !environment.iter().any(|(name, _)| name == "SQUAD_CONFIG") {
            return Ok(None);
        }
        // Whether a plaintext key may be used is asked where it is.
        Ok(Some(load(self.config.as_deref(), &environment, Overrides::default(), true)?))
    }
}

/// Who signs and pays.
#[derive(Clone, Debug, Default, Args)]
pub struct AccountArgs {
    /// The operator's Ethereum account: an encrypted keystore (web3 secret storage, version 3)
    #[arg(long, value_name = "FILE")]
    pub account: Option<PathBuf>,
    /// A file whose first line is the account's password
    #[arg(long, value_name = "FILE", conflicts_with = "account_password_env")]
    pub account_password_file: Option<PathBuf>,
    /// An environment variable that holds the account's password
    #[arg(long, value_name = "NAME")]
    pub account_password_env: Option<String>,
    /// The account's file holds its bare key in hex; for development only
    #[arg(long)]
    pub insecure_plaintext_account: bool,
}

fn password(file: Option<&PathBuf>, env: Option<&String>) -> PasswordSource {
    match (file, env) {
        (Some(path), _) => PasswordSource::File(path.clone()),
        (None, Some(variable)) => PasswordSource::Env(variable.clone()),
        (None, None) => PasswordSource::Prompt,
    }
}

impl AccountArgs {
    fn source(&self) -> Option<KeySource> {
        let path = self.account.clone()?;
        Some(if self.insecure_plaintext_account {
            KeySource::PlaintextDev { path }
        } else {
            let password = password(self.account_password_file.as_ref(), self.account_password_env.as_ref());
            KeySource::Keystore { path, password }
        })
    }

    /// Opens the account. May ask for its password.
    pub(in crate::cli) fn open(&self) -> anyhow::Result<Account> {
        let source =
            self.source().context("who signs and pays? give the operator's Ethereum account with --account")?;
        open(&source)
    }

    /// The same, or the account that the node's own configuration names.
    pub(in crate::cli) fn open_or(&self, node: Option<&NodeConfig>) -> anyhow::Result<Account> {
        match (self.source(), node.and_then(|node| node.l1.account.as_ref())) {
            (Some(source), _) => open(&source),
            (None, Some(KeySource::PlaintextDev { path })) if !self.insecure_plaintext_account => bail!(
                "l1.account is a plaintext key, {}: for development only, add --insecure-plaintext-account",
                path.display()
            ),
            (None, Some(source)) => open(source),
            (None, None) => bail!("who signs and pays? give an Ethereum account with --account, or set l1.account"),
        }
    }

    /// The account's address, as its file states it. Opens nothing that has a password.
    pub(in crate::cli) fn address(&self) -> anyhow::Result<Option<squad_l1::Address>> {
        let address = match self.source() {
            None => return Ok(None),
            Some(KeySource::PlaintextDev { path }) => keystore::address_of(&keystore::read_plaintext(&path)?),
            Some(KeySource::Keystore { path, .. }) => keystore::read(&path)?.address(),
        };
        let address = address.context("the account's file states no address: give it with --operator")?;
        Ok(Some(address.0.into()))
    }
}

fn open(source: &KeySource) -> anyhow::Result<Account> {
    let secret = keystore::open(source).context("the account")?;
    Account::from_secret(&secret).context("the account's key is no secp256k1 key")
}

/// Which consensus key.
#[derive(Clone, Debug, Default, Args)]
pub struct KeyArgs {
    /// The consensus key: an encrypted keystore
    #[arg(long, value_name = "FILE")]
    pub keystore: Option<PathBuf>,
    /// A file whose first line is the consensus key's password
    #[arg(long, value_name = "FILE", conflicts_with = "password_env")]
    pub password_file: Option<PathBuf>,
    /// An environment variable that holds the consensus key's password
    #[arg(long, value_name = "NAME")]
    pub password_env: Option<String>,
    /// A file with the bare consensus key in hex; needs --insecure-plaintext-key
    #[arg(long, value_name = "FILE", conflicts_with = "keystore")]
    pub plaintext_key: Option<PathBuf>,
    /// Allow a consensus key that lies unencrypted on disk; for development only
    #[arg(long)]
    pub insecure_plaintext_key: bool,
}

impl KeyArgs {
    /// The key that is given, or else the node's. May ask for its password.
    pub(in crate::cli) fn open(&self, node: Option<&NodeConfig>) -> anyhow::Result<Secret> {
        let given = match (&self.keystore, &self.plaintext_key) {
            (Some(path), _) => {
                let password = password(self.password_file.as_ref(), self.password_env.as_ref());
                Some(KeySource::Keystore { path: path.clone(), password })
            }
            (None, Some(path)) => Some(KeySource::PlaintextDev { path: path.clone() }),
            (None, None) => None,
        };
        let source = given
            .as_ref()
            .or(node.map(|node| &node.key))
            .context("which consensus key? give it with --keystore, or the node's configuration with --config")?;
        if let KeySource::PlaintextDev { path } = source {
            ensure!(
                self.insecure_plaintext_key,
                "{} is a plaintext key, which every program that runs as you can read: use a keystore (`squad keys import`), \
                 or, for development only, add --insecure-plaintext-key",
                path.display()
            );
        }
        keystore::open(source).context("the consensus key")
    }
}
