//! Where a node is, in the form that the settlement layer keeps it.

use anyhow::{Context as _, ensure};
use squad_l1::Report;
use squad_net::{Identity, Multiaddr, PeerId};
use std::path::Path;

/// What the registrar takes: so many addresses, of so many bytes each.
const MOST_ADDRESSES: usize = 8;
const LONGEST_ADDRESS: usize = 256;

/// A node's peer id and multiaddrs. The peer id is that of the data directory, unless one is given.
///
/// # Errors
/// What is wrong with any of them, and what to do.
pub(crate) fn report(data_dir: Option<&Path>, peer: Option<&str>, addresses: &[String]) -> anyhow::Result<Report> {
    let peer: PeerId = match (peer, data_dir) {
        (Some(text), _) => text.parse().with_context(|| {
            format!("'{text}' is no libp2p peer id: a node prints its own when it starts, such as 12D3KooW…")
        })?,
        (None, None) => anyhow::bail!("which node is it? give --config, or its libp2p peer id with --peer-id"),
        (None, Some(dir)) => {
            let path = dir.join("network-identity");
            ensure!(
                path.exists(),
                "{} is not there: start the node once, which makes it, or give --peer-id",
                path.display()
            );
            Identity::load(&path)?.peer_id()
        }
    };
    ensure!(
        !addresses.is_empty() && addresses.len() <= MOST_ADDRESSES,
        "{} addresses: give one to {MOST_ADDRESSES} with --address, such as /dns4/node.example.org/tcp/7700",
        addresses.len()
    );
    let read = |text: &String| {
        let address: Multiaddr = text
            .parse()
            .with_context(|| format!("'{text}' is no multiaddr: use one such as /ip4/192.0.2.1/tcp/7700"))?;
        let bytes = address.to_vec();
        ensure!(
            !bytes.is_empty() && bytes.len() <= LONGEST_ADDRESS,
            "'{text}' takes {} bytes: use one of 1 to {LONGEST_ADDRESS}",
            bytes.len()
        );
        Ok(bytes)
    };
    Ok(Report { peer: peer.to_bytes(), addresses: addresses.iter().map(read).collect::<anyhow::Result<_>>()? })
}

/// The same as text; what is no peer id or multiaddr, in hex.
pub(crate) fn shown(peer: &[u8], addresses: &[&[u8]]) -> (String, Vec<String>) {
    let hex = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    let address =
        |bytes: &&[u8]| Multiaddr::try_from(bytes.to_vec()).map_or_else(|_| hex(bytes), |text| text.to_string());
    let peer = PeerId::from_bytes(peer).map_or_else(|_| hex(peer), |peer| peer.to_string());
    (peer, addresses.iter().map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_place_survives_its_binary_form() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = vec!["/ip4/192.0.2.1/tcp/7700".to_owned(), "/dns4/node.example.org/tcp/1".to_owned()];
        let missing = report(Some(dir.path()), None, &addresses).unwrap_err().to_string();
        assert!(missing.contains("start the node once"), "{missing}");
        let peer = Identity::load_or_generate(&dir.path().join("network-identity")).unwrap().peer_id();
        for given in [None, Some(peer.to_string())] {
            let report = report(Some(dir.path()), given.as_deref(), &addresses).unwrap();
            let bytes: Vec<&[u8]> = report.addresses.iter().map(Vec::as_slice).collect();
            assert_eq!(shown(&report.peer, &bytes), (peer.to_string(), addresses.clone()));
        }
        assert_eq!(shown(&[1, 2], &[&[0xff]]), ("0x0102".to_owned(), vec!["0xff".to_owned()]));
    }

    #[test]
    fn what_the_registrar_would_refuse_is_said_before() {
        let peer = Some("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA");
        let refused = |peer, addresses: &[String]| report(None, peer, addresses).unwrap_err().to_string();
        assert!(refused(None, &[]).contains("--peer-id"));
        assert!(refused(Some("me"), &[]).contains("'me' is no libp2p peer id"));
        assert!(refused(peer, &[]).contains("0 addresses"));
        assert!(refused(peer, &["here".to_owned()]).contains("'here' is no multiaddr"));
        assert!(refused(peer, &vec!["/tcp/1".to_owned(); 9]).contains("9 addresses"));
        assert!(refused(peer, &[format!("/dns4/{}", "x".repeat(300))]).contains("takes 30"));
    }
}
