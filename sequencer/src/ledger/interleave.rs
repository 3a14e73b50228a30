//! The canonical interleave: in which order a cut's new batches are read.

/// Merges the lanes of a cut, listed in ascending order: the first lane rotates with the height, then one batch a lane,
/// round by round, so that a long lane does not push the others back.
pub(super) fn interleave<T>(height: u64, lanes: Vec<Vec<T>>) -> Vec<T> {
    let mut merged = Vec::with_capacity(lanes.iter().map(Vec::len).sum());
    if lanes.is_empty() {
        return merged;
    }
    let mut queues: Vec<_> = lanes.into_iter().map(Vec::into_iter).collect();
    let first = (height % queues.len() as u64) as usize;
    queues.rotate_left(first);
    while !queues.is_empty() {
        queues.retain_mut(|queue| queue.next().map(|item| merged.push(item)).is_some());
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lanes_take_turns_and_the_first_one_rotates_with_the_height() {
        let lanes = || vec![vec!["a0", "a1", "a2"], vec!["b0"], vec!["c0", "c1"]];
        assert_eq!(interleave(0, lanes()), ["a0", "b0", "c0", "a1", "c1", "a2"]);
        assert_eq!(interleave(4, lanes()), ["b0", "c0", "a0", "c1", "a1", "a2"]);
        assert!(interleave::<u8>(3, vec![]).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_lane_keeps_its_order(sizes in prop::collection::vec(0_usize..9, 0..9), height: u64) {
            let lanes: Vec<Vec<(usize, usize)>> =
                sizes.iter().enumerate().map(|(lane, size)| (0..*size).map(|at| (lane, at)).collect()).collect();
            let merged = interleave(height, lanes.clone());
            prop_assert_eq!(merged.len(), sizes.iter().sum::<usize>());
            for (lane, whole) in lanes.iter().enumerate() {
                let seen: Vec<_> = merged.iter().copied().filter(|item| item.0 == lane).collect();
                prop_assert_eq!(&seen, whole);
            }
        }
    }
}
