//! Says nothing, while it listens.

use super::{Behaviour, Tools};
use crate::network::NodeIndex;
use squad_types::Message;
use std::sync::Arc;

/// Sends nothing at all.
#[derive(Debug, Default)]
pub struct Silent;

impl Behaviour for Silent {
    fn rewrite(&mut self, _: NodeIndex, _: &Arc<Message>, _: &Tools<'_>) -> Vec<Arc<Message>> {
        Vec::new()
    }
}
