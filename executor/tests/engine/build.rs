//! Clients that build each block themselves, and must come to the same one.

use crate::{
    builder::{Builder, Rules},
    *,
};
use squad_executor::{DEV_FEE_VAULT, ExtraData, GenesisAccount, GenesisHeader};

const TESTING: &str = "testing_buildBlockV1";
const GET_PAYLOAD: &str = "engine_getPayloadV3";

/// A rollup whose blocks a client with these rules can come to.
fn genesis_for(rules: Rules) -> Genesis {
    let cancun = genesis(Hardfork::Cancun);
    let op = Genesis { base_fee_vault: Some(DEV_FEE_VAULT), ..cancun.clone() };
    match rules {
        Rules::Positional | Rules::Object => genesis(Hardfork::Prague),
        Rules::Ecotone => Genesis { extra_data: ExtraData::Empty, elasticity: 6, ..op },
        Rules::Holocene => {
            // Version 0, denominator 8, elasticity 6.
            let header = GenesisHeader { extra_data: hex("000000000800000006"), ..GenesisHeader::default() };
            Genesis { extra_data: ExtraData::Eip1559, elasticity: 6, header, ..op }
        }
    }
}

fn hex(digits: &str) -> Bytes {
    format!("0x{digits}").parse().unwrap()
}

/// The client of a rollup, and how it is driven.
async fn builder(rollup: &Rollup, rules: Rules, prepare: impl FnOnce(&mut Fake)) -> (EngineServer, EngineConfig) {
    let mut fake = rollup.client();
    fake.builder = Some(Builder::new(rules, rollup.chain.reader()));
    fake.offers.push(GET_PAYLOAD);
    prepare(&mut fake);
    let server = EngineServer::start(fake).await;
    let mode = match rules {
        Rules::Ecotone | Rules::Holocene => EngineMode::OpAttributes,
        Rules::Positional | Rules::Object => EngineMode::TestingBuildBlock { rpc: server.open().await },
    };
    let config = EngineConfig { mode, ..config(server.url()) };
    (server, config)
}

fn built(server: &EngineServer) -> Vec<u64> {
    server.fake.lock().unwrap().builder.as_ref().unwrap().built.clone()
}

/// How driving a chain of two blocks ends where it must end by itself.
async fn failure_of(rules: Rules, prepare: impl FnOnce(&mut Fake)) -> EngineError {
    let mut rollup = Rollup::new(genesis_for(rules));
    rollup.transfer();
    rollup.transfer();
    let (server, config) = builder(&rollup, rules, prepare).await;
    let (_stop, driving) = start_with(rollup.chain.reader(), config);
    let error = driving.await.unwrap().unwrap_err();
    assert_eq!(server.fake.lock().unwrap().chain.len(), 1, "nothing that differs becomes the head");
    error
}

const ALL: [Rules; 4] = [Rules::Ecotone, Rules::Holocene, Rules::Positional, Rules::Object];

#[tokio::test]
async fn the_client_builds_every_block_and_comes_to_the_same_chain() {
    for rules in ALL {
        let mut rollup = Rollup::new(genesis_for(rules));
        rollup.mixed();
        let (server, config) = builder(&rollup, rules, |_| ()).await;
        let (stop, driving) = start_with(rollup.chain.reader(), config.clone());
        server.reached(rollup.number()).await;
        rollup.mixed();
        server.reached(rollup.number()).await;
        check_same(&server, &rollup.chain.reader());
        let all: Vec<_> = (1..=rollup.number()).collect();
        assert_eq!((built(&server), server.payloads()), (all.clone(), all.clone()), "{rules:?}");
        drop(stop);
        driving.await.unwrap().unwrap();
        // Both go on after a restart; nothing is built twice.
        rollup.transfer();
        let (_stop, _driving) = start_with(rollup.chain.reader(), config);
        server.reached(rollup.number()).await;
        assert_eq!(built(&server), (1..=rollup.number()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_form_that_the_client_takes_is_found_once() {
    let mut rollup = Rollup::new(genesis_for(Rules::Object));
    rollup.mixed();
    let (server, config) = builder(&rollup, Rules::Object, |_| ()).await;
    let (_stop, _driving) = start_with(rollup.chain.reader(), config);
    server.reached(rollup.number()).await;
    assert_eq!(server.count(TESTING), rollup.number() as usize + 1);
}

#[tokio::test]
async fn blocks_whose_state_a_client_lost_are_handed_over_and_not_built() {
    for rules in [Rules::Ecotone, Rules::Positional] {
        let mut rollup = Rollup::new(genesis_for(rules));
        rollup.mixed();
        let number = rollup.number();
        let (server, config) = builder(&rollup, rules, |_| ()).await;
        let (stop, driving) = start_with(rollup.chain.reader(), config.clone());
        server.reached(number).await;
        drop(stop);
        driving.await.unwrap().unwrap();
        server.fake.lock().unwrap().forget_state(number - 3);
        rollup.transfer();
        let (_stop, _driving) = start_with(rollup.chain.reader(), config);
        server.reached(number + 1).await;
        check_same(&server, &rollup.chain.reader());
        assert_eq!(built(&server), (1..=number + 1).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn whatever_differs_in_a_built_block_ends_it_by_name() {
    let word = json!(B256::repeat_byte(7));
    let quantities =
        ["blockNumber", "timestamp", "gasLimit", "baseFeePerGas", "gasUsed", "blobGasUsed", "excessBlobGas"];
    let words = ["parentHash", "prevRandao", "receiptsRoot", "stateRoot", "blockHash"];
    let mut cases: Vec<_> = quantities.map(|name| (name, json!("0x7"))).to_vec();
    cases.extend(words.map(|name| (name, word.clone())));
    cases.push(("feeRecipient", json!(Address::repeat_byte(7))));
    cases.push(("extraData", json!("0x07")));
    cases.push(("logsBloom", json!(format!("0x{}", "07".repeat(256)))));
    cases.push(("transactions", json!([])));
    cases.push(("withdrawals", json!([{"index": "0x0"}])));
    cases.push(("executionRequests", json!(["0x0102"])));
    cases.push(("parentBeaconBlockRoot", word));
    for (name, value) in cases {
        for rules in [Rules::Ecotone, Rules::Positional] {
            let tampers = Some((name, value.clone()));
            let error = failure_of(rules, |fake| fake.builder.as_mut().unwrap().tampers = tampers).await;
            let EngineError::Differs { number: 1, field, theirs, .. } = &error else { panic!("{name}: {error}") };
            assert_eq!(*field, name);
            assert!(error.to_string().contains("block 1") && theirs.len() < 300, "{error}");
        }
    }
}

#[tokio::test]
async fn a_client_with_another_gas_limit_is_told_what_to_do() {
    let error = failure_of(Rules::Positional, |fake| fake.builder.as_mut().unwrap().gas_limit = 30_000_000).await;
    let text = "built block 1 with another gasLimit: 0x1c9c380, ours is 0x2255100; give it the rollup's gas limit";
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn what_can_pass_while_a_block_is_built_is_tried_again() {
    let syncing = json!({"payloadStatus": {"status": "SYNCING", "latestValidHash": null}, "payloadId": null});
    let mut rollup = Rollup::new(genesis_for(Rules::Ecotone));
    rollup.mixed();
    let (server, config) = builder(&rollup, Rules::Ecotone, |fake| {
        fake.say(FORKCHOICE, [Say::Result(syncing), Say::Nothing]);
        // The client was started anew between the two calls.
        fake.say(GET_PAYLOAD, [Say::Error(-38_001, "Unknown payload"), Say::Http(503, b"busy".to_vec())]);
    })
    .await;
    let (_stop, _driving) = start_with(rollup.chain.reader(), config);
    server.reached(rollup.number()).await;
    check_same(&server, &rollup.chain.reader());
    assert!(server.fake.lock().unwrap().says.values().all(|left| left.is_empty()));

    let mut rollup = Rollup::new(genesis_for(Rules::Positional));
    rollup.mixed();
    let (server, config) = builder(&rollup, Rules::Positional, |fake| {
        fake.say(
            TESTING,
            [Say::Nothing, Say::Error(-32_000, "unknown parent block"), Say::Http(503, b"busy".to_vec())],
        );
    })
    .await;
    let (_stop, _driving) = start_with(rollup.chain.reader(), config);
    server.reached(rollup.number()).await;
    check_same(&server, &rollup.chain.reader());
}

#[tokio::test]
async fn attributes_that_the_client_refuses_end_it() {
    let invalid =
        json!({"payloadStatus": {"status": "INVALID", "validationError": "nonce too low"}, "payloadId": null});
    let error = failure_of(Rules::Ecotone, |fake| fake.say(FORKCHOICE, [Say::Result(invalid)])).await;
    let EngineError::Invalid { number: 1, detail, .. } = &error else { panic!("{error}") };
    assert!(detail.contains("nonce too low"), "{error}");
    let none = json!({"payloadStatus": {"status": "VALID"}, "payloadId": null});
    let error = failure_of(Rules::Ecotone, |fake| fake.say(FORKCHOICE, [Say::Result(none)])).await;
    assert!(matches!(&error, EngineError::Malformed { .. }) && error.to_string().contains("payloadId"), "{error}");
    // Before Holocene there must be no parameters, from Holocene on there must be.
    for (ours, theirs) in [(Rules::Ecotone, Rules::Holocene), (Rules::Holocene, Rules::Ecotone)] {
        let error = failure_of(ours, |fake| fake.builder.as_mut().unwrap().rules = theirs).await;
        let EngineError::Refused { code: -38_003, message, .. } = &error else { panic!("{error}") };
        assert!(message.contains("eip1559Params"), "{error}");
    }
    for half in [json!({}), json!({"executionPayload": {"parentHash": "0x00"}}), json!(null)] {
        let error = failure_of(Rules::Ecotone, |fake| fake.say(GET_PAYLOAD, [Say::Result(half)])).await;
        assert!(matches!(error, EngineError::Malformed { method: GET_PAYLOAD, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_client_without_the_method_is_named() {
    let error = failure_of(Rules::Ecotone, |fake| fake.offers.retain(|offered| *offered != GET_PAYLOAD)).await;
    assert_eq!(error, EngineError::Missing { method: GET_PAYLOAD });
    let error = failure_of(Rules::Positional, |fake| fake.builder = None).await;
    assert_eq!(error, EngineError::Missing { method: TESTING });
    assert!(error.to_string().contains("turn the method's namespace on"), "{error}");
    // Both forms are refused: what it says to the specified one counts.
    let says = [Say::Error(-32_602, "no such fork"), Say::Error(-32_602, "no object")];
    let error = failure_of(Rules::Positional, |fake| fake.say(TESTING, says)).await;
    assert!(matches!(&error, EngineError::Refused { message, .. } if message == "no such fork"), "{error}");
}

#[tokio::test]
async fn rules_that_the_op_stack_has_not_are_refused_before_anything_is_sent() {
    let plain = genesis_for(Rules::Ecotone);
    let holocene = genesis_for(Rules::Holocene);
    let mut charging = plain.clone();
    let l1_block = GenesisAccount { nonce: 1, storage: [(U256::from(7), U256::from(1))].into(), ..Default::default() };
    charging.alloc.insert("0x4200000000000000000000000000000000000015".parse().unwrap(), l1_block);
    let cases = [
        (
            Genesis { base_fee_vault: None, ..plain.clone() },
            "baseFeeVault; set it to 0x4200000000000000000000000000000000000019",
        ),
        (Genesis { timestamp_rule: TimestampRule::NotBefore, ..plain.clone() }, "timestampRule"),
        (Genesis { hardfork: Hardfork::Prague, ..plain.clone() }, "hardfork"),
        (charging, "leave 0x4200000000000000000000000000000000000015 out of alloc"),
        (Genesis { extra_data: ExtraData::Place, ..plain }, "extraData"),
        (Genesis { header: GenesisHeader::default(), ..holocene }, "set extraData to 0x000000000800000006"),
    ];
    for (genesis, expected) in cases {
        let rollup = Rollup::new(genesis);
        let mode = EngineMode::OpAttributes;
        let config = EngineConfig { mode, ..config("http://127.0.0.1:1".into()) };
        let (_stop, driving) = start_with(rollup.chain.reader(), config);
        let error = driving.await.unwrap().unwrap_err();
        assert!(matches!(error, EngineError::Config(_)) && error.to_string().contains(expected), "{error}");
    }
    let rollup = Rollup::new(genesis(Hardfork::Cancun));
    let mode = EngineMode::TestingBuildBlock { rpc: "localhost".into() };
    let config = EngineConfig { mode, ..config("http://127.0.0.1:1".into()) };
    let (_stop, driving) = start_with(rollup.chain.reader(), config);
    let error = driving.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("no URL of a client"), "{error}");
}
