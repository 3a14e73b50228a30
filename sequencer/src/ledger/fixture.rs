//! What the ledger's tests build chains from.

use squad_types::*;

pub(super) fn address(at: u16) -> Address {
    let mut address = Address::ZERO;
    address.0[..2].copy_from_slice(&at.to_be_bytes());
    address.0[2] = 1;
    address
}

/// A genesis of equal validators with an opaque fifo, an opaque shuffled and a fee-ordered EVM namespace.
pub(super) fn genesis(validators: u16) -> Genesis {
    let spec = |id: u32, kind, policy| NamespaceSpec {
        id: NamespaceId(id),
        name: format!("ns-{id}"),
        kind,
        policy,
        access: WriteAccess::Everybody,
        max_transaction_bytes: 4_096,
        quota_bytes_per_second: 1 << 20,
    };
    let members = (0..validators).map(|at| Member { address: address(at), stake: Stake(1_000) });
    Genesis {
        name: "test".into(),
        time: Timestamp(1_000_000),
        params: Params { epoch_heights: 16, epoch_ms: 1_000, window_ms: 2_000, ..Params::default() },
        namespaces: vec![
            spec(1, NamespaceKind::Opaque, OrderingPolicy::Fifo),
            spec(4, NamespaceKind::Opaque, OrderingPolicy::Shuffled),
            spec(9, NamespaceKind::Evm { chain_id: 7 }, OrderingPolicy::PriorityFee),
        ],
        validators: members.collect(),
    }
}
