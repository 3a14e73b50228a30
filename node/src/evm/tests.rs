use super::*;
use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Bytes, Signature, TxKind, U256, b256, hex};
use secp256k1::SecretKey;

/// The first account of the mnemonic `test test … junk`.
const SENDER: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const SECRET: [u8; 32] = b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").0;
const CHAIN: u64 = 7331;

fn signature(hash: B256) -> Signature {
    let key = SecretKey::from_byte_array(SECRET).unwrap();
    let (id, compact) = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(hash.0), &key).serialize_compact();
    Signature::new(U256::from_be_slice(&compact[..32]), U256::from_be_slice(&compact[32..]), i32::from(id) == 1)
}

fn sign<T: SignableTransaction<Signature>>(tx: T) -> Vec<u8>
where
    Signed<T>: Encodable2718,
{
    let signature = signature(tx.signature_hash());
    tx.into_signed(signature).encoded_2718()
}

fn dynamic(chain_id: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id,
        nonce: 7,
        gas_limit: 21_000,
        max_fee_per_gas: 30,
        max_priority_fee_per_gas: 4,
        to: TxKind::Call([9; 20].into()),
        value: U256::from(1),
        access_list: AccessList::default(),
        input: Bytes::new(),
    }
}

fn code(result: Result<EvmFacts, Rejected>) -> RejectCode {
    result.unwrap_err().code
}

#[test]
fn the_sender_nonce_fee_and_hash_of_every_type_are_read() {
    let legacy = TxLegacy { chain_id: Some(CHAIN), nonce: 1, gas_price: 11, gas_limit: 21_000, ..Default::default() };
    let listed = TxEip2930 { chain_id: CHAIN, nonce: 2, gas_price: 12, gas_limit: 21_000, ..Default::default() };
    let capped = TxEip1559 { max_fee_per_gas: 3, ..dynamic(CHAIN) };
    let setting =
        TxEip7702 { chain_id: CHAIN, nonce: 5, max_fee_per_gas: 9, max_priority_fee_per_gas: 8, ..Default::default() };
    for (bytes, nonce, fee) in [
        (sign(legacy), 1, 11),
        (sign(listed), 2, 12),
        (sign(dynamic(CHAIN)), 7, 4),
        (sign(capped), 7, 3),
        (sign(setting), 5, 8),
    ] {
        let facts = check(&bytes, CHAIN).unwrap();
        assert_eq!(facts.sender.to_string(), SENDER);
        assert_eq!((facts.nonce, facts.fee), (nonce, fee));
        assert_eq!(facts.hash, squad_types::hash::keccak256(&bytes));
    }
}

#[test]
fn the_example_of_eip_155_is_accepted_as_its_authors_say() {
    // https://eips.ethereum.org/EIPS/eip-155: key 0x46…46, chain id 1.
    let bytes = hex!(
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    );
    let facts = check(&bytes, 1).unwrap();
    assert_eq!(facts.sender.to_string(), "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f");
    assert_eq!((facts.nonce, facts.fee), (9, 20_000_000_000));
    assert_eq!(code(check(&bytes, CHAIN)), RejectCode::WrongChainId);
}

#[test]
fn another_chain_and_no_chain_are_refused() {
    let refusal = check(&sign(dynamic(1)), CHAIN).unwrap_err();
    assert_eq!(refusal.code, RejectCode::WrongChainId);
    assert!(refusal.reason.contains("chain id 1,") && refusal.reason.contains("7331"), "{refusal}");
    let unprotected = TxLegacy { chain_id: None, ..Default::default() };
    assert_eq!(code(check(&sign(unprotected), CHAIN)), RejectCode::WrongChainId);
}

#[test]
fn a_high_s_is_refused_and_a_zero_signature_too() {
    let tx = dynamic(CHAIN);
    let low = signature(tx.signature_hash());
    let order = U256::from_be_bytes(b256!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").0);
    let high = Signature::new(low.r(), order - low.s(), !low.v());
    assert_eq!(code(check(&tx.clone().into_signed(high).encoded_2718(), CHAIN)), RejectCode::BadSignature);
    let zero = Signature::new(U256::ZERO, U256::ZERO, false);
    assert_eq!(code(check(&tx.into_signed(zero).encoded_2718(), CHAIN)), RejectCode::BadSignature);
}

#[test]
fn a_changed_transaction_has_another_sender() {
    let tx = dynamic(CHAIN);
    let signature = signature(tx.signature_hash());
    let changed = TxEip1559 { value: U256::from(2), ..tx };
    // A signature over other bytes recovers to somebody else, or to nobody; never to the signer.
    let outcome = check(&changed.into_signed(signature).encoded_2718(), CHAIN);
    assert!(outcome.is_err() || outcome.is_ok_and(|facts| facts.sender.to_string() != SENDER));
}

#[test]
fn blobs_unknown_types_and_rubbish_are_refused_each_in_its_own_way() {
    assert_eq!(code(check(&[3, 0xc0], CHAIN)), RejectCode::BlobUnsupported);
    assert_eq!(code(check(&[5, 0xc0], CHAIN)), RejectCode::TypeUnsupported);
    assert_eq!(code(check(&[0x7f], CHAIN)), RejectCode::TypeUnsupported);
    assert_eq!(code(check(&[], CHAIN)), RejectCode::Empty);
    assert_eq!(code(check(&[2, 0xc0], CHAIN)), RejectCode::MalformedRlp);
    let mut longer = sign(dynamic(CHAIN));
    longer.push(0);
    assert_eq!(code(check(&longer, CHAIN)), RejectCode::MalformedRlp);
    let shorter = &sign(dynamic(CHAIN))[..40];
    assert_eq!(code(check(shorter, CHAIN)), RejectCode::MalformedRlp);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_check_panic(data: Vec<u8>, kind in 0_u8..6) {
        let _ = check(&data, CHAIN);
        let mut typed = vec![kind];
        typed.extend(&data);
        let _ = check(&typed, CHAIN);
    }

    #[test]
    fn no_flipped_bit_keeps_the_sender_and_the_hash(at in 0_usize..100, bit in 0_u8..8) {
        let mut bytes = sign(dynamic(CHAIN));
        let before = check(&bytes, CHAIN).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(after) = check(&bytes, CHAIN) {
            proptest::prop_assert_ne!(after.hash, before.hash);
            proptest::prop_assert_ne!(after.sender, before.sender);
        }
    }
}
