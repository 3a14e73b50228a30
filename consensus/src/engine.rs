//! The one place that runs malachite: an input in, effects answered on the spot, until it is done with it.

use crate::consensus::Error;
use crate::context::{At, Context, Validators, Who, round_of};
use crate::effects::Effects;
use crate::proposer::ProposerSchedule;
use arc_malachitebft_core_consensus::{Input as Core, Params, State, ValuePayload, process};
use arc_malachitebft_core_types as mal;
use squad_types::{Address, Committee, Height, Round};
use std::convert::Infallible;
use std::sync::Arc;

/// Malachite's own queue for inputs that come too early. Nothing of another height or before the start is ever fed, so it stays empty.
const QUEUE: usize = 1;

/// The malachite instance of one height.
pub(crate) struct Engine {
    state: State<Context>,
    validators: Validators,
    height: Height,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("height", &self.height).field("round", &self.round()).finish_non_exhaustive()
    }
}

impl Engine {
    /// A fresh instance, not started.
    pub(crate) fn new(
        height: Height,
        committee: &Arc<Committee>,
        schedule: Arc<ProposerSchedule>,
        address: Address,
        voting: bool,
    ) -> Self {
        let validators = Validators::new(Arc::clone(committee));
        let params = Params {
            address: Who::own(&address, committee),
            threshold_params: mal::ThresholdParams::default(),
            // With `ProposalOnly` every value would be valid.
            value_payload: ValuePayload::ProposalAndParts,
            enabled: voting,
        };
        let context = Context::new(schedule);
        let state = State::new(context, At(height), validators.clone(), params, QUEUE, QUEUE);
        Self { state, validators, height }
    }

    /// Begins round 0.
    pub(crate) fn start(&mut self, effects: &mut Effects<'_>) {
        let policy = mal::VoteExtensionPolicy::Disabled;
        // Without a target time malachite's behaviour depends on no clock.
        let start = Core::StartHeight(At(self.height), self.validators.clone(), false, None, policy);
        self.feed(start, effects);
    }

    /// Feeds one input of this height. Nothing is fed from inside: what the effects call for is for the caller to queue.
    pub(crate) fn feed(&mut self, input: Core<Context>, effects: &mut Effects<'_>) {
        let result: Result<(), arc_malachitebft_core_consensus::Error<Context>> = process!(
            input: input,
            state: &mut self.state,
            metrics: &(),
            with: effect => Ok::<_, Infallible>(effects.on(effect))
        );
        if let Err(error) = result {
            effects.desk.fault = Some(Error::Core(error.to_string()));
        }
    }

    /// Lets replayed rounds lie any distance ahead. The index of own statements stays empty: the slots stand in for it.
    pub(crate) fn begin_replay(&mut self) {
        self.state.index_wal_entries(std::iter::empty());
    }

    /// Back to bounded rounds.
    pub(crate) fn end_replay(&mut self) {
        self.state.reset_entries_index();
    }

    /// The current round; 0 before the start.
    pub(crate) fn round(&self) -> Round {
        round_of(self.state.round()).unwrap_or_default()
    }

    /// Whether the propose step of the current round is over.
    pub(crate) fn proposed(&self) -> bool {
        self.state.driver.step_is_prevote()
            || self.state.driver.step_is_precommit()
            || self.state.driver.step_is_commit()
    }

    /// The certificate over prevotes for a block in a round, if the core has it.
    pub(crate) fn polka(
        &self,
        round: Round,
        block: &squad_types::HeaderHash,
    ) -> Option<&mal::PolkaCertificate<Context>> {
        self.state.polka_certificate(crate::context::mal_round(round), block)
    }

    #[cfg(test)]
    pub(crate) fn locked(&self) -> Option<(Round, squad_types::HeaderHash)> {
        let locked = self.state.driver.round_state().locked.as_ref()?;
        Some((round_of(locked.round)?, locked.value.0))
    }
}
