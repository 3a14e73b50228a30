//! The format: scrypt or PBKDF2 makes a key of the password, AES-128-CTR hides the secret, keccak256 proves the password.
//!
//! <https://ethereum.org/en/developers/docs/data-structures-and-encoding/web3-secret-storage/>

use super::{KeystoreError, Secret};
use aes::cipher::{KeyIvInit, StreamCipher};
use rand::TryRngCore;
use serde::{Deserialize, Serialize};
use squad_types::Address;
use squad_types::hash::keccak256;
use zeroize::Zeroizing;

/// Bytes that scrypt may use for a file that somebody else wrote.
const MAX_SCRYPT_BYTES: u64 = 1 << 30;
/// Passes that scrypt may make over them.
const MAX_SCRYPT_PARALLEL: u32 = 64;
/// Rounds that PBKDF2 may make: some ten seconds' worth.
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;
/// The version of the format.
const VERSION: u8 = 3;

/// What a guess at the password costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScryptCost {
    /// n = 2^18, r = 8, p = 1: about 256 MiB and a second a guess, as geth does it.
    Standard,
    /// n = 2^12, r = 8, p = 6: milliseconds a guess. For development networks only.
    Light,
}

/// A keystore file's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keystore {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    address: Option<String>,
    // geth once wrote it with a capital.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt { dklen: u32, n: u64, r: u32, p: u32, salt: String },
    Pbkdf2 { dklen: u32, c: u32, prf: String, salt: String },
}

/// Why a keystore does not open.
#[derive(Debug)]
pub(super) enum DecryptError {
    Password,
    Malformed(String),
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| KeystoreError::NoPassword(format!("the system gives no randomness: {error}")))?;
    Ok(bytes)
}

impl Keystore {
    /// Encrypts a key with a password.
    ///
    /// # Errors
    /// A system that gives no randomness, or a secret that is no key.
    pub fn encrypt(secret: &Secret, password: &[u8], cost: ScryptCost) -> Result<Self, KeystoreError> {
        let address =
            super::address_of(secret).ok_or_else(|| KeystoreError::NoSecret { origin: "the secret".into() })?;
        let (n, r, p) = match cost {
            ScryptCost::Standard => (1 << 18, 8, 1),
            ScryptCost::Light => (1 << 12, 8, 6),
        };
        let kdf = Kdf::Scrypt { dklen: 32, n, r, p, salt: hex::encode(random::<32>()?) };
        let iv = random::<16>()?;
        let derived = kdf.derive(password).map_err(|what| KeystoreError::NoPassword(format!("scrypt: {what}")))?;
        let mut text = *secret.clone();
        apply_cipher(&derived, &iv, &mut text);
        Ok(Self {
            address: Some(hex::encode(address.0)),
            crypto: Crypto {
                cipher: "aes-128-ctr".into(),
                cipherparams: CipherParams { iv: hex::encode(iv) },
                ciphertext: hex::encode(text),
                kdf,
                mac: hex::encode(mac(&derived, &text)),
            },
            id: uuid(random::<16>()?),
            version: VERSION,
        })
    }

    /// The address that the file states, if it does.
    pub fn address(&self) -> Option<Address> {
        let text = self.address.as_deref()?;
        format!("0x{}", text.strip_prefix("0x").unwrap_or(text).to_lowercase()).parse().ok()
    }

    /// Checks what can be without the password.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version {} is not {VERSION}", self.version));
        }
        if self.crypto.cipher != "aes-128-ctr" {
            return Err(format!("cipher '{}' is not aes-128-ctr", self.crypto.cipher));
        }
        if self.address.is_some() && self.address().is_none() {
            return Err("its address is not 20 bytes in hex".into());
        }
        self.crypto.kdf.check()
    }

    /// Recovers the key.
    pub(super) fn decrypt(&self, password: &[u8]) -> Result<Secret, DecryptError> {
        let crypto = &self.crypto;
        let bytes = |name: &str, text: &str| {
            hex::decode(text).map_err(|_| DecryptError::Malformed(format!("{name} is no hex")))
        };
        let ciphertext: [u8; 32] = bytes("ciphertext", &crypto.ciphertext)?
            .try_into()
            .map_err(|_| DecryptError::Malformed("ciphertext is not 32 bytes".into()))?;
        let iv: [u8; 16] = bytes("iv", &crypto.cipherparams.iv)?
            .try_into()
            .map_err(|_| DecryptError::Malformed("iv is not 16 bytes".into()))?;
        let stated = bytes("mac", &crypto.mac)?;
        let derived = crypto.kdf.derive(password).map_err(DecryptError::Malformed)?;
        if mac(&derived, &ciphertext)[..] != stated[..] {
            return Err(DecryptError::Password);
        }
        let mut secret = Zeroizing::new(ciphertext);
        apply_cipher(&derived, &iv, &mut secret);
        Ok(secret)
    }
}

impl Kdf {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Scrypt { dklen, n, r, p, .. } => {
                let memory = n.saturating_mul(u64::from(*r)).saturating_mul(128);
                if *dklen != 32 || !n.is_power_of_two() || *n < 2 || *r == 0 || *p == 0 {
                    return Err(format!("scrypt cannot work with dklen {dklen}, n {n}, r {r}, p {p}"));
                }
                if memory > MAX_SCRYPT_BYTES || *p > MAX_SCRYPT_PARALLEL {
                    return Err(format!("scrypt with n {n}, r {r}, p {p} would take more than this program gives it"));
                }
            }
            Self::Pbkdf2 { dklen, c, prf, .. } => {
                if *dklen != 32 || *c == 0 || *c > MAX_PBKDF2_ROUNDS || prf != "hmac-sha256" {
                    return Err(format!("pbkdf2 cannot work with dklen {dklen}, c {c}, prf '{prf}'"));
                }
            }
        }
        Ok(())
    }

    fn derive(&self, password: &[u8]) -> Result<Zeroizing<[u8; 32]>, String> {
        self.check()?;
        let mut derived = Zeroizing::new([0; 32]);
        let (Self::Scrypt { salt, .. } | Self::Pbkdf2 { salt, .. }) = self;
        let salt = hex::decode(salt).map_err(|_| "salt is no hex".to_owned())?;
        match self {
            Self::Scrypt { n, r, p, .. } => {
                let log_n = n.trailing_zeros() as u8;
                let params = scrypt::Params::new(log_n, *r, *p).map_err(|error| error.to_string())?;
                scrypt::scrypt(password, &salt, &params, &mut *derived).map_err(|error| error.to_string())?;
            }
            Self::Pbkdf2 { c, .. } => pbkdf2::pbkdf2_hmac::<pbkdf2::sha2::Sha256>(password, &salt, *c, &mut *derived),
        }
        Ok(derived)
    }
}

fn apply_cipher(derived: &[u8; 32], iv: &[u8; 16], text: &mut [u8; 32]) {
    let mut key = Zeroizing::new([0; 16]);
    key.copy_from_slice(&derived[..16]);
    ctr::Ctr128BE::<aes::Aes128>::new((&*key).into(), iv.into()).apply_keystream(text);
}

fn mac(derived: &[u8; 32], ciphertext: &[u8; 32]) -> [u8; 32] {
    let mut bytes = Zeroizing::new([0; 48]);
    bytes[..16].copy_from_slice(&derived[16..]);
    bytes[16..].copy_from_slice(ciphertext);
    keccak256(&*bytes)
}

/// A random UUID (version 4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}
