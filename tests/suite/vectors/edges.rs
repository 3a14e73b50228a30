//! The edges: frames and hellos of the peer-to-peer network, and what clients keep.

use super::blocks::namespace_block;
use super::book::Book;
use super::world::World;
use squad_client::{BlockVerifier, Checkpoint, TrustedCommittee};
use squad_net::{Answer, Away, decode_answer, encode_answer};
use squad_net::{Channel, Class, ExchangeEntry, Hello, decode_exchange, decode_hello, encode_exchange, encode_hello};
use squad_net::{decode_frame, encode_frame_header};
use squad_types::NamespaceId;

pub(crate) fn write(world: &World, book: &mut Book) {
    for channel in Channel::ALL {
        let payload = b"payload";
        let frame = [&encode_frame_header(channel, payload.len())[..], payload].concat();
        let again = move |bytes: &[u8]| match decode_frame(bytes, channel.class()) {
            Ok(Some((found, payload, []))) => Ok([&encode_frame_header(found, payload.len())[..], payload].concat()),
            other => Err(format!("{other:?}")),
        };
        book.bytes(&format!("frame.{}", channel.name()), frame, again);
    }
    let network = world.genesis.network_id();
    let (binding, record) = (Some(vec![1, 2, 3].into()), Some(vec![4, 5].into()));
    for (name, hello) in [
        ("member", Hello { class: Class::Control, network, binding, record }),
        ("follower", Hello { class: Class::Bulk, network, binding: None, record: None }),
    ] {
        let again = |bytes: &[u8]| decode_hello(bytes).map(|hello| encode_hello(&hello)).map_err(|e| e.to_string());
        book.bytes(&format!("hello.{name}"), encode_hello(&hello), again);
    }
    for (name, away) in [("contested", Away::Contested), ("held_elsewhere", Away::HeldElsewhere)] {
        let hello = Hello { class: Class::Control, network, binding: None, record: None };
        let again = |bytes: &[u8]| decode_answer(bytes).map(|answer| encode_answer(&answer)).map_err(|e| e.to_string());
        book.bytes(&format!("answer.{name}"), encode_answer(&Answer { hello, away: Some(away) }), again);
    }
    let entries = [ExchangeEntry { binding: vec![1, 2, 3].into(), record: vec![4, 5].into(), connected: true }];
    let again = |bytes: &[u8]| decode_exchange(bytes).map(|all| encode_exchange(&all)).map_err(|e| e.to_string());
    book.bytes("exchange", encode_exchange(&entries), again);
    clients(world, book);
}

fn clients(world: &World, book: &mut Book) {
    let trusted = TrustedCommittee::from_genesis(&world.genesis).unwrap();
    book.wire("trusted_committee", &trusted);
    let again =
        |text: &str| TrustedCommittee::from_json(text).map(|trusted| trusted.to_json()).map_err(|e| e.to_string());
    book.json_text("trusted_committee_json", &trusted.to_json(), again);
    let mut verifier = BlockVerifier::from_genesis(&world.genesis, NamespaceId(2)).unwrap();
    let block = verifier.verify(namespace_block(world, NamespaceId(2))).unwrap();
    let again = |bytes: &[u8]| {
        let checkpoint = Checkpoint::from_bytes(bytes.to_vec().into()).map_err(|error| error.to_string())?;
        Ok(checkpoint.to_bytes().to_vec())
    };
    book.bytes("client_checkpoint", block.checkpoint().to_bytes().to_vec(), again);
}
