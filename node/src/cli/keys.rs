//! `squad keys`

use super::Output;
use crate::config::PasswordSource;
use crate::keystore::{self, Keystore, ScryptCost, Secret};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `squad keys …`
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new key in an encrypted keystore
    New(NewArgs),
    /// Encrypt a key that exists already: from a file, standard input or the terminal, never from an argument
    Import(ImportArgs),
    /// Show a keystore's address
    Show(ShowArgs),
    /// List the keystores of a directory
    List {
        /// The directory
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
}

/// Where the keystore goes and what protects it.
#[derive(Clone, Debug, Args)]
pub struct NewArgs {
    /// The keystore file to write; it must not exist
    #[arg(long, value_name = "FILE", default_value = "operator.json")]
    pub out: PathBuf,
    /// The password.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// Make guessing the password cheap, and opening the file fast; for development only
    #[arg(long)]
    pub light: bool,
}

/// `squad keys import`
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// A file with the secret key in hex; standard input or the terminal if it is not given
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The rest.
    #[command(flatten)]
    pub new: NewArgs,
}

/// `squad keys show`
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// The keystore
    pub file: PathBuf,
    /// Open it, and check that it holds the key of the address that it states
    #[arg(long)]
    pub check: bool,
    /// Print the secret key too; whoever sees it can get the operator slashed
    #[arg(long)]
    pub reveal_secret: bool,
    /// The password.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// Where a password comes from: a file, a variable, or the terminal.
#[derive(Clone, Debug, Args)]
pub struct PasswordArgs {
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE", conflicts_with = "password_env")]
    pub password_file: Option<PathBuf>,
    /// An environment variable that holds the password
    #[arg(long, value_name = "NAME")]
    pub password_env: Option<String>,
}

impl PasswordArgs {
    fn source(&self) -> PasswordSource {
        match (&self.password_file, &self.password_env) {
            (Some(path), _) => PasswordSource::File(path.clone()),
            (None, Some(variable)) => PasswordSource::Env(variable.clone()),
            (None, None) => PasswordSource::Prompt,
        }
    }

    /// A password for a new file: asked for twice on a terminal.
    fn new_password(&self) -> anyhow::Result<Zeroizing<String>> {
        let source = self.source();
        let password = keystore::read_password(&source, "new password: ")?;
        if source == PasswordSource::Prompt && *keystore::read_password(&source, "the same again: ")? != *password {
            bail!("the two passwords differ: nothing was written");
        }
        Ok(password)
    }
}

pub(super) fn run(command: KeysCommand, output: Output) -> anyhow::Result<()> {
    match command {
        KeysCommand::New(args) => write(&keystore::generate()?, &args, output),
        KeysCommand::Import(args) => write(&secret(args.secret_file.as_deref())?, &args.new, output),
        KeysCommand::Show(args) => show(&args, output),
        KeysCommand::List { dir } => list(&dir, output),
    }
}

fn secret(file: Option<&Path>) -> anyhow::Result<Secret> {
    if let Some(path) = file {
        return Ok(keystore::read_plaintext(path)?);
    }
    if std::io::stdin().is_terminal() {
        let text = Zeroizing::new(rpassword::prompt_password("secret key (hex): ").context("the terminal")?);
        return Ok(keystore::parse_secret(&text, "the terminal")?);
    }
    let mut text = Zeroizing::new(String::new());
    // A key is 66 characters.
    std::io::stdin().take(1024).read_to_string(&mut text).context("standard input")?;
    Ok(keystore::parse_secret(&text, "standard input")?)
}

fn write(secret: &Secret, args: &NewArgs, output: Output) -> anyhow::Result<()> {
    if args.out.exists() {
        return Err(keystore::KeystoreError::Exists(args.out.clone()).into());
    }
    let password = args.password.new_password()?;
    let cost = if args.light { ScryptCost::Light } else { ScryptCost::Standard };
    let keystore = Keystore::encrypt(secret, password.as_bytes(), cost)?;
    keystore::write_new(&args.out, &keystore)?;
    let (address, path) = (keystore.address(), args.out.display().to_string());
    output.result(&json!({ "address": address, "file": path }), || {
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        format!("{address}\nkept in {path}: keep a copy of the file, and its password apart from it")
    })
}

fn show(args: &ShowArgs, output: Output) -> anyhow::Result<()> {
    let stated = keystore::read(&args.file)?.address();
    if !args.check && !args.reveal_secret {
        let Some(address) = stated else {
            bail!("{} states no address: add --check to open it", args.file.display());
        };
        return output.result(&json!({ "address": address }), || address.to_string());
    }
    let password = keystore::read_password(&args.password.source(), "password: ")?;
    let secret = keystore::unlock(&args.file, &password)?;
    let address = keystore::address_of(&secret);
    if args.reveal_secret {
        let text = Zeroizing::new(format!("0x{}", hex::encode(*secret)));
        return output.result(&json!({ "address": address, "secret": *text }), || (*text).clone());
    }
    output.result(&json!({ "address": address, "checked": true }), || {
        address.map(|address| format!("{address} (the password opens it)")).unwrap_or_default()
    })
}

fn list(dir: &Path, output: Output) -> anyhow::Result<()> {
    let found = keystore::list(dir)?;
    let rows: Vec<_> =
        found.iter().map(|(path, address)| json!({ "file": path.display().to_string(), "address": address })).collect();
    output.result(&rows, || {
        if found.is_empty() {
            return format!("no keystores in {}", dir.display());
        }
        let row = |(path, address): &(PathBuf, Option<squad_types::Address>)| {
            let address = address.map_or_else(|| "(states no address)".to_owned(), |address| address.to_string());
            format!("{address}  {}", path.display())
        };
        found.iter().map(row).collect::<Vec<_>>().join("\n")
    })
}
