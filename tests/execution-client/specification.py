"""Ethereum's executable specification takes an executor's EVM blocks, one after another.

    python3 specification.py FORK GENESIS RPC BLOCKS

It is the package ethereum-execution (see specification.txt). Each block is built again from what the executor's JSON-RPC
says, must have the hash that is said there, and is given to the specification's `state_transition` over a state that began
with the genesis file: it checks the header against the parent, executes the transactions, and compares gas, roots, bloom and
requests. Ends with 1, and the block, if anything differs. At last the specification must refuse the same block with other
gas, another state root and so on: one that takes anything would show nothing.
"""

import dataclasses
import importlib
import json
import sys
import urllib.request

from ethereum.crypto.hash import keccak256
from ethereum.exceptions import InvalidBlock
from ethereum_rlp import rlp
from ethereum_types.bytes import Bytes, Bytes8, Bytes32, Bytes256
from ethereum_types.numeric import U64, U256, Uint

# Calls in one request.
BATCH = 200


def calls(url, method, each):
    """The method's results for each of many parameters, in their order."""
    results = []
    for start in range(0, len(each), BATCH):
        batch = each[start : start + BATCH]
        body = [{"jsonrpc": "2.0", "id": at, "method": method, "params": params} for at, params in enumerate(batch)]
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request) as response:
            answers = json.load(response)
        answers.sort(key=lambda answer: answer["id"])
        for answer in answers:
            if answer.get("result") is None:
                raise SystemExit(f"{method}: {answer.get('error', 'null')}")
        results += [answer["result"] for answer in answers]
    return results


def data(text, kind=Bytes):
    return kind(bytes.fromhex(text.removeprefix("0x")))


def number(text, kind=Uint):
    return kind(int(text, 16))


class Specification:
    """The rules of one fork, and a chain under them."""

    def __init__(self, fork, genesis):
        module = lambda name: importlib.import_module(f"ethereum.forks.{fork}.{name}")
        self.blocks, self.fork, self.transactions = module("blocks"), module("fork"), module("transactions")
        state, types = module("state"), module("fork_types")
        self.types = types
        self.state = state.State()
        for address, account in genesis["alloc"].items():
            address = data(address, types.Address)
            nonce, balance = number(account.get("nonce", "0x0")), number(account.get("balance", "0x0"), U256)
            code = data(account.get("code", "0x"))
            state.set_account(self.state, address, types.Account(nonce=nonce, balance=balance, code=code))
            for slot, value in account.get("storage", {}).items():
                slot = Bytes32(int(slot, 16).to_bytes(32, "big"))
                state.set_storage(self.state, address, slot, number(value, U256))
        self.state_root = state.state_root(self.state)
        self.chain_id = U64(genesis["config"]["chainId"])
        self.chain = None

    def header(self, block):
        """A header from JSON-RPC's block."""
        fields = {
            "parent_hash": data(block["parentHash"], Bytes32),
            "ommers_hash": data(block["sha3Uncles"], Bytes32),
            "coinbase": data(block["miner"], self.types.Address),
            "state_root": data(block["stateRoot"], Bytes32),
            "transactions_root": data(block["transactionsRoot"], Bytes32),
            "receipt_root": data(block["receiptsRoot"], Bytes32),
            "bloom": data(block["logsBloom"], Bytes256),
            "difficulty": number(block["difficulty"]),
            "number": number(block["number"]),
            "gas_limit": number(block["gasLimit"]),
            "gas_used": number(block["gasUsed"]),
            "timestamp": number(block["timestamp"], U256),
            "extra_data": data(block["extraData"]),
            "prev_randao": data(block["mixHash"], Bytes32),
            "nonce": data(block["nonce"], Bytes8),
            "base_fee_per_gas": number(block["baseFeePerGas"]),
            "withdrawals_root": data(block["withdrawalsRoot"], Bytes32),
            "blob_gas_used": number(block["blobGasUsed"], U64),
            "excess_blob_gas": number(block["excessBlobGas"], U64),
            "parent_beacon_block_root": data(block["parentBeaconBlockRoot"], Bytes32),
        }
        if "requestsHash" in block:
            fields["requests_hash"] = data(block["requestsHash"], Bytes32)
        header = self.blocks.Header(**fields)
        found = "0x" + keccak256(rlp.encode(header)).hex()
        if found != block["hash"]:
            raise AssertionError(f"its fields have the hash {found}, it is said to be {block['hash']}")
        return header

    def block(self, block, raws):
        """A block from JSON-RPC's block and the bytes of its transactions."""
        decode = lambda raw: rlp.decode_to(self.transactions.LegacyTransaction, raw) if raw[0] >= 0xC0 else raw
        transactions = tuple(decode(data(raw)) for raw in raws)
        return self.blocks.Block(header=self.header(block), transactions=transactions, ommers=(), withdrawals=())

    def take(self, block, raws):
        """The first block is the genesis, each other one follows by the rules."""
        block = self.block(block, raws)
        if self.chain is not None:
            self.fork.state_transition(self.chain, block)
            return
        if block.header.state_root != self.state_root:
            raise AssertionError(f"the genesis file's state has the root 0x{self.state_root.hex()}")
        self.chain = self.fork.BlockChain(blocks=[block], state=self.state, chain_id=self.chain_id)

    def copied(self):
        """The chain, over a copy of its state."""
        trie, state = importlib.import_module(f"{self.types.__package__}.trie"), self.chain.state
        storage = {address: trie.copy_trie(slots) for address, slots in state._storage_tries.items()}
        copied = type(state)(_main_trie=trie.copy_trie(state._main_trie), _storage_tries=storage)
        return self.fork.BlockChain(blocks=list(self.chain.blocks), state=copied, chain_id=self.chain_id)

    def check_refusals(self, block, raws):
        """The block, before it is taken, with one thing changed at a time."""
        block = self.block(block, raws)
        header = block.header
        changed = {
            "state_root": Bytes32(32),
            "receipt_root": Bytes32(32),
            "bloom": Bytes256(b"\x01" * 256),
            "gas_used": header.gas_used + Uint(1),
            "base_fee_per_gas": header.base_fee_per_gas + Uint(1),
            "parent_hash": Bytes32(32),
            "number": header.number + Uint(1),
            "timestamp": U256(0),
        }
        for name, value in changed.items():
            other = dataclasses.replace(block, header=dataclasses.replace(header, **{name: value}))
            try:
                self.fork.state_transition(self.copied(), other)
            except InvalidBlock:
                continue
            raise AssertionError(f"the specification takes the block with another {name}")


def main():
    fork, genesis, url, count = sys.argv[1:]
    with open(genesis, encoding="utf-8") as file:
        specification = Specification(fork, json.load(file))
    numbers = [[hex(at), False] for at in range(int(count) + 1)]
    transactions = 0
    for block in calls(url, "eth_getBlockByNumber", numbers):
        raws = calls(url, "eth_getRawTransactionByHash", [[found] for found in block["transactions"]])
        try:
            if block["number"] == numbers[-1][0]:
                specification.check_refusals(block, raws)
            specification.take(block, raws)
        except Exception as error:
            raise SystemExit(f"{fork}, block {int(block['number'], 16)} ({block['hash']}): {error!r}") from error
        transactions += len(raws)
    print(f"the specification takes {count} blocks with {transactions} transactions under {fork}'s rules")


if __name__ == "__main__":
    main()
