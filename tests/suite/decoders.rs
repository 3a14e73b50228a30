//! Every decoder, on random bytes and on changed examples: it never panics, and what decodes has one encoding.

use proptest::prelude::*;
use squad_fuzz::mutate::{Rng, mutate};
use squad_fuzz::{seeds, targets};

#[test]
fn every_target_takes_its_own_examples() {
    for target in targets::ALL {
        let inputs = seeds::of(target.seeds);
        assert!(target.seeds.is_empty() || !inputs.is_empty(), "{} finds no seeds", target.name);
        inputs.iter().for_each(|input| (target.run)(input));
    }
}

#[test]
fn wallets_transactions_among_the_examples_are_admitted() {
    for raw in seeds::of(&["evm_raw"]) {
        squad_node::evm::check(raw, 1).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for target in targets::ALL {
            (target.run)(&bytes);
        }
    }

    #[test]
    fn changed_examples_never_panic(seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        for target in targets::ALL {
            let inputs = seeds::of(target.seeds);
            let Some(input) = inputs.get(rng.below(inputs.len())) else { continue };
            let mut bytes = input.to_vec();
            mutate(&mut bytes, inputs[0], &mut rng);
            (target.run)(&bytes);
        }
    }
}
