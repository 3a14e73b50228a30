//! What peers and clients send in the canonical form.

use super::{canonical, network};
use bytes::Bytes;
use squad_client::{BlockVerifier, TrustedCommittee, verify};
use squad_sequencer::VerifiedResponse;
use squad_types::*;

pub(super) fn message(bytes: &[u8]) {
    if let Some(message) = canonical::<Message>(bytes) {
        let _ = message.verify(&network().domain, &EcdsaVerifier);
    }
}

pub(super) fn request(bytes: &[u8]) {
    canonical::<Request>(bytes);
}

pub(super) fn response(bytes: &[u8]) {
    if let Some(response) = canonical::<Response>(bytes) {
        let _ = VerifiedResponse::verify(response, &network().domain, &EcdsaVerifier);
    }
}

pub(super) fn header(bytes: &[u8]) {
    if let Some(header) = canonical::<Header>(bytes) {
        header.hash();
    }
}

pub(super) fn chain_state(bytes: &[u8]) {
    if let Some(state) = canonical::<ChainState>(bytes) {
        state.tip(LaneId { epoch: state.epoch, author: ValidatorIndex(u16::MAX) });
        state.digest();
    }
}

pub(super) fn proposed_block(bytes: &[u8]) {
    canonical::<ProposedBlock>(bytes);
}

pub(super) fn ordered_block(bytes: &[u8]) {
    canonical::<OrderedBlock>(bytes);
}

pub(super) fn namespace_block(bytes: &[u8]) {
    let Some(block) = canonical::<NamespaceBlock>(bytes) else { return };
    if let Ok(mut verifier) = BlockVerifier::from_genesis(&network().genesis, block.namespace) {
        let _ = verifier.verify(block);
    }
}

pub(super) fn namespace_proof(bytes: &[u8]) {
    if let Some(proof) = canonical::<NamespaceProof>(bytes) {
        let _ = proof.verify(NamespaceId(2), &MerkleRoot::ZERO);
    }
}

pub(super) fn confirmation(bytes: &[u8]) {
    let Some(confirmation) = canonical::<Confirmation>(bytes) else { return };
    if let Ok(trusted) = TrustedCommittee::from_genesis(&network().genesis) {
        let _ = verify(&confirmation, &trusted, network().genesis.time);
    }
}

pub(super) fn evidence(bytes: &[u8]) {
    if let Some(evidence) = canonical::<Evidence>(bytes) {
        let _ = evidence.verify(&network().domain, &EcdsaVerifier);
    }
}

pub(super) fn commit_certificate(bytes: &[u8]) {
    if let Some(certificate) = canonical::<CommitCertificate>(bytes) {
        let _ = certificate.verify(&network().domain, &network().committee, &EcdsaVerifier);
    }
}

pub(super) fn vote_certificate(bytes: &[u8]) {
    if let Some(certificate) = canonical::<VoteCertificate>(bytes) {
        let _ = certificate.verify(&network().domain, &network().committee, &EcdsaVerifier);
    }
}

pub(super) fn batch_certificate(bytes: &[u8]) {
    if let Some(certificate) = canonical::<BatchCertificate>(bytes) {
        let _ = certificate.verify(&network().domain, &network().committee, &EcdsaVerifier);
        let _ = certificate.tip();
    }
}

pub(super) fn merkle_proof(bytes: &[u8]) {
    if let Some(proof) = canonical::<MerkleProof>(bytes) {
        proof.root(&Digest::ZERO);
    }
}

pub(super) fn transaction(bytes: &[u8]) {
    if let Some(transaction) = canonical::<Transaction>(bytes) {
        assert_eq!(transaction.encoded_len(), bytes.len(), "a transaction misjudges its own length");
        transaction.id();
    }
}

pub(super) fn payload(bytes: &[u8]) {
    if let Ok(payload) = Payload::parse(Bytes::copy_from_slice(bytes)) {
        let packed = Payload::pack(payload.transactions().to_vec());
        assert_eq!(packed.bytes(), payload.bytes(), "a payload has two forms");
        assert_eq!(packed.root(), payload.root());
    }
}

pub(super) fn peer_binding(bytes: &[u8]) {
    if let Some(binding) = canonical::<Signed<PeerBinding>>(bytes) {
        let _ = binding.check(&network().domain, &EcdsaVerifier);
    }
}

pub(super) fn committee(bytes: &[u8]) {
    if let Some(committee) = canonical::<Committee>(bytes) {
        assert!(committee.is_quorum(committee.total()), "all of a committee is a quorum");
    }
}

pub(super) fn params(bytes: &[u8]) {
    if let Some(params) = canonical::<Params>(bytes) {
        params.max_batch_bytes(0);
    }
}

pub(super) fn namespace_spec(bytes: &[u8]) {
    if let Some(spec) = canonical::<NamespaceSpec>(bytes) {
        let mut genesis = network().genesis.clone();
        genesis.namespaces = vec![spec];
        let _ = genesis.check();
    }
}
