//! Makes genesis files.

use squad_types::{
    Address, Genesis, GenesisError, Member, NamespaceId, NamespaceKind, NamespaceSpec, OrderingPolicy, Params,
    Settlement, Stake, Timestamp, WriteAccess,
};

/// The chain id of the development network's namespace `evm`.
pub const DEVNET_CHAIN_ID: u64 = 7331;
/// The chain id of the development network's namespace `auction`.
pub const DEVNET_AUCTION_CHAIN_ID: u64 = 7332;

/// The largest transaction of a namespace, unless its line says otherwise: Ethereum's own pools take 128 KiB.
const MAX_TRANSACTION_BYTES: u32 = 128 * 1024;
/// Bytes a second that one operator admits for a namespace, unless its line says otherwise.
const QUOTA: u64 = 64 * 1024 * 1024;
/// The same on a development network, where nobody is to be kept out.
const DEVNET_QUOTA: u64 = 1024 * 1024 * 1024;

/// A namespace with the usual limits.
pub fn namespace(id: u32, name: &str, kind: NamespaceKind, policy: OrderingPolicy) -> NamespaceSpec {
    NamespaceSpec {
        id: NamespaceId(id),
        name: name.to_owned(),
        kind,
        policy,
        access: WriteAccess::Everybody,
        max_transaction_bytes: MAX_TRANSACTION_BYTES,
        quota_bytes_per_second: QUOTA,
    }
}

/// Puts a genesis together, with members and namespaces in their canonical order, and checks it.
///
/// # Errors
/// Whatever [`Genesis::check`] finds.
pub fn assemble(
    name: &str,
    time: Timestamp,
    params: Params,
    namespaces: Vec<NamespaceSpec>,
    validators: Vec<Member>,
) -> Result<Genesis, GenesisError> {
    let mut genesis = Genesis { name: name.to_owned(), time, params, namespaces, validators, settlement: None };
    genesis.validators.sort();
    genesis.namespaces.sort_by_key(|namespace| namespace.id);
    genesis.check()?;
    Ok(genesis)
}

/// What to tell an operator whose clock lies before the genesis by more than clocks may differ; none otherwise.
pub fn begins_later(genesis: &Genesis) -> Option<String> {
    let (now, begin) = (crate::cli::now(), genesis.time);
    let left = begin.since(now);
    (left > u64::from(genesis.params.clock_bound_ms)).then(|| {
        format!(
            "the genesis of network '{}' lies {:.1} s in the future by this machine's clock ({begin} and {now} ms since 1970): \
             if the network begins then, start the node then; if it runs already, set the clock, with NTP for instance",
            genesis.name,
            left as f64 / 1000.0
        )
    })
}

/// The genesis of a development network: every operator with the same stake, and one namespace of each sort:
/// `evm` (1, chain id 7331, fifo), `bytes` (2, opaque, fifo), `auction` (3, chain id 7332, priority-fee) and
/// `lottery` (4, opaque, shuffled).
///
/// # Errors
/// Operators that are no committee: none, too many, or one twice.
pub fn devnet_genesis(operators: &[Address], time: Timestamp) -> Result<Genesis, GenesisError> {
    let validators = operators.iter().map(|address| Member { address: *address, stake: Stake(100) }).collect();
    assemble("devnet", time, Params::default(), devnet_namespaces(), validators)
}

/// The genesis of a development network whose stake is on a settlement layer. Its epochs are short, so that a change of stake
/// shows soon: 16 heights, which an idle network takes as many seconds for.
///
/// # Errors
/// Operators that are no committee; a settlement layer that cannot be one.
pub fn devnet_l1_genesis(
    validators: Vec<Member>,
    time: Timestamp,
    settlement: Settlement,
) -> Result<Genesis, GenesisError> {
    let params = Params { epoch_heights: 16, epoch_ms: 10_000, ..Params::default() };
    let mut genesis = assemble("devnet", time, params, devnet_namespaces(), validators)?;
    genesis.settlement = Some(settlement);
    genesis.check()?;
    Ok(genesis)
}

fn devnet_namespaces() -> Vec<NamespaceSpec> {
    let evm = |chain_id| NamespaceKind::Evm { chain_id };
    let mut namespaces = vec![
        namespace(1, "evm", evm(DEVNET_CHAIN_ID), OrderingPolicy::Fifo),
        namespace(2, "bytes", NamespaceKind::Opaque, OrderingPolicy::Fifo),
        namespace(3, "auction", evm(DEVNET_AUCTION_CHAIN_ID), OrderingPolicy::PriorityFee),
        namespace(4, "lottery", NamespaceKind::Opaque, OrderingPolicy::Shuffled),
    ];
    namespaces.iter_mut().for_each(|namespace| namespace.quota_bytes_per_second = DEVNET_QUOTA);
    namespaces
}

/// Reads a validator from `ADDRESS:STAKE`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_validator(text: &str) -> Result<Member, String> {
    let expected = "use ADDRESS:STAKE, such as 0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266:100";
    let (address, stake) = text.split_once(':').ok_or_else(|| format!("'{text}' has no stake: {expected}"))?;
    let address = address.to_lowercase().parse().map_err(|error| format!("{error}: {expected}"))?;
    let stake: u64 = stake.parse().map_err(|_| format!("stake '{stake}' is no whole number: {expected}"))?;
    if stake == 0 {
        return Err(format!("the stake of {address} is zero: a validator needs some"));
    }
    Ok(Member { address, stake: Stake(stake) })
}

/// A namespace as a command line gives it; its id is its place in the list, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceLine {
    /// Its name.
    pub name: String,
    /// What its transactions are.
    pub kind: NamespaceKind,
    /// How they are ordered.
    pub policy: OrderingPolicy,
}

/// Reads a namespace from `NAME:evm:CHAINID[:POLICY]` or `NAME:opaque[:POLICY]`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_namespace(text: &str) -> Result<NamespaceLine, String> {
    let expected = "use NAME:evm:CHAINID[:POLICY] or NAME:opaque[:POLICY]; policies are fifo, priority-fee, shuffled";
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().to_owned();
    let kind = match parts.next() {
        Some("opaque") => NamespaceKind::Opaque,
        Some("evm") => {
            let chain_id = parts.next().ok_or_else(|| format!("'{text}' has no chain id: {expected}"))?;
            let chain_id =
                chain_id.parse().map_err(|_| format!("chain id '{chain_id}' is no whole number: {expected}"))?;
            NamespaceKind::Evm { chain_id }
        }
        other => return Err(format!("'{}' is no kind of namespace: {expected}", other.unwrap_or_default())),
    };
    let policy = match parts.next() {
        None | Some("fifo") => OrderingPolicy::Fifo,
        Some("priority-fee") => OrderingPolicy::PriorityFee,
        Some("shuffled") => OrderingPolicy::Shuffled,
        Some(other) => return Err(format!("'{other}' is no policy: {expected}")),
    };
    match parts.next() {
        None => Ok(NamespaceLine { name, kind, policy }),
        Some(extra) => Err(format!("'{extra}' is too much in '{text}': {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_genesis_is_sound_whatever_the_order_of_its_operators() {
        let (a, b) = (Address([1; 20]), Address([2; 20]));
        let genesis = devnet_genesis(&[b, a], Timestamp(5)).unwrap();
        assert_eq!(genesis.network_id(), devnet_genesis(&[a, b], Timestamp(5)).unwrap().network_id());
        assert_eq!(genesis.namespaces.len(), 4);
        assert!(devnet_genesis(&[a, a], Timestamp(5)).is_err());
        assert!(devnet_genesis(&[], Timestamp(5)).is_err());
    }

    #[test]
    fn a_genesis_survives_its_json_form() {
        let genesis = devnet_genesis(&[Address([1; 20])], Timestamp(5)).unwrap();
        let text = serde_json::to_string(&genesis).unwrap();
        assert_eq!(serde_json::from_str::<Genesis>(&text).unwrap(), genesis);
    }

    #[test]
    fn lines_are_read_and_wrong_ones_say_what_is_expected() {
        let line = parse_namespace("shop:evm:10:priority-fee").unwrap();
        assert_eq!((line.kind, line.policy), (NamespaceKind::Evm { chain_id: 10 }, OrderingPolicy::PriorityFee));
        assert_eq!(parse_namespace("files:opaque").unwrap().policy, OrderingPolicy::Fifo);
        for wrong in ["shop", "shop:evm", "shop:evm:x", "shop:wasm", "shop:opaque:lifo", "shop:opaque:fifo:more"] {
            assert!(parse_namespace(wrong).unwrap_err().contains("NAME:evm:CHAINID"), "{wrong}");
        }
        assert!(parse_validator("0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266:7").is_ok());
        for wrong in
            ["0x12:1", "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266", "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266:0"]
        {
            assert!(parse_validator(wrong).is_err(), "{wrong}");
        }
    }
}
