//! Whatever the order in which things happen.

use crate::support::Network;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit(usize, usize),
    Seal(usize),
    Ack(usize),
    Deliver(usize),
    Repeat(usize),
    Lose(usize),
    Fork(usize, usize),
    Order(usize),
    Follow(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let any = 0_usize..1_000;
    prop_oneof![
        4 => (any.clone(), 10_usize..4_000).prop_map(|(at, bytes)| Step::Submit(at, bytes)),
        4 => any.clone().prop_map(Step::Seal),
        5 => any.clone().prop_map(Step::Ack),
        16 => any.clone().prop_map(Step::Deliver),
        1 => any.clone().prop_map(Step::Repeat),
        1 => any.clone().prop_map(Step::Lose),
        2 => (any.clone(), any.clone()).prop_map(|(to, parent)| Step::Fork(to, parent)),
        2 => any.clone().prop_map(Step::Order),
        2 => any.prop_map(Step::Follow),
    ]
}

fn run(members: usize, forkers: usize, steps: &[Step]) {
    let mut network = Network::new(members, forkers);
    for step in steps {
        match *step {
            Step::Submit(at, bytes) => {
                network.submit(at % (members - forkers), bytes);
            }
            Step::Seal(at) => network.seal(at % (members - forkers)),
            Step::Ack(at) => network.ack(at % members),
            Step::Deliver(index) => network.deliver(index, false),
            Step::Repeat(index) => network.deliver(index, true),
            Step::Lose(index) => {
                if !network.mail.is_empty() {
                    let index = index % network.mail.len();
                    network.mail.swap_remove(index);
                }
            }
            Step::Fork(to, parent) if forkers > 0 => {
                network.fork(members - 1 - parent % forkers, to % (members - forkers), parent);
            }
            Step::Fork(..) => {}
            Step::Order(at) => network.order(at % (members - forkers)),
            Step::Follow(at) => network.follow(at % members),
        }
        network.check_certificates();
    }
    // What was lost comes by later acks and by fetching; nothing may hang on a single message.
    for at in 0..members {
        network.submit(at % (members - forkers), 20);
    }
    network.run_dry();
    network.check_certificates();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn four_honest_validators_agree_on_what_is_certified_and_order_everything(steps in prop::collection::vec(step(), 1..250)) {
        run(4, 0, &steps);
    }

    #[test]
    fn a_forker_among_four_gets_no_two_certificates_and_no_double_ack(steps in prop::collection::vec(step(), 1..250)) {
        run(4, 1, &steps);
    }

    #[test]
    fn two_forkers_among_seven_get_no_further(steps in prop::collection::vec(step(), 1..250)) {
        run(7, 2, &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn a_committee_that_sends_only_changes_rebuilds_every_root_or_asks(steps in prop::collection::vec(step(), 1..120)) {
        run(18, 3, &steps);
    }
}
