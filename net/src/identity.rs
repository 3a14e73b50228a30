//! The node's Ed25519 key on the network: generated, kept in a file that only its user reads.

use std::{fs, io::Write, path::Path};

use libp2p::{PeerId, identity::Keypair};

use crate::error::NetError;

/// An encoded Ed25519 key has 68 bytes; a longer file is something else.
const MAX_IDENTITY_FILE_BYTES: u64 = 1024;

/// The Ed25519 identity of a node on the network. Not the operator's key: losing it costs a new binding, no stake.
#[derive(Clone)]
pub struct Identity(Keypair);

impl Identity {
    /// A new identity from the system's randomness.
    pub fn generate() -> Self {
        Self(Keypair::generate_ed25519())
    }

    /// The identity of 32 secret bytes.
    pub fn from_secret(mut secret: [u8; 32]) -> Result<Self, NetError> {
        Keypair::ed25519_from_bytes(&mut secret)
            .map(Self)
            .map_err(|error| NetError::Config(format!("identity secret: {error}")))
    }

    /// Reads the identity at `path`, or generates one and writes it there with mode 0600.
    pub fn load_or_generate(path: &Path) -> Result<Self, NetError> {
        if path.exists() {
            return Self::load(path);
        }
        let identity = Self::generate();
        identity.save(path)?;
        Ok(identity)
    }

    /// Reads an identity.
    pub fn load(path: &Path) -> Result<Self, NetError> {
        let file_error = |source| NetError::IdentityFile { path: path.to_owned(), source };
        let malformed = |reason: String| NetError::IdentityMalformed { path: path.to_owned(), reason };
        let length = fs::metadata(path).map_err(file_error)?.len();
        if length > MAX_IDENTITY_FILE_BYTES {
            return Err(malformed(format!("{length} bytes, at most {MAX_IDENTITY_FILE_BYTES} expected")));
        }
        let bytes = fs::read(path).map_err(file_error)?;
        Keypair::from_protobuf_encoding(&bytes).map(Self).map_err(|error| malformed(error.to_string()))
    }

    /// Writes the identity to a new file with mode 0600. An existing file is an error: it is never overwritten.
    pub fn save(&self, path: &Path) -> Result<(), NetError> {
        let file_error = |source| NetError::IdentityFile { path: path.to_owned(), source };
        let bytes = self
            .0
            .to_protobuf_encoding()
            .map_err(|error| NetError::IdentityMalformed { path: path.to_owned(), reason: error.to_string() })?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(file_error)?;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(file_error)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(file_error)
    }

    /// The peer id that a `PeerBinding` names.
    pub fn peer_id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.0
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.peer_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_survives_its_file_which_only_its_user_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net/identity");
        let first = Identity::load_or_generate(&path).unwrap();
        let second = Identity::load_or_generate(&path).unwrap();
        assert_eq!(first.peer_id(), second.peer_id());
        assert!(first.save(&path).is_err(), "an identity is never overwritten");
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn damaged_identity_file_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        fs::write(&path, b"something else").unwrap();
        let error = Identity::load(&path).unwrap_err();
        assert!(matches!(error, NetError::IdentityMalformed { .. }));
        assert!(error.to_string().contains("identity"));
        fs::write(&path, vec![0; 4096]).unwrap();
        assert!(matches!(Identity::load(&path), Err(NetError::IdentityMalformed { .. })));
    }
}
