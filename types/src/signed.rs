//! Statements with signatures, and the mark of having been checked.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::keys::{Address, Domain, Signature, Signer, Statement, Verifier};
use serde::{Deserialize, Serialize};
use std::ops::Deref;
use std::sync::Arc;

/// A statement, who is said to have signed it, and the signature. Not checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What is stated.
    pub statement: T,
    /// Who is said to have signed.
    pub signer: Address,
    /// The signature.
    pub signature: Signature,
}

/// A signature that is not its signer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not {signer}'s over this {what}")]
pub struct BadSignature {
    /// Who was said to have signed.
    pub signer: Address,
    /// The kind of statement.
    pub what: &'static str,
}

impl<T: Statement> Signed<T> {
    /// Whether the signature is the signer's, and the statement one that can be made.
    pub fn check(&self, domain: &Domain, verifier: &dyn Verifier) -> Result<(), BadSignature> {
        if self.statement.is_sound() && verifier.verify(&domain.digest(&self.statement), &self.signer, &self.signature)
        {
            Ok(())
        } else {
            let what = std::any::type_name::<T>().rsplit("::").next().unwrap_or("statement");
            Err(BadSignature { signer: self.signer, what })
        }
    }

    /// Checks the signature and marks the statement as checked.
    pub fn verify(self, domain: &Domain, verifier: &dyn Verifier) -> Result<Verified<T>, BadSignature> {
        self.check(domain, verifier)?;
        Ok(Verified(Arc::new(self)))
    }
}

impl<T: Encode> Encode for Signed<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.statement.encode(out);
        self.signer.encode(out);
        self.signature.encode(out);
    }
}

impl<T: Decode> Decode for Signed<T> {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            statement: T::decode(reader)?,
            signer: Address::decode(reader)?,
            signature: Signature::decode(reader)?,
        })
    }
}

/// A signed statement whose signature was found to be its signer's. Whether the signer may say it is for the reader to judge.
///
/// Shared: it is kept in several places, from the core that counts it to the log, and none of them changes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified<T>(Arc<Signed<T>>);

impl<T> Clone for Verified<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Verified<T> {
    /// The statement with its signature.
    pub fn signed(&self) -> &Signed<T> {
        &self.0
    }

    /// The statement with its signature, shared.
    pub fn shared(&self) -> &Arc<Signed<T>> {
        &self.0
    }

    /// The statement with its signature.
    pub fn into_signed(self) -> Signed<T>
    where
        T: Clone,
    {
        Arc::unwrap_or_clone(self.0)
    }
}

impl<T: Statement> Verified<T> {
    /// Signs a statement of one's own.
    pub fn sign(statement: T, domain: &Domain, signer: &dyn Signer) -> Self {
        let signature = signer.sign(&domain.digest(&statement));
        Self(Arc::new(Signed { statement, signer: signer.address(), signature }))
    }

    /// Trusts a statement read back from this node's own durable log, which only took in checked ones.
    pub fn from_own_log(signed: impl Into<Arc<Signed<T>>>) -> Self {
        Self(signed.into())
    }
}

impl<T> Deref for Verified<T> {
    type Target = Signed<T>;
    fn deref(&self) -> &Signed<T> {
        &self.0
    }
}
