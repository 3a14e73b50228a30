//! What is kept in memory of recent batches and blocks, so that proofs are made only for those who ask.

use squad_sequencer::Decision;
use squad_sequencer::ledger::NamespaceExecution;
use squad_types::merkle::Tree;
use squad_types::{
    BatchCertificate, Batched, Confirmation, Digest, Evidenced, IdentifiedTransaction, MerkleProof, NamespaceId,
    NamespaceProof, NetworkId, Ordered, Secured, TransactionRef, TxId, VerifiedBatch,
};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A tree over transactions and the place of each, made when the first proof is asked for.
#[derive(Default)]
struct Places(OnceLock<(Tree, HashMap<TxId, usize>)>);

impl Places {
    fn of<'a>(&self, transactions: impl Iterator<Item = &'a IdentifiedTransaction>) -> &(Tree, HashMap<TxId, usize>) {
        self.0.get_or_init(|| {
            let ids: Vec<TxId> = transactions.map(|tx| tx.id).collect();
            let leaves = ids.iter().map(|id| Digest(id.0)).collect();
            (Tree::new(leaves), ids.into_iter().zip(0..).collect())
        })
    }

    fn prove<'a>(
        &self,
        mut transactions: impl Iterator<Item = &'a IdentifiedTransaction> + Clone,
        id: &TxId,
    ) -> Option<(TransactionRef, MerkleProof)> {
        let (tree, places) = self.of(transactions.clone());
        let at = *places.get(id)?;
        Some((transactions.nth(at)?.transaction.reference(), tree.prove(at)?))
    }
}

/// A batch of this operator that is not ordered yet.
pub(crate) struct KeptBatch {
    pub(crate) batch: VerifiedBatch,
    pub(crate) certificate: Option<Arc<BatchCertificate>>,
    /// When the first of its transactions came in.
    pub(crate) arrived: Instant,
    places: Places,
}

impl KeptBatch {
    pub(crate) fn new(batch: VerifiedBatch, arrived: Instant) -> Self {
        Self { batch, certificate: None, arrived, places: Places::default() }
    }

    /// Whether it holds a transaction.
    pub(crate) fn holds(&self, id: &TxId) -> bool {
        self.places.of(self.batch.payload().transactions().iter()).1.contains_key(id)
    }

    /// T1 if it is certified, T0 otherwise; none if the transaction is not in it.
    pub(crate) fn confirm(&self, network_id: NetworkId, id: &TxId) -> Option<Confirmation> {
        let (transaction, proof) = self.places.prove(self.batch.payload().transactions().iter(), id)?;
        let evidenced = match &self.certificate {
            Some(certificate) => Evidenced::Secured(Secured { certificate: (**certificate).clone(), proof }),
            None => Evidenced::Batched(Batched { header: self.batch.signed_header().clone(), proof }),
        };
        Some(Confirmation { network_id, transaction, evidenced })
    }
}

/// A decided block with everything in it.
pub(crate) struct KeptBlock {
    pub(crate) decision: Decision,
    places: Vec<Places>,
    /// Bytes of its transactions' data, namespace by namespace.
    pub(crate) data_bytes: Vec<u64>,
    /// Bytes of its transactions, for the bound on what is kept.
    pub(crate) bytes: usize,
}

impl KeptBlock {
    pub(crate) fn new(decision: Decision) -> Self {
        let parts = &decision.execution.namespaces;
        let (mut bytes, mut data_bytes) = (0, Vec::with_capacity(parts.len()));
        for part in parts {
            let mut data = 0;
            for tx in &part.transactions {
                bytes += tx.transaction.encoded_len();
                data += tx.transaction.data.len() as u64;
            }
            data_bytes.push(data);
        }
        let places = parts.iter().map(|_| Places::default()).collect();
        Self { decision, places, data_bytes, bytes }
    }

    fn parts(&self) -> impl Iterator<Item = (&NamespaceExecution, &Places)> {
        self.decision.execution.namespaces.iter().zip(&self.places)
    }

    /// T2; none if the transaction is not in it. `namespace` saves looking through the others.
    pub(crate) fn confirm(&self, namespace: Option<NamespaceId>, id: &TxId) -> Option<Confirmation> {
        let wanted = |part: &NamespaceExecution| namespace.is_none_or(|wanted| part.leaf.namespace == wanted);
        let (part, (transaction, proof)) = self
            .parts()
            .filter(|(part, _)| wanted(part))
            .find_map(|(part, places)| Some((part, places.prove(part.transactions.iter(), id)?)))?;
        let block = &self.decision.block;
        let header = block.block.header();
        let evidenced = Evidenced::Ordered(Box::new(Ordered {
            header: header.clone(),
            certificate: block.certificate.clone(),
            namespace_proof: NamespaceProof::build(&self.decision.execution.leaves(), part.leaf.namespace),
            proof,
        }));
        Some(Confirmation { network_id: header.network_id, transaction, evidenced })
    }
}
