//! The lanes of the epochs in force, found by their places.

use crate::lane::Lane;
use squad_types::{Epoch, LaneId};

/// Lanes in ascending order of epoch and author. There are two epochs at most, and every statement of a peer looks for lanes.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    epochs: Vec<(Epoch, Vec<Lane>)>,
}

impl Lanes {
    /// Adds the lanes of an epoch that has none yet, in the order of its committee.
    pub(crate) fn open(&mut self, epoch: Epoch, lanes: Vec<Lane>) {
        let at = self.epochs.partition_point(|(known, _)| *known < epoch);
        self.epochs.insert(at, (epoch, lanes));
    }

    /// Drops whole epochs.
    pub(crate) fn retain(&mut self, keep: impl Fn(Epoch) -> bool) {
        self.epochs.retain(|(epoch, _)| keep(*epoch));
    }

    /// The lanes of an epoch, in the order of its committee.
    pub(crate) fn of(&self, epoch: Epoch) -> Option<&[Lane]> {
        self.epochs.iter().find(|(at, _)| *at == epoch).map(|(_, lanes)| lanes.as_slice())
    }

    pub(crate) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.of(id.epoch)?.get(id.author.position())
    }

    pub(crate) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        let (_, lanes) = self.epochs.iter_mut().find(|(at, _)| *at == id.epoch)?;
        lanes.get_mut(id.author.position())
    }

    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &Lane> {
        self.epochs.iter().flat_map(|(_, lanes)| lanes)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.epochs.iter_mut().flat_map(|(_, lanes)| lanes)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = LaneId> {
        self.values().map(|lane| lane.id)
    }
}
