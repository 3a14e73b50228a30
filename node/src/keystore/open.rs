//! Gets at an operator's key by its configuration.

use super::{KeystoreError, Secret, parse_secret, read_small, unlock};
use crate::config::{KeySource, PasswordSource};
use std::path::Path;
use zeroize::Zeroizing;

/// Opens the key that a configuration names. May ask on the terminal.
///
/// # Errors
/// A wrong password, or a file that cannot be used.
pub fn open(source: &KeySource) -> Result<Secret, KeystoreError> {
    match source {
        KeySource::PlaintextDev { path } => read_plaintext(path),
        KeySource::Keystore { path, password } => {
            // Say what is wrong with the file before asking for its password.
            super::read(path)?;
            let password = read_password(password, &format!("password of {}: ", path.display()))?;
            unlock(path, &password)
        }
    }
}

/// Reads a bare key from a file.
///
/// # Errors
/// A file that holds no key.
pub fn read_plaintext(path: &Path) -> Result<Secret, KeystoreError> {
    parse_secret(&read_small(path)?, &path.display().to_string())
}

/// Gets a password. `prompt` is shown on the terminal if it must be asked for.
///
/// # Errors
/// A source that has none.
pub fn read_password(source: &PasswordSource, prompt: &str) -> Result<Zeroizing<String>, KeystoreError> {
    let password = match source {
        PasswordSource::File(path) => {
            let text = read_small(path)?;
            Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
        }
        PasswordSource::Env(variable) => std::env::var(variable).map(Zeroizing::new).map_err(|_| {
            KeystoreError::NoPassword(format!("the environment variable {variable} is not set, or is no text"))
        })?,
        PasswordSource::Prompt => rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| {
            let hint = "give --password-file or --password-env where there is no terminal";
            KeystoreError::NoPassword(format!("the terminal cannot be asked ({error}); {hint}"))
        })?,
    };
    if password.is_empty() {
        return Err(KeystoreError::NoPassword("it is empty".into()));
    }
    Ok(password)
}
