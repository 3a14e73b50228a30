//! Says nothing, while it listens.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Message, Response};
use std::sync::Arc;

/// Sends nothing and answers nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Behaviour for Silent {
    fn rewrite(&mut self, _: NodeIndex, _: &Arc<Message>, _: &mut Tools<'_>) -> Vec<Sent> {
        Vec::new()
    }

    fn answers(&mut self, _: NodeIndex, _: Response, _: &mut Tools<'_>) -> Option<Response> {
        None
    }
}
