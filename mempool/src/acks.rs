//! Acks of one epoch: everybody's newest vector, one's own among them.

use crate::limits::FULL_ACK_MEMBERS;
use squad_types::ack::vector_leaves;
use squad_types::merkle::Tree;
use squad_types::{
    Ack, AckCounter, AckEntries, AckEntry, AckMessage, AckProof, Committee, Domain, MerkleRoot, Sequence, Signer,
    Stake, Timestamp, Tip, ValidatorIndex, Verified, merkle,
};
use std::sync::{Arc, Weak};

/// Vectors of late that others' acks are compared with: some more than are under way at once while there is little to
/// acknowledge. When there is much, each is another one anyway.
const RECENT: usize = 32;

/// A vector of all who acknowledge the same: by place in the committee, how far each lane is acknowledged.
pub(crate) type SharedTips = Arc<[Option<Tip>]>;

/// A validator's ack, its vector rebuilt.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) ack: Verified<Ack>,
    pub(crate) tips: SharedTips,
}

/// A vector that an ack led to lately. Many validators acknowledge the same, one after the other: what was rebuilt, hashed and
/// compared for the first of them is there for the others.
#[derive(Debug)]
struct Recent {
    root: MerkleRoot,
    tips: Weak<[Option<Tip>]>,
    tree: Weak<Tree>,
    /// The vector before it, and the lanes whose entries differ, ascending.
    before: Option<Weak<[Option<Tip>]>>,
    changed: Vec<ValidatorIndex>,
}

impl Recent {
    /// Its vector and tree, if somebody's newest ack still says this.
    fn upgrade(&self) -> Option<(SharedTips, Arc<Tree>)> {
        Some((self.tips.upgrade()?, self.tree.upgrade()?))
    }
}

impl Vector {
    pub(crate) fn tip(&self, lane: ValidatorIndex) -> Option<Tip> {
        self.tips.get(lane.position()).copied().flatten()
    }

    /// The proof of what its signer, at a place in the committee, acknowledges in a lane. Hashes the whole vector:
    /// [`Acks::prove`] has the tree over the newest at hand.
    pub(crate) fn prove(&self, validator: ValidatorIndex, lane: ValidatorIndex) -> Option<AckProof> {
        let path = merkle::prove(&vector_leaves(&self.tips), lane.position())?;
        Some(AckProof { validator, ack: self.ack.signed().clone(), tip: self.tip(lane)?, path })
    }
}

/// A validator's ack that was taken in.
#[derive(Debug)]
pub(crate) struct News {
    /// The vector before it.
    pub(crate) before: Option<Arc<Vector>>,
    /// The lanes whose entries it changes, ascending.
    pub(crate) changed: Vec<ValidatorIndex>,
}

/// What came of an ack.
#[derive(Debug)]
pub(crate) enum Taken {
    News(News),
    Stale,
    NeedFull,
    Malformed,
}

/// The acks of one epoch.
#[derive(Debug)]
pub(crate) struct Acks {
    pub(crate) committee: Arc<Committee>,
    vectors: Vec<Option<Arc<Vector>>>,
    /// The tree over each of these vectors. An ack changes few entries, so most of its hashes stand already.
    trees: Vec<Option<Arc<Tree>>>,
    recent: Vec<Recent>,
    /// By validator: lanes in which a held batch counts for it that is not the one its newest vector names.
    loose: Vec<Vec<ValidatorIndex>>,
    me: Option<ValidatorIndex>,
    /// The highest counter that this operator signed with.
    used: AckCounter,
    pub(crate) sent_at: Option<Timestamp>,
}

impl Acks {
    pub(crate) fn new(committee: Arc<Committee>, me: Option<squad_types::Address>) -> Self {
        let me = me.and_then(|me| committee.index_of(&me));
        let members = committee.len();
        let (vectors, trees, loose) = (vec![None; members], vec![None; members], vec![Vec::new(); members]);
        Self { vectors, trees, recent: Vec::new(), loose, committee, me, used: AckCounter::ZERO, sent_at: None }
    }

    pub(crate) fn me(&self) -> Option<ValidatorIndex> {
        self.me
    }

    pub(crate) fn vector(&self, validator: ValidatorIndex) -> Option<&Arc<Vector>> {
        self.vectors.get(validator.position())?.as_ref()
    }

    pub(crate) fn own(&self) -> Option<&Arc<Vector>> {
        self.vector(self.me?)
    }

    /// Rebuilds and takes in a validator's ack.
    pub(crate) fn take(&mut self, validator: ValidatorIndex, ack: Verified<Ack>, entries: AckEntries) -> Taken {
        let known = self.vector(validator);
        if known.is_some_and(|known| known.ack.statement.counter >= ack.statement.counter) {
            return Taken::Stale;
        }
        let root = ack.statement.root;
        if let (Some(known), AckEntries::Changed { since, entries }) = (known, &entries)
            && known.ack.statement.counter == *since
            && let Some((tips, tree, changed)) = self.after(&known.tips, root, entries)
        {
            return Taken::News(News { before: self.keep(validator, ack, tips, tree), changed });
        }
        let full = matches!(entries, AckEntries::Full(_));
        let tips = match &entries {
            AckEntries::Full(entries) => self.parse_full(entries),
            AckEntries::Changed { since, entries } => match known {
                Some(known) if known.ack.statement.counter == *since => apply(&known.tips, entries),
                _ => return Taken::NeedFull,
            },
        };
        let wrong = if full { Taken::Malformed } else { Taken::NeedFull };
        let Some(tips) = tips else { return wrong };
        let changed = match (known, entries) {
            (Some(known), AckEntries::Changed { entries, .. }) => changed_among(&entries, &known.tips, &tips),
            (Some(known), AckEntries::Full(_)) => changes(&known.tips, &tips),
            (None, _) => named(&tips),
        };
        let (tips, tree) = match self.equal(Some(root), &tips) {
            Some(known) => known,
            None => {
                let tree = self.tree_over(validator, &tips, &changed);
                (tips.into(), tree)
            }
        };
        if tree.root() != root {
            return wrong;
        }
        self.note_recent(validator, root, (&tips, &tree), &changed);
        Taken::News(News { before: self.keep(validator, ack, tips, tree), changed })
    }

    /// What an ack's vector is, if another one led from the same vector by the same entries to the same root of late.
    fn after(
        &self,
        before: &SharedTips,
        root: MerkleRoot,
        entries: &[AckEntry],
    ) -> Option<(SharedTips, Arc<Tree>, Vec<ValidatorIndex>)> {
        let same_step = |recent: &&Recent| {
            let from = recent.before.as_ref().is_some_and(|from| std::ptr::eq(from.as_ptr(), Arc::as_ptr(before)));
            from && recent.root == root && recent.changed.iter().eq(entries.iter().map(|entry| &entry.lane))
        };
        let recent = self.recent.iter().rev().find(same_step)?;
        let (tips, tree) = recent.upgrade()?;
        let same = entries.iter().all(|entry| tips.get(entry.lane.position()) == Some(&entry.tip));
        same.then(|| (tips, tree, recent.changed.clone()))
    }

    /// A vector of late with the same tips, and that root if it is known.
    fn equal(&self, root: Option<MerkleRoot>, tips: &[Option<Tip>]) -> Option<(SharedTips, Arc<Tree>)> {
        let alike = self.recent.iter().rev().filter(|recent| root.is_none_or(|root| recent.root == root));
        alike.filter_map(Recent::upgrade).find(|(known, _)| **known == *tips)
    }

    fn note_recent(
        &mut self,
        validator: ValidatorIndex,
        root: MerkleRoot,
        (tips, tree): (&SharedTips, &Arc<Tree>),
        changed: &[ValidatorIndex],
    ) {
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        let before = self.vector(validator).map(|known| Arc::downgrade(&known.tips));
        let (tips, tree) = (Arc::downgrade(tips), Arc::downgrade(tree));
        self.recent.push(Recent { root, tips, tree, before, changed: changed.to_vec() });
    }

    /// The tree over a validator's next vector, made of the one over its last. That one is taken: [`Self::keep`] puts the new
    /// one in its place, or else the next is made from the beginning.
    fn tree_over(&mut self, validator: ValidatorIndex, tips: &[Option<Tip>], changed: &[ValidatorIndex]) -> Arc<Tree> {
        let Some(mut tree) = self.trees[validator.position()].take() else {
            return Arc::new(Tree::new(vector_leaves(tips)));
        };
        Arc::make_mut(&mut tree).update(changed.iter().map(|lane| (lane.position(), entry(*lane, tips).leaf())));
        tree
    }

    fn keep(
        &mut self,
        validator: ValidatorIndex,
        ack: Verified<Ack>,
        tips: SharedTips,
        tree: Arc<Tree>,
    ) -> Option<Arc<Vector>> {
        let at = validator.position();
        self.trees[at] = Some(tree);
        self.vectors[at].replace(Arc::new(Vector { ack, tips }))
    }

    /// The proof of what a validator's newest ack says of a lane.
    pub(crate) fn prove(&self, validator: ValidatorIndex, lane: ValidatorIndex) -> Option<AckProof> {
        let vector = self.vector(validator)?;
        let path = self.trees.get(validator.position())?.as_ref()?.prove(lane.position())?;
        Some(AckProof { validator, ack: vector.ack.signed().clone(), tip: vector.tip(lane)?, path })
    }

    pub(crate) fn loose(&self, validator: ValidatorIndex) -> &[ValidatorIndex] {
        self.loose.get(validator.position()).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn set_loose(&mut self, validator: ValidatorIndex, lanes: Vec<ValidatorIndex>) {
        if let Some(slot) = self.loose.get_mut(validator.position()) {
            *slot = lanes;
        }
    }

    fn parse_full(&self, entries: &[AckEntry]) -> Option<Vec<Option<Tip>>> {
        let in_order = entries.iter().enumerate().all(|(at, entry)| entry.lane.position() == at);
        (in_order && entries.len() == self.committee.len()).then(|| entries.iter().map(|entry| entry.tip).collect())
    }

    /// Signs a vector of one's own and takes it in.
    pub(crate) fn sign(
        &mut self,
        tips: Vec<Option<Tip>>,
        now: Timestamp,
        domain: &Domain,
        signer: &dyn Signer,
    ) -> Option<(AckMessage, News)> {
        let me = self.me?;
        let changed = self.own().map_or_else(|| named(&tips), |own| changes(&own.tips, &tips));
        let (tips, tree) = match self.equal(None, &tips) {
            Some(known) => known,
            None => {
                let tree = self.tree_over(me, &tips, &changed);
                (tips.into(), tree)
            }
        };
        let (counter, root) = (self.used.next(), tree.root());
        self.note_recent(me, root, (&tips, &tree), &changed);
        let statement = Ack { epoch: self.committee.epoch(), counter, root };
        let ack = Verified::sign(statement, domain, signer);
        let entries = match self.own() {
            Some(own) if self.committee.len() > FULL_ACK_MEMBERS => {
                let entries = changed.iter().map(|lane| entry(*lane, &tips)).collect();
                AckEntries::Changed { since: own.ack.statement.counter, entries }
            }
            _ => full(&tips),
        };
        let message = AckMessage { ack: ack.signed().clone(), entries };
        let before = self.keep(me, ack, tips, tree);
        self.sent_at = Some(now);
        self.used = counter;
        Some((message, News { before, changed }))
    }

    /// One's own newest ack with its whole vector.
    pub(crate) fn full(&self) -> Option<AckMessage> {
        self.own().map(|own| AckMessage { ack: own.ack.signed().clone(), entries: full(&own.tips) })
    }

    /// Reads an own ack back from the log; none if it does not fit the committee. It is the own newest again if `held` says
    /// that what it covers is here. Its counter is used up in any case.
    pub(crate) fn restore(
        &mut self,
        message: &AckMessage,
        held: impl FnOnce(&[Option<Tip>]) -> bool,
    ) -> Option<(SharedTips, Option<News>)> {
        let me = self.me?;
        self.used = self.used.max(message.ack.statement.counter);
        let AckEntries::Full(entries) = &message.entries else { return None };
        let tips: SharedTips = self.parse_full(entries)?.into();
        let newer = self.own().is_none_or(|own| own.ack.statement.counter < message.ack.statement.counter);
        if !newer || !held(&tips) {
            return Some((tips, None));
        }
        let tree = Arc::new(Tree::new(vector_leaves(&tips)));
        if tree.root() != message.ack.statement.root {
            return Some((tips, None));
        }
        let changed = self.own().map_or_else(|| named(&tips), |own| changes(&own.tips, &tips));
        let before = self.keep(me, Verified::from_own_log(message.ack.clone()), Arc::clone(&tips), tree);
        Some((tips, Some(News { before, changed })))
    }

    /// Whose newest ack names exactly this tip.
    pub(crate) fn naming(&self, lane: ValidatorIndex, tip: Tip) -> impl Iterator<Item = usize> {
        let names =
            move |vector: &Option<Arc<Vector>>| vector.as_ref().and_then(|vector| vector.tip(lane)) == Some(tip);
        self.vectors.iter().enumerate().filter(move |(_, vector)| names(vector)).map(|(at, _)| at)
    }

    /// The weight of newest acks whose tip in a lane lies above a sequence.
    pub(crate) fn stake_beyond(&self, lane: ValidatorIndex, sequence: Option<Sequence>) -> Stake {
        let beyond = self.vectors.iter().enumerate().filter(|(_, vector)| {
            let tip = vector.as_ref().and_then(|vector| vector.tip(lane));
            tip.is_some_and(|tip| sequence.is_none_or(|sequence| tip.sequence > sequence))
        });
        Stake(beyond.map(|(at, _)| self.committee.stake(ValidatorIndex(at as u16)).0).sum())
    }
}

fn entry(lane: ValidatorIndex, tips: &[Option<Tip>]) -> AckEntry {
    AckEntry { lane, tip: tips.get(lane.position()).copied().flatten() }
}

fn lanes(tips: &[Option<Tip>]) -> impl Iterator<Item = ValidatorIndex> {
    (0..tips.len()).map(|at| ValidatorIndex(at as u16))
}

fn full(tips: &[Option<Tip>]) -> AckEntries {
    AckEntries::Full(lanes(tips).map(|lane| entry(lane, tips)).collect())
}

/// The lanes that a vector names a tip in.
fn named(tips: &[Option<Tip>]) -> Vec<ValidatorIndex> {
    lanes(tips).filter(|lane| tips[lane.position()].is_some()).collect()
}

fn changes(before: &[Option<Tip>], after: &[Option<Tip>]) -> Vec<ValidatorIndex> {
    lanes(after).filter(|lane| before[lane.position()] != after[lane.position()]).collect()
}

/// The same, if nothing can have changed but these entries.
fn changed_among(entries: &[AckEntry], before: &[Option<Tip>], after: &[Option<Tip>]) -> Vec<ValidatorIndex> {
    let changed =
        entries.iter().map(|entry| entry.lane).filter(|lane| before[lane.position()] != after[lane.position()]);
    let mut changed: Vec<ValidatorIndex> = changed.collect();
    changed.sort_unstable();
    changed.dedup();
    changed
}

fn apply(before: &[Option<Tip>], entries: &[AckEntry]) -> Option<Vec<Option<Tip>>> {
    let mut tips = before.to_vec();
    for entry in entries {
        *tips.get_mut(entry.lane.position())? = entry.tip;
    }
    Some(tips)
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::ack::vector_root;
    use squad_types::{Address, BatchId, Epoch, KeyedHashSigner, Member, NetworkId};

    const MEMBERS: usize = 20;
    const LANES: [usize; 3] = [3, 7, 19];

    fn acks() -> Acks {
        let members = (0..MEMBERS).map(|at| Member { address: Address([at as u8; 20]), stake: Stake(1) });
        Acks::new(Arc::new(Committee::new(Epoch(0), members.collect()).unwrap()), None)
    }

    fn vector(filled: &[usize]) -> Vec<Option<Tip>> {
        let tip = |at: usize| Tip { sequence: Sequence(1), batch: BatchId([at as u8; 32]) };
        (0..MEMBERS).map(|at| filled.contains(&at).then(|| tip(at))).collect()
    }

    fn take(acks: &mut Acks, by: u16, counter: u64, says: &[Option<Tip>], entries: AckEntries) -> Taken {
        let statement = Ack { epoch: Epoch(0), counter: AckCounter(counter), root: vector_root(says) };
        let signer = KeyedHashSigner(Address([by as u8; 20]));
        acks.take(ValidatorIndex(by), Verified::sign(statement, &Domain::new(NetworkId([1; 32])), &signer), entries)
    }

    fn changed(since: u64, lanes: &[usize], tips: &[Option<Tip>]) -> AckEntries {
        let entries = lanes.iter().map(|at| entry(ValidatorIndex(*at as u16), tips)).collect();
        AckEntries::Changed { since: AckCounter(since), entries }
    }

    fn follow(acks: &mut Acks, by: u16) {
        for (counter, step) in (1..).zip(1..=LANES.len()) {
            let says = vector(&LANES[..step]);
            let entries = if step == 1 { full(&says) } else { changed(counter - 1, &LANES[step - 1..step], &says) };
            let Taken::News(news) = take(acks, by, counter, &says, entries) else { panic!("step {step} of {by}") };
            assert_eq!(news.changed, [ValidatorIndex(LANES[step - 1] as u16)]);
        }
    }

    #[test]
    fn validators_that_acknowledge_the_same_share_one_vector() {
        let mut acks = acks();
        follow(&mut acks, 0);
        follow(&mut acks, 1);
        // This one took one step where the others took two.
        let says = vector(&LANES);
        take(&mut acks, 2, 1, &vector(&LANES[..1]), full(&vector(&LANES[..1])));
        take(&mut acks, 2, 2, &says, changed(1, &LANES[1..], &says));
        let first = acks.vector(ValidatorIndex(0)).unwrap().tips.clone();
        for by in 0..3 {
            let vector = acks.vector(ValidatorIndex(by)).unwrap();
            assert_eq!(*vector.tips, *says);
            assert!(Arc::ptr_eq(&vector.tips, &first), "{by}");
            let proof = acks.prove(ValidatorIndex(by), ValidatorIndex(7)).unwrap();
            assert_eq!(proof.path, vector.prove(ValidatorIndex(by), ValidatorIndex(7)).unwrap().path);
        }
    }

    #[test]
    fn one_that_goes_on_by_itself_leaves_the_others_as_they_are() {
        let mut acks = acks();
        follow(&mut acks, 0);
        follow(&mut acks, 1);
        let says = vector(&[3, 5, 7, 19]);
        assert!(matches!(take(&mut acks, 1, 4, &says, changed(3, &[5], &says)), Taken::News(_)));
        assert_eq!(*acks.vector(ValidatorIndex(0)).unwrap().tips, *vector(&LANES));
        let of = |validator| acks.prove(ValidatorIndex(validator), ValidatorIndex(3)).unwrap().path.siblings;
        assert_eq!(of(0), merkle::prove(&vector_leaves(&vector(&LANES)), 3).unwrap().siblings);
        assert_eq!(of(1), merkle::prove(&vector_leaves(&says), 3).unwrap().siblings);
    }

    #[test]
    fn a_known_root_excuses_no_wrong_entry() {
        let mut acks = acks();
        follow(&mut acks, 0);
        let (first, says) = (vector(&LANES[..1]), vector(&LANES[..2]));
        take(&mut acks, 1, 1, &first, full(&first));
        // The root is that of a vector taken in before, and the entries lead elsewhere.
        for (lanes, tips) in [(&[7][..], vector(&[3])), (&[8], vector(&[3, 8])), (&[], says.clone())] {
            assert!(matches!(take(&mut acks, 1, 2, &says, changed(1, lanes, &tips)), Taken::NeedFull), "{lanes:?}");
        }
        assert_eq!(*acks.vector(ValidatorIndex(1)).unwrap().tips, *first);
    }
}
