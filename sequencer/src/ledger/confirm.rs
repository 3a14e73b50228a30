//! Confirmations and a namespace's view of a block, built from what was ordered.

use super::execution::{Execution, NamespaceExecution};
use squad_types::{
    BatchCertificate, Batched, Confirmation, Digest, Evidenced, IdentifiedTransaction, MerkleProof, NamespaceBlock,
    NamespaceId, NamespaceLeaf, NamespaceProof, NetworkId, Ordered, OrderedBlock, Secured, TransactionRef, TxId,
    VerifiedBatch, merkle,
};

/// A block as one namespace sees it, with the proof that nothing is missing, or that there is nothing.
///
/// `namespaces` is the block's execution, or [`super::recompute`]d.
pub fn namespace_block(
    ordered: &OrderedBlock,
    namespaces: &[NamespaceExecution],
    namespace: NamespaceId,
) -> NamespaceBlock {
    let own = namespaces.iter().find(|part| part.leaf.namespace == namespace);
    NamespaceBlock {
        header: ordered.block.header().clone(),
        certificate: ordered.certificate.clone(),
        next_committee: ordered.block.next_committee().map(<[_]>::to_vec),
        namespace,
        proof: NamespaceProof::build(&leaves(namespaces), namespace),
        transactions: own
            .map_or_else(Vec::new, |part| part.transactions.iter().map(|tx| tx.transaction.clone()).collect()),
    }
}

/// T2: the final position of a transaction. None if the block does not hold it.
pub fn ordered_confirmation(
    ordered: &OrderedBlock,
    namespaces: &[NamespaceExecution],
    namespace: NamespaceId,
    id: &TxId,
) -> Option<Confirmation> {
    let own = namespaces.iter().find(|part| part.leaf.namespace == namespace)?;
    let (transaction, proof) = prove(own.transactions.iter(), id)?;
    let evidenced = Evidenced::Ordered(Box::new(Ordered {
        header: ordered.block.header().clone(),
        certificate: ordered.certificate.clone(),
        namespace_proof: NamespaceProof::build(&leaves(namespaces), namespace),
        proof,
    }));
    Some(Confirmation { network_id: ordered.block.header().network_id, transaction, evidenced })
}

/// T0: its operator's word. None if the batch does not hold it.
pub fn batched_confirmation(network: NetworkId, batch: &VerifiedBatch, id: &TxId) -> Option<Confirmation> {
    let (transaction, proof) = prove(batch.payload().transactions().iter(), id)?;
    let evidenced = Evidenced::Batched(Batched { header: batch.signed_header().clone(), proof });
    Some(Confirmation { network_id: network, transaction, evidenced })
}

/// T1: a quorum holds it. None if the batch does not hold it or is not the one that is certified.
pub fn secured_confirmation(
    network: NetworkId,
    certificate: BatchCertificate,
    batch: &VerifiedBatch,
    id: &TxId,
) -> Option<Confirmation> {
    if certificate.tip() != Some(batch.tip()) {
        return None;
    }
    let (transaction, proof) = prove(batch.payload().transactions().iter(), id)?;
    Some(Confirmation {
        network_id: network,
        transaction,
        evidenced: Evidenced::Secured(Secured { certificate, proof }),
    })
}

impl Execution {
    /// The block as one namespace sees it.
    pub fn namespace_block(&self, ordered: &OrderedBlock, namespace: NamespaceId) -> NamespaceBlock {
        namespace_block(ordered, &self.namespaces, namespace)
    }
}

fn leaves(namespaces: &[NamespaceExecution]) -> Vec<NamespaceLeaf> {
    namespaces.iter().map(|part| part.leaf).collect()
}

fn prove<'a>(
    mut transactions: impl Iterator<Item = &'a IdentifiedTransaction> + Clone,
    id: &TxId,
) -> Option<(TransactionRef, MerkleProof)> {
    let leaves: Vec<Digest> = transactions.clone().map(|tx| Digest(tx.id.0)).collect();
    let at = leaves.iter().position(|leaf| leaf.0 == id.0)?;
    Some((transactions.nth(at)?.transaction.reference(), merkle::prove(&leaves, at)?))
}
