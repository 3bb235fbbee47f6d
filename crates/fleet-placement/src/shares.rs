//! How many replicas each cluster is to have.
//!
//! Fixed weights are an exact ratio and are divided anew each time. Room changes by the minute, so what is placed by
//! room stays where it is: only what is added or taken away is divided, until somebody asks for a fresh division.

use std::cmp::Reverse;

use crate::divide::{Portion, divide};

/// How shares are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// By fixed weights.
    Static,
    /// By the room that clusters have.
    Dynamic,
    /// On as few clusters as have room.
    Aggregated,
}

/// A cluster among which replicas are divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat<'a> {
    /// Its name.
    pub cluster: &'a str,
    /// Its weight, for fixed weights.
    pub weight: u64,
    /// The replicas that it has been given before.
    pub current: u64,
    /// How many more it has room for; `None` where that isn't known.
    pub room: Option<u64>,
    /// The most that it may have; `None`: any number.
    pub ceiling: Option<u64>,
}

/// What each gets, in the order of the seats, and what found no place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Replicas.
    pub replicas: Vec<u64>,
    /// How many are left over.
    pub missing: u64,
}

/// Divides `total` replicas. `seed` tells objects apart, so that the odd replica of many objects doesn't always land
/// on the same cluster. `fresh` forgets what was given before.
#[must_use]
pub fn share(rule: Rule, total: u64, seats: &[Seat<'_>], seed: &str, fresh: bool) -> Shares {
    let current: Vec<u64> = seats.iter().map(kept).collect();
    let rooms = rooms(seats, &current, total);
    let capacity: Vec<u64> =
        current.iter().zip(&rooms).map(|(have, room)| have.saturating_add(*room)).collect();
    let ranks: Vec<u64> = seats.iter().map(|seat| rank(seed, seat.cluster)).collect();
    let held: u64 = current.iter().fold(0, |sum, have| sum.saturating_add(*have));
    let replicas = match rule {
        Rule::Static => {
            let portions = seats.iter().zip(&ranks);
            let portions: Vec<Portion> = portions
                .map(|(seat, rank)| Portion { weight: seat.weight, limit: seat.ceiling, rank: *rank })
                .collect();
            divide(total, &portions)
        }
        Rule::Dynamic if fresh => by(total, &capacity, &capacity, &ranks),
        Rule::Dynamic if total >= held => plus(&current, by(total - held, &rooms, &rooms, &ranks)),
        Rule::Dynamic => by(total, &current, &current, &ranks),
        Rule::Aggregated if fresh => fewest(total, &capacity, &capacity, &ranks),
        Rule::Aggregated if total >= held => {
            let holders: Vec<u64> =
                current.iter().zip(&rooms).map(|(have, room)| if *have > 0 { *room } else { 0 }).collect();
            let grown = plus(&current, by(total - held, &holders, &holders, &ranks));
            let rest = total - grown.iter().sum::<u64>();
            let others: Vec<u64> =
                current.iter().zip(&rooms).map(|(have, room)| if *have > 0 { 0 } else { *room }).collect();
            plus(&grown, fewest(rest, &others, &others, &ranks))
        }
        Rule::Aggregated => shrink(held - total, current, &ranks),
    };
    let placed: u64 = replicas.iter().sum();
    Shares { replicas, missing: total.saturating_sub(placed) }
}

/// A stable number for an object on a cluster (FNV-1a, 64 bits).
pub(crate) fn rank(seed: &str, cluster: &str) -> u64 {
    let bytes = seed.bytes().chain([0]).chain(cluster.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // FNV's high bits hardly differ between names that end differently.
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn kept(seat: &Seat<'_>) -> u64 {
    seat.ceiling.map_or(seat.current, |ceiling| seat.current.min(ceiling))
}

/// More than any cluster has room for; products of such numbers can be reckoned with.
const ROOMIEST: u64 = 1 << 32;

/// How many more each takes, which is its weight, too. Where nobody's room is known, all have enough; where some is known, a
/// cluster whose room isn't takes nothing more.
fn rooms(seats: &[Seat<'_>], current: &[u64], total: u64) -> Vec<u64> {
    let blind = seats.iter().all(|seat| seat.room.is_none());
    let each = seats.iter().zip(current).map(|(seat, have)| {
        let room = seat.room.unwrap_or(if blind { total } else { 0 }).min(ROOMIEST);
        seat.ceiling.map_or(room, |ceiling| room.min(ceiling.saturating_sub(*have)))
    });
    each.collect()
}

fn by(total: u64, weights: &[u64], limits: &[u64], ranks: &[u64]) -> Vec<u64> {
    let each = weights.iter().zip(limits).zip(ranks);
    let portions: Vec<Portion> = each
        .map(|((weight, limit), rank)| Portion { weight: *weight, limit: Some(*limit), rank: *rank })
        .collect();
    divide(total, &portions)
}

fn plus(a: &[u64], b: Vec<u64>) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a.saturating_add(b)).collect()
}

/// Among as few places as together have room, the roomiest first, by their room.
fn fewest(total: u64, rooms: &[u64], limits: &[u64], ranks: &[u64]) -> Vec<u64> {
    let mut order: Vec<(usize, u64, u64)> =
        rooms.iter().zip(ranks).enumerate().map(|(at, (room, rank))| (at, *room, *rank)).collect();
    order.sort_by_key(|(at, room, rank)| (Reverse(*room), *rank, *at));
    let mut weights = vec![0; rooms.len()];
    let mut sum = 0_u64;
    for (at, room, _) in order {
        if sum >= total {
            break;
        }
        sum = sum.saturating_add(room);
        if let Some(weight) = weights.get_mut(at) {
            *weight = room;
        }
    }
    by(total, &weights, limits, ranks)
}

/// Takes away where there are fewest, so that few places remain.
fn shrink(surplus: u64, mut current: Vec<u64>, ranks: &[u64]) -> Vec<u64> {
    let mut order: Vec<(u64, u64, usize)> =
        current.iter().zip(ranks).enumerate().map(|(at, (have, rank))| (*have, *rank, at)).collect();
    order.sort_unstable();
    let mut left = surplus;
    for (have, _, at) in order {
        let gone = have.min(left);
        left -= gone;
        if let Some(place) = current.get_mut(at) {
            *place = have - gone;
        }
    }
    current
}
