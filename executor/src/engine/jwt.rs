//! The token of each request: a JSON Web Token signed with HMAC-SHA256 (RFC 7519, RFC 7515).

use super::EngineError;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::path::Path;

/// Bytes of a secret file at most: 64 digits, a prefix, white space.
const MAX_FILE_BYTES: u64 = 1_024;

/// The 256-bit secret that the executor shares with an execution client.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret([u8; 32]);

impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtSecret(…)")
    }
}

impl JwtSecret {
    /// A secret from its bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Reads 64 hexadecimal digits, with or without `0x` before and white space around, as clients write them.
    ///
    /// # Errors
    /// [`EngineError::Config`].
    pub fn from_text(text: &str) -> Result<Self, EngineError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let mut secret = [0; 32];
        // What is wrong with a secret is not printed with it.
        hex::decode_to_slice(digits, &mut secret).map_err(|_| {
            let found = digits.chars().count();
            EngineError::Config(format!("a JWT secret is 64 hexadecimal digits, this one has {found} characters"))
        })?;
        Ok(Self(secret))
    }

    /// Reads the file that the client reads too.
    ///
    /// # Errors
    /// [`EngineError::Config`] with the file's name and what to do.
    pub fn from_file(path: &Path) -> Result<Self, EngineError> {
        let fail = |detail: String| EngineError::Config(format!("JWT secret {}: {detail}", path.display()));
        let length = std::fs::metadata(path).map_err(|error| {
            fail(format!("{error}; name the file that the client uses, or make one with: openssl rand -hex 32"))
        })?;
        if length.len() > MAX_FILE_BYTES {
            return Err(fail(format!("{} bytes are too many for 64 hexadecimal digits", length.len())));
        }
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        Self::from_text(&text).map_err(|error| fail(error.to_string()))
    }

    /// A token issued at `issued_at` seconds since the Unix epoch.
    pub(super) fn token(&self, issued_at: u64) -> String {
        self.sign(r#"{"typ":"JWT","alg":"HS256"}"#, &format!(r#"{{"iat":{issued_at}}}"#))
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let tag = authenticate(&self.0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

fn authenticate(secret: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_example_of_rfc_7515() {
        // Appendix A.1: key, signing input and signature.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let tag = authenticate(&URL_SAFE_NO_PAD.decode(key).unwrap(), input.as_bytes());
        assert_eq!(URL_SAFE_NO_PAD.encode(tag), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn a_token_has_three_parts_and_says_when() {
        let token = JwtSecret::new([7; 32]).token(1_700_000_000);
        let parts: Vec<_> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        assert_eq!(parts[0], br#"{"typ":"JWT","alg":"HS256"}"#);
        assert_eq!(parts[1], br#"{"iat":1700000000}"#);
        assert_eq!(parts[2].len(), 32);
        assert_ne!(token, JwtSecret::new([8; 32]).token(1_700_000_000));
    }

    #[test]
    fn reads_what_clients_write_and_nothing_else() {
        let digits = "ab".repeat(32);
        let secret = JwtSecret::new([0xab; 32]);
        for text in [digits.clone(), format!("0x{digits}\n"), format!(" {}\r\n", digits.to_uppercase())] {
            assert_eq!(JwtSecret::from_text(&text), Ok(secret.clone()));
        }
        for text in ["", "0x", &digits[1..], &format!("{digits}00"), &"zz".repeat(32)] {
            let error = JwtSecret::from_text(text).unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits") && (text.len() < 3 || !error.contains(text)), "{error}");
        }
        assert_eq!(format!("{secret:?}"), "JwtSecret(…)");
    }

    #[test]
    fn a_secret_file_that_is_missing_or_too_long_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt.hex");
        let error = JwtSecret::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("jwt.hex") && error.contains("openssl rand -hex 32"), "{error}");
        std::fs::write(&path, vec![b'0'; 2_000]).unwrap();
        assert!(JwtSecret::from_file(&path).unwrap_err().to_string().contains("2000 bytes"));
        std::fs::write(&path, format!("0x{}", "01".repeat(32))).unwrap();
        assert_eq!(JwtSecret::from_file(&path), Ok(JwtSecret::new([1; 32])));
    }
}
