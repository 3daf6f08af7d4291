//! Sorting of which only some places are wanted, with elements that compare as equal in the order in which Redis leaves them.
//!
//! It is the quicksort of J. L. Bentley and M. D. McIlroy (*Engineering a Sort Function*, 1993), of which parts without a wanted
//! place are left as they are. What a newcomer would get wrong: it is not stable, and which of several equal elements comes first
//! follows from every one of its steps; so none of them may be changed, and std's sorts are none to take.

use std::cmp::Ordering;
use std::ops::Range;

/// Elements that are sorted by insertion, and those from which on three, or nine, are looked at to choose a pivot.
const FEW: usize = 7;
const MANY: usize = 40;

/// Sorts `elements` so far that those at the places `wanted` are what they are in the sorted whole.
pub(super) fn partial_sort<T>(elements: &mut [T], wanted: Range<usize>, compare: &mut dyn FnMut(&T, &T) -> Ordering) {
    let levels = 4 * (usize::BITS - elements.len().leading_zeros()) + 8;
    sort(elements, wanted, levels, compare);
}

fn sort<T>(
    mut elements: &mut [T],
    mut wanted: Range<usize>,
    mut levels: u32,
    compare: &mut dyn FnMut(&T, &T) -> Ordering,
) {
    loop {
        let count = elements.len();
        if count < FEW {
            for end in 1..count {
                let mut at = end;
                while at > 0 && compare(&elements[at - 1], &elements[at]).is_gt() {
                    elements.swap(at - 1, at);
                    at -= 1;
                }
            }
            return;
        }
        if levels == 0 {
            // Somebody has laid the elements out so that every pivot is a bad one: the time must not grow with their square.
            elements.sort_by(|one, other| compare(one, other));
            return;
        }
        levels -= 1;
        let pivot = pivot(elements, compare);
        elements.swap(0, pivot);
        // Equal ones are gathered at both ends: `..equal_low` and `equal_high + 1..`, the pivot first.
        let (mut equal_low, mut low) = (1, 1);
        let (mut equal_high, mut high) = (count - 1, count - 1);
        loop {
            while low <= high {
                match compare(&elements[low], &elements[0]) {
                    Ordering::Greater => break,
                    Ordering::Equal => {
                        elements.swap(equal_low, low);
                        equal_low += 1;
                    }
                    Ordering::Less => {}
                }
                low += 1;
            }
            while low <= high {
                match compare(&elements[high], &elements[0]) {
                    Ordering::Less => break,
                    Ordering::Equal => {
                        elements.swap(high, equal_high);
                        equal_high -= 1;
                    }
                    Ordering::Greater => {}
                }
                // Never below 0: the pivot is before `low`.
                high -= 1;
            }
            if low > high {
                break;
            }
            elements.swap(low, high);
            low += 1;
            high -= 1;
        }
        let less = low - equal_low;
        swap_ranges(elements, 0, low - equal_low.min(less), equal_low.min(less));
        let greater = equal_high - high;
        let moved = greater.min(count - equal_high - 1);
        swap_ranges(elements, low, count - moved, moved);
        let is_wanted = |part: &Range<usize>| wanted.start < part.end && part.start < wanted.end;
        let (before, behind) = (0..less, count - greater..count);
        let (is_before, is_behind) = (less > 1 && is_wanted(&before), greater > 1 && is_wanted(&behind));
        let (first, rest) = elements.split_at_mut(behind.start);
        if is_before {
            sort(&mut first[before], wanted.clone(), levels, compare);
        }
        if !is_behind {
            return;
        }
        elements = rest;
        wanted = wanted.start.saturating_sub(behind.start)..wanted.end - behind.start;
    }
}

/// The place of an element that is probably in the middle.
fn pivot<T>(elements: &[T], compare: &mut dyn FnMut(&T, &T) -> Ordering) -> usize {
    let count = elements.len();
    let middle = count / 2;
    if count == FEW {
        return middle;
    }
    let (first, last) = (0, count - 1);
    if count <= MANY {
        return median(elements, [first, middle, last], compare);
    }
    let step = count / 8;
    let low = median(elements, [first, first + step, first + 2 * step], compare);
    let mid = median(elements, [middle - step, middle, middle + step], compare);
    let high = median(elements, [last - 2 * step, last - step, last], compare);
    median(elements, [low, mid, high], compare)
}

/// The place of the median of three elements.
fn median<T>(elements: &[T], [one, two, three]: [usize; 3], compare: &mut dyn FnMut(&T, &T) -> Ordering) -> usize {
    let mut order = |a: usize, b: usize| compare(&elements[a], &elements[b]);
    if order(one, two).is_lt() {
        if order(two, three).is_lt() {
            two
        } else if order(one, three).is_lt() {
            three
        } else {
            one
        }
    } else if order(two, three).is_gt() {
        two
    } else if order(one, three).is_lt() {
        one
    } else {
        three
    }
}

/// Swaps `count` elements from `one` on with those from `other` on.
fn swap_ranges<T>(elements: &mut [T], one: usize, other: usize, count: usize) {
    for index in 0..count {
        elements.swap(one + index, other + index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Random;

    #[test]
    fn wanted_places_have_what_a_whole_sort_puts_there() {
        let mut random = Random::new(5);
        for round in 0..3_000 {
            let count = random.below(if round % 10 == 0 { 500 } else { 60 }) as usize;
            let kinds = 1 + random.below(40);
            let elements: Vec<u64> = (0..count).map(|_| random.below(kinds)).collect();
            let mut sorted = elements.clone();
            sorted.sort_unstable();
            let start = random.below(count as u64 + 1) as usize;
            let end = start + random.below((count - start) as u64 + 1) as usize;
            let mut found = elements.clone();
            partial_sort(&mut found, start..end, &mut |one, other| one.cmp(other));
            assert_eq!(found[start..end], sorted[start..end], "{elements:?}");
            found.sort_unstable();
            assert_eq!(found, sorted, "nothing is lost");
        }
    }

    #[test]
    fn elements_that_an_enemy_lays_out_take_no_more_than_a_few_comparisons_each() {
        // M. D. McIlroy, *A Killer Adversary for Quicksort*, 1999: values are decided on when they are compared.
        const COUNT: usize = 20_000;
        let (mut values, mut solid, mut candidate, mut comparisons) = (vec![usize::MAX; COUNT], 0, 0, 0u64);
        let mut places: Vec<usize> = (0..COUNT).collect();
        partial_sort(&mut places, 0..COUNT, &mut |&one, &other| {
            comparisons += 1;
            if values[one] == usize::MAX && values[other] == usize::MAX {
                values[if one == candidate { one } else { other }] = solid;
                solid += 1;
            }
            if values[one] == usize::MAX {
                candidate = one;
            } else if values[other] == usize::MAX {
                candidate = other;
            }
            values[one].cmp(&values[other])
        });
        assert!(comparisons < 300 * COUNT as u64, "{comparisons} comparisons");
    }
}
