//! The settlement layer, where the genesis names one: its endpoints, the operator's stake there, and the account.

use super::{Check, fail, ok, warn};
use crate::cli::operator::{Layer, ether, span, tokens};
use crate::config::{KeySource, L1Config, NodeConfig};
use crate::keystore;
use squad_l1::{Address, Endpoints, EndpointsConfig, U256};
use squad_types::{Genesis, Settlement};
use std::time::Duration;

const NAME: &str = "settlement";
/// How far the newest final block may lie back, in seconds: Ethereum's is 13 to 20 minutes old when all is well.
const FINAL_AGE: u64 = 3_600;
/// What is granted to a piece of evidence, in gas, where it takes most: 0.8 million, and as much again for what changes meanwhile.
const SLASH_GAS: u64 = 1_400_000;

pub(super) async fn examine(config: &NodeConfig, genesis: &Genesis, key: Option<Address>) -> Vec<Check> {
    let Some(layer) = genesis.settlement else {
        return if config.l1.endpoints.is_empty() {
            Vec::new()
        } else {
            vec![fail(NAME, "l1.endpoints are set, and the genesis names no settlement layer: remove them")]
        };
    };
    if config.l1.endpoints.is_empty() {
        let detail =
            format!("stake is on chain {}: set l1.endpoints to JSON-RPC of several of its nodes", layer.chain_id);
        return vec![fail(NAME, detail)];
    }
    let mut checks = Vec::new();
    for url in &config.l1.endpoints {
        checks.push(endpoint(url, &config.l1, &layer).await);
    }
    if let [_] = config.l1.endpoints.as_slice() {
        checks.push(warn(
            NAME,
            "there is one endpoint, and it is believed: set l1.endpoints to several, of different people",
        ));
    }
    let agreed = match layer_of(config, genesis, layer).await {
        Ok(agreed) => agreed,
        Err(error) => {
            checks.push(fail(NAME, format!("{error:#}")));
            return checks;
        }
    };
    checks.push(finality(&agreed).await);
    checks.push(match key {
        Some(key) => stake(&agreed, key).await,
        None => warn(NAME, "this node's address is not known, so its stake is not either"),
    });
    checks.extend(account(config, &agreed).await);
    checks
}

fn endpoints(urls: &[String], agree: usize, l1: &L1Config, layer: &Settlement) -> Result<Endpoints, squad_l1::L1Error> {
    let timeout = Duration::from_millis(l1.timeout_ms);
    Endpoints::new(&EndpointsConfig { urls: urls.to_vec(), agree, timeout, chain_id: layer.chain_id })
}

/// One endpoint alone.
async fn endpoint(url: &String, l1: &L1Config, layer: &Settlement) -> Check {
    let one = match endpoints(std::slice::from_ref(url), 1, l1, layer) {
        Ok(one) => one,
        Err(error) => return fail(NAME, format!("{error}: correct l1.endpoints")),
    };
    let name = one.names().join(", ");
    match one.head().await {
        Ok(head) => ok(NAME, format!("{name} is on chain {}, at block {}", layer.chain_id, head.number)),
        Err(error) => warn(NAME, format!("{error}")),
    }
}

async fn layer_of(config: &NodeConfig, genesis: &Genesis, layer: Settlement) -> anyhow::Result<Layer> {
    let all = endpoints(&config.l1.endpoints, config.l1.agree, &config.l1, &layer)?;
    Layer::of(genesis.clone(), None, all, layer).await
}

async fn finality(layer: &Layer) -> Check {
    let newest = async {
        let number = layer.endpoints.finalized().await?;
        layer.endpoints.block(number).await
    };
    match newest.await {
        Ok(block) => {
            let (blocks, age) =
                (layer.head.number.saturating_sub(block.number), layer.head.timestamp.saturating_sub(block.timestamp));
            let detail = format!("the newest final block is {}, {blocks} behind ({})", block.number, span(age as f64));
            if age > FINAL_AGE {
                warn(
                    NAME,
                    format!("{detail}: stake that is newer does not count until the chain makes blocks final again"),
                )
            } else {
                ok(NAME, detail)
            }
        }
        Err(error) => warn(NAME, error.to_string()),
    }
}

/// Whether this node's key is an operator's, and one that counts.
async fn stake(layer: &Layer, key: Address) -> Check {
    let asked = async {
        let Some(owner) = layer.owner(key).await? else { return anyhow::Ok(None) };
        let standing = layer.contracts.standing(&layer.endpoints, &layer.head, owner).await?;
        Ok(Some((owner, standing)))
    };
    let (owner, standing) = match asked.await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let detail = format!(
                "nobody registered this node's key {key}: it follows. `squad operator register` enters the set"
            );
            return warn(NAME, detail);
        }
        Err(error) => return warn(NAME, format!("{error:#}")),
    };
    if standing.tombstoned {
        return fail(NAME, format!("operator {owner} was slashed, and is barred for good: stop this node"));
    }
    if !standing.member {
        return warn(
            NAME,
            format!("operator {owner} has left the set: `squad operator exit-status` says until when it answers"),
        );
    }
    if standing.key != key {
        let next = standing.next.filter(|next| next.key == key);
        return next.map_or_else(
            || {
                warn(
                    NAME,
                    format!(
                        "operator {owner} signs with {} now: this node's key {key} is an old one of its",
                        standing.key
                    ),
                )
            },
            |next| ok(NAME, format!("this node's key becomes operator {owner}'s at {}", layer.block(next.from))),
        );
    }
    let (weight, minimum) = (tokens(standing.weight), tokens(layer.contracts.minimum));
    if standing.weight < layer.contracts.minimum {
        let detail =
            format!("operator {owner} has {weight} tokens' weight at stake, and {minimum} is the least: allocate more");
        return warn(NAME, detail);
    }
    ok(
        NAME,
        format!(
            "operator {owner} is registered with this node's key, with {weight} tokens' weight (at least {minimum})"
        ),
    )
}

async fn account(config: &NodeConfig, layer: &Layer) -> Option<Check> {
    let source = config.l1.account.as_ref()?;
    let address = match source {
        KeySource::PlaintextDev { path } => keystore::read_plaintext(path).map(|secret| keystore::address_of(&secret)),
        KeySource::Keystore { path, .. } => keystore::read(path).map(|keystore| keystore.address()),
    };
    let address: Address = match address {
        Ok(Some(address)) => address.0.into(),
        Ok(None) => return Some(warn("account", "its keystore states no address, so its balance is not known")),
        Err(error) => return Some(fail("account", error.to_string())),
    };
    let balance = match layer.endpoints.balance(&layer.head, address).await {
        Ok(balance) => balance,
        Err(error) => return Some(warn("account", error.to_string())),
    };
    let needed = U256::from(SLASH_GAS) * U256::from(layer.head.base_fee.saturating_mul(2));
    let detail = format!("{address} holds {} ETH", ether(balance));
    Some(if balance < needed {
        warn("account", format!("{detail}, and one piece of evidence may cost {} ETH: send it some", ether(needed)))
    } else {
        ok("account", detail)
    })
}
