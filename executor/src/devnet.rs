//! The ten well-known development accounts, and signing with them.
//!
//! They are derived from the mnemonic `test test test test test test test test test test test
//! junk` (path m/44'/60'/0'/0/i) and public: whoever funds them on a real network loses the funds.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, b256, keccak256};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};

/// Gas of a plain transfer.
pub const TRANSFER_GAS: u64 = 21_000;

const DEV_KEYS: [B256; 10] = [
    b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    b256!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
    b256!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
    b256!("7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
    b256!("47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"),
    b256!("8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"),
    b256!("92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e"),
    b256!("4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356"),
    b256!("dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97"),
    b256!("2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"),
];

/// A key that signs Ethereum transactions; for development and tests only.
#[derive(Clone)]
pub struct DevAccount {
    secret: SecretKey,
    address: Address,
}

impl std::fmt::Debug for DevAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevAccount").field("address", &self.address).finish_non_exhaustive()
    }
}

impl DevAccount {
    /// An account from 32 secret bytes; `None` if they are no valid key.
    pub fn from_secret(secret: B256) -> Option<Self> {
        let secret = SecretKey::from_byte_array(secret.0).ok()?;
        let public = PublicKey::from_secret_key(SECP256K1, &secret);
        Some(Self { secret, address: address_of(&public) })
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The secret key, to import into a wallet.
    pub fn secret(&self) -> B256 {
        B256::from(self.secret.secret_bytes())
    }

    /// Signs a 32-byte digest.
    pub fn sign_hash(&self, digest: B256) -> Signature {
        let message = Message::from_digest(digest.0);
        let (parity, bytes) = SECP256K1.sign_ecdsa_recoverable(message, &self.secret).serialize_compact();
        Signature::from_bytes_and_parity(&bytes, i32::from(parity) == 1)
    }

    /// Signs any transaction type.
    pub fn sign<T>(&self, transaction: T) -> TxEnvelope
    where
        T: SignableTransaction<Signature>,
        TxEnvelope: From<alloy_consensus::Signed<T>>,
    {
        let signature = self.sign_hash(transaction.signature_hash());
        transaction.into_signed(signature).into()
    }

    /// Builds and signs an EIP-1559 transfer of `value` wei; returns the raw bytes that
    /// `eth_sendRawTransaction` takes.
    pub fn transfer(&self, chain_id: u64, nonce: u64, to: Address, value: U256) -> Bytes {
        self.transact(chain_id, nonce, TxKind::Call(to), value, Bytes::new(), TRANSFER_GAS)
    }

    /// Builds and signs an EIP-1559 transaction: a call, or a deployment with [`TxKind::Create`].
    /// The fee cap is 100 gwei with a tip of 1 gwei.
    pub fn transact(&self, chain_id: u64, nonce: u64, to: TxKind, value: U256, input: Bytes, gas_limit: u64) -> Bytes {
        self.sign(TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to,
            value,
            access_list: Default::default(),
            input,
        })
        .encoded_2718()
        .into()
    }
}

/// The ten accounts in derivation order.
pub fn dev_accounts() -> Vec<DevAccount> {
    DEV_KEYS.iter().filter_map(|key| DevAccount::from_secret(*key)).collect()
}

/// Ethereum's address of a public key.
pub(crate) fn address_of(key: &PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::address;

    #[test]
    fn keys_are_those_of_the_well_known_addresses() {
        let addresses: Vec<_> = dev_accounts().iter().map(DevAccount::address).collect();
        assert_eq!(
            addresses,
            [
                address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
                address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"),
                address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
                address!("90F79bf6EB2c4f870365E785982E1f101E93b906"),
                address!("15d34AAf54267DB7D7c367839AAf71A00a2C6A65"),
                address!("9965507D1a55bcC2695C58ba16FB37d819B0A4dc"),
                address!("976EA74026E726554dB657fA54763abd0C3a0aa9"),
                address!("14dC79964da2C08b23698B3D3cc7Ca32193d9955"),
                address!("23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f"),
                address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"),
            ]
        );
    }
}
