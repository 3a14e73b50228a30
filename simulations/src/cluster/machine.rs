//! What may be wrong with a node's machine: its processor, its disk, its clock.

use super::Cluster;
use crate::network::NodeIndex;
use squad_sequencer::Input;

impl Cluster {
    /// Stops a node for a while, without its noticing: a suspended machine.
    pub fn pause(&mut self, node: NodeIndex, ms: u64) {
        self.paused[node] = self.paused[node].max(self.now.plus_ms(ms));
    }

    /// Lets a node run again.
    pub fn unpause(&mut self, node: NodeIndex) {
        self.paused[node] = self.now;
    }

    /// Sets a node's clock this far off virtual time.
    pub fn set_skew(&mut self, node: NodeIndex, skew_ms: i64) {
        self.nodes[node].skew_ms = skew_ms;
        // The time it asked to be woken at means another moment now.
        self.input(node, Input::Wake);
    }

    /// Makes a node's syncs take this much longer, in microseconds; zero ends it.
    pub fn slow_disk(&mut self, node: NodeIndex, micros: u64) {
        self.slow_disks.insert(node, micros);
    }

    /// Makes a node's processor slower, in percent of what its work costs otherwise; 100 ends it.
    pub fn slow_cpu(&mut self, node: NodeIndex, percent: u64) {
        if let Some(cpu) = &mut self.cpus[node] {
            cpu.percent = percent;
        }
    }
}
