//! Follows the chain height by height: never skipping, at the reader's own pace.

use super::backend::{Backend, CertifiedHeader};
use super::rejection::{RejectCode, Rejected};
use squad_types::{Height, NamespaceBlock, NamespaceId};
use std::sync::Arc;
use tokio::sync::watch;

/// A place in the chain that moves up by one height at a time.
pub struct Follower {
    backend: Arc<dyn Backend>,
    tip: watch::Receiver<Height>,
    next: Height,
}

impl Follower {
    /// Starts at `from`; without one, at the first height that is not decided yet. Height 0 is the genesis and has no block.
    pub fn new(backend: Arc<dyn Backend>, from: Option<Height>) -> Self {
        let tip = backend.tip();
        let next = from.unwrap_or_else(|| tip.borrow().next()).max(Height(1));
        Self { backend, tip, next }
    }

    /// The height that comes next.
    pub fn next_height(&self) -> Height {
        self.next
    }

    async fn decided(&mut self) -> Result<(), Rejected> {
        let next = self.next;
        let stopped =
            |_| Rejected::new(RejectCode::ShuttingDown, "the node is going down: go on with another operator");
        self.tip.wait_for(|tip| *tip >= next).await.map(|_| ()).map_err(stopped)
    }

    fn advance<T>(&mut self, found: Option<T>) -> Result<T, Rejected> {
        let gone =
            || Rejected::new(RejectCode::Internal, format!("height {} is decided but cannot be read", self.next));
        let found = found.ok_or_else(gone)?;
        self.next = self.next.next();
        Ok(found)
    }

    /// The next block of a namespace, once it is decided. Cancelling loses nothing.
    ///
    /// # Errors
    /// `Pruned` for a height that is no longer kept, `UnknownNamespace`, or `ShuttingDown`. It stays at its height.
    pub async fn block(&mut self, namespace: NamespaceId) -> Result<Arc<NamespaceBlock>, Rejected> {
        self.decided().await?;
        let found = self.backend.namespace_block(namespace, self.next).await?;
        self.advance(found)
    }

    /// The next header, once it is decided. Cancelling loses nothing.
    ///
    /// # Errors
    /// As [`Follower::block`].
    pub async fn header(&mut self) -> Result<CertifiedHeader, Rejected> {
        self.decided().await?;
        let found = self.backend.header(self.next).await?;
        self.advance(found)
    }
}
