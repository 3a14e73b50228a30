//! The judge of evidence, on a chain of its own, and what Rust says of the same bytes.

use crate::common::Deployed;
use bytes::Bytes;
use squad_contracts::Judged;
use squad_types::{Decode as _, Domain, EcdsaVerifier, Evidence, NetworkId};

pub(crate) struct Judge(Deployed);

impl Judge {
    pub(crate) fn deploy(network: &NetworkId) -> Self {
        Self(Deployed::create(squad_contracts::evidence_verifier().create_for(network), 0))
    }

    /// What the contract says, and the gas that it took.
    pub(crate) fn judge(&mut self, evidence: &[u8]) -> (Option<Judged>, u64) {
        let result = self.0.call(squad_contracts::judge(evidence));
        let answer = result.is_success().then(|| squad_contracts::judged(result.output().unwrap()).unwrap());
        (answer, result.tx_gas_used())
    }
}

pub(crate) fn by_rust(domain: &Domain, bytes: &[u8]) -> Option<Judged> {
    let evidence = Evidence::from_bytes(Bytes::copy_from_slice(bytes)).ok()?;
    let operator = evidence.verify(domain, &EcdsaVerifier).ok()?;
    Some(Judged { operator, incident: evidence.incident(&domain.network()).unwrap().0 })
}
