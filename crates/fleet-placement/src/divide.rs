//! Division of whole things by weights: Webster's method (Sainte-Laguë), with limits.
//!
//! The next one always goes where `weight / (2 × given + 1)` is largest. Among the methods that are exact where exact is
//! possible, this one also never takes anything away from one place because there is more to divide: scaling a
//! workload up stops no replica anywhere. Largest remainders don't promise that (the Alabama paradox).
//! Source: M. Balinski, H. P. Young, Fair Representation (1982).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// One place that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// Its weight; nothing goes where it is 0.
    pub weight: u64,
    /// What it takes at most.
    pub limit: Option<u64>,
    /// Of places with the same claim, the one of lower rank goes first.
    pub rank: u64,
}

/// What each place gets, in the order given. The sum is `total`, or what fits where that is less.
#[must_use]
pub fn divide(total: u64, portions: &[Portion]) -> Vec<u64> {
    let mut given = vec![0; portions.len()];
    let mut left = total;
    // A turn gives the bulk at once. Where that fills a place up, the others share what it leaves; else the rest is
    // handed out one by one.
    loop {
        let open: Vec<(usize, Portion)> = portions
            .iter()
            .copied()
            .enumerate()
            .filter(|(at, portion)| portion.weight > 0 && room(portion, &given, *at) > 0)
            .collect();
        if left == 0 || open.is_empty() {
            return given;
        }
        let weights: u128 = open.iter().map(|(_, portion)| u128::from(portion.weight)).sum();
        // What is divided among the places that are open, those full aside.
        let whole: u128 =
            u128::from(left) + open.iter().map(|(at, _)| u128::from(at_index(&given, *at))).sum::<u128>();
        let bulk = whole.saturating_sub(open.len() as u128);
        let mut filled = false;
        for (at, portion) in &open {
            let share = half_down(u128::from(portion.weight) * bulk, weights);
            let have = at_index(&given, *at);
            let more = u64::try_from(share).unwrap_or(u64::MAX).saturating_sub(have);
            let gets = more.min(room(portion, &given, *at)).min(left);
            filled |= gets < more;
            if let Some(place) = given.get_mut(*at) {
                *place = have.saturating_add(gets);
            }
            left -= gets;
        }
        if !filled {
            one_by_one(left, &open, &mut given);
            return given;
        }
    }
}

/// Hands out what is left, until it is gone or everything is full.
fn one_by_one(left: u64, open: &[(usize, Portion)], given: &mut [u64]) {
    let mut heap: BinaryHeap<Claim> = open
        .iter()
        .filter(|(at, portion)| room(portion, given, *at) > 0)
        .map(|(at, portion)| Claim { at: *at, portion: *portion, given: at_index(given, *at) })
        .collect();
    for _ in 0..left {
        let Some(mut claim) = heap.pop() else { return };
        claim.given += 1;
        if let Some(place) = given.get_mut(claim.at) {
            *place = claim.given;
        }
        if room(&claim.portion, given, claim.at) > 0 {
            heap.push(claim);
        }
    }
}

fn at_index(given: &[u64], at: usize) -> u64 {
    given.get(at).copied().unwrap_or_default()
}

fn room(portion: &Portion, given: &[u64], at: usize) -> u64 {
    portion.limit.map_or(u64::MAX, |limit| limit.saturating_sub(at_index(given, at)))
}

/// `n / d` to the nearest whole number, halves down: what is tied is left to the ranks.
fn half_down(n: u128, d: u128) -> u128 {
    let d = d.max(1);
    (n.saturating_mul(2).saturating_add(d).saturating_sub(1)) / d.saturating_mul(2)
}

/// A place in the queue for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    at: usize,
    portion: Portion,
    given: u64,
}

impl Ord for Claim {
    /// By weight / (2 × given + 1), multiplied out, so that nothing is rounded.
    fn cmp(&self, other: &Self) -> Ordering {
        let claim =
            |claim: &Self, other: &Self| u128::from(claim.portion.weight) * (2 * u128::from(other.given) + 1);
        let by_claim = claim(self, other).cmp(&claim(other, self));
        let by_rank = || (other.portion.rank, other.at).cmp(&(self.portion.rank, self.at));
        by_claim.then_with(by_rank)
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
