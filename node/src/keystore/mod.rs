//! Operator keys on disk: web3 secret storage, version 3, as Ethereum's own tools write it.
//!
//! Secrets are wiped from memory when dropped, never logged, and never taken from arguments.

mod crypto;
mod open;

pub use crypto::{Keystore, ScryptCost};
pub use open::{open, read_password, read_plaintext};

use squad_types::{Address, EcdsaSigner, Signer};
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A secret key: 32 bytes, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// A keystore file is a few hundred bytes; anything longer is not one.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Files that a directory of keys may hold, so that a listing of a wrong directory ends.
const MAX_LISTED: usize = 10_000;

/// What goes wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The system refused a file operation.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is there already.
    #[error("{} exists already: keys are never overwritten; choose another file", .0.display())]
    Exists(PathBuf),
    /// The file is no keystore.
    #[error("{} is no web3 keystore of version 3: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The password is not the one.
    #[error("wrong password for {}: the key's checksum does not match; check the password and its source", .0.display())]
    WrongPassword(PathBuf),
    /// The key inside is another than the file says.
    #[error("{} says it holds the key of {stated}, but holds that of {found}: the file was changed", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The address in the file.
        stated: Address,
        /// The address of the key.
        found: Address,
    },
    /// Text that is no secret key.
    #[error("{origin} holds no secret key: 32 bytes in hex are expected, below the order of secp256k1 and not zero")]
    NoSecret {
        /// Where the text came from.
        origin: String,
    },
    /// A password that cannot be had.
    #[error("no password: {0}")]
    NoPassword(String),
}

impl KeystoreError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

/// A new key from the system's randomness.
///
/// # Errors
/// A system that gives no randomness.
pub fn generate() -> Result<Secret, KeystoreError> {
    loop {
        let secret = Zeroizing::new(crypto::random::<32>()?);
        // All but about 2^-128 of all values are keys.
        if EcdsaSigner::from_secret(*secret).is_some() {
            return Ok(secret);
        }
    }
}

/// The address of a secret key; none if it is no key.
pub fn address_of(secret: &Secret) -> Option<Address> {
    EcdsaSigner::from_secret(**secret).map(|signer| signer.address())
}

/// Reads a secret key from hex, with or without 0x. `origin` is named in the error; the text never is.
///
/// # Errors
/// Text that is no key.
pub fn parse_secret(text: &str, origin: &str) -> Result<Secret, KeystoreError> {
    let none = || KeystoreError::NoSecret { origin: origin.to_owned() };
    let text = text.trim();
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut *secret).map_err(|_| none())?;
    address_of(&secret).map(|_| secret).ok_or_else(none)
}

/// Writes a keystore to a new file that only its owner may read, durably.
///
/// # Errors
/// A file that exists, or whatever the system refuses.
pub fn write_new(path: &Path, keystore: &Keystore) -> Result<(), KeystoreError> {
    let mut text = serde_json::to_string_pretty(keystore)
        .map_err(|error| KeystoreError::Malformed { path: path.to_owned(), what: error.to_string() })?;
    text.push('\n');
    write_private(path, text.as_bytes())
}

/// Writes a new file with mode 0600 and makes it durable.
///
/// # Errors
/// A file that exists, or whatever the system refuses.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), KeystoreError> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(KeystoreError::io("create directory", dir))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => KeystoreError::Exists(path.to_owned()),
        _ => KeystoreError::Io { operation: "create", path: path.to_owned(), source },
    })?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(KeystoreError::io("write", path))
}

fn read_small(path: &Path) -> Result<Zeroizing<String>, KeystoreError> {
    let length = std::fs::metadata(path).map_err(KeystoreError::io("open", path))?.len();
    if length > MAX_FILE_BYTES {
        let what = format!("{length} bytes are over the limit of {MAX_FILE_BYTES}");
        return Err(KeystoreError::Malformed { path: path.to_owned(), what });
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(KeystoreError::io("read", path))
}

/// Reads a keystore file without opening it.
///
/// # Errors
/// A file that is no keystore.
pub fn read(path: &Path) -> Result<Keystore, KeystoreError> {
    let text = read_small(path)?;
    let malformed = |what: String| KeystoreError::Malformed { path: path.to_owned(), what };
    let keystore: Keystore = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    keystore.check().map_err(malformed)?;
    Ok(keystore)
}

/// Decrypts a keystore file.
///
/// # Errors
/// A wrong password, or a file that is no keystore.
pub fn unlock(path: &Path, password: &str) -> Result<Secret, KeystoreError> {
    let keystore = read(path)?;
    let secret = keystore.decrypt(password.as_bytes()).map_err(|error| match error {
        crypto::DecryptError::Password => KeystoreError::WrongPassword(path.to_owned()),
        crypto::DecryptError::Malformed(what) => KeystoreError::Malformed { path: path.to_owned(), what },
    })?;
    let found = address_of(&secret).ok_or_else(|| KeystoreError::NoSecret { origin: path.display().to_string() })?;
    match keystore.address() {
        Some(stated) if stated != found => Err(KeystoreError::OtherKey { path: path.to_owned(), stated, found }),
        _ => Ok(secret),
    }
}

/// The keystores of a directory with their addresses, by file name. Files that are no keystores are left out.
///
/// # Errors
/// A directory that cannot be read.
pub fn list(dir: &Path) -> Result<Vec<(PathBuf, Option<Address>)>, KeystoreError> {
    let entries = std::fs::read_dir(dir).map_err(KeystoreError::io("list", dir))?;
    let mut paths: Vec<PathBuf> = entries
        .take(MAX_LISTED)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    Ok(paths.into_iter().filter_map(|path| read(&path).ok().map(|found| (path, found.address()))).collect())
}

#[cfg(test)]
mod tests;
