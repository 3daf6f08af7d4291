//! A table of Lua 5.1: a list and a hash, laid out as Lua's own (`ltable.c`), so that keys come in the same order and `#` finds the
//! same border.
//!
//! Walks count their steps, so that a script pays for keys with the same hash, and for places that are empty.

use crate::heap::{Str, Val, is_same};
use crate::limits::BLOCK_WORK;

/// The largest list has two to this many elements.
const LIST_BITS: usize = 26;

/// A key with its hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) value: Val,
    pub(crate) hash: u32,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    key: Val,
    value: Val,
    hash: u32,
    /// The next node of the same hash, plus one; 0 is none.
    next: u32,
}

const FREE: Node = Node { key: Val::Nil, value: Val::Nil, hash: 0, next: 0 };

/// A table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    list: Vec<Val>,
    /// None, or a power of two.
    nodes: Vec<Node>,
    /// No node from here on is free.
    free_end: usize,
    pub(crate) metatable: Option<u32>,
    /// True if scripts may not change it.
    pub(crate) is_read_only: bool,
}

/// The index of a list's element that a number is, from 1 on.
fn index_of(number: f64) -> Option<usize> {
    let index = number as usize;
    (index as f64 == number && index >= 1).then_some(index)
}

/// The number of the power of two that is not less than `value`.
fn log_ceil(value: usize) -> usize {
    value.next_power_of_two().trailing_zeros() as usize
}

impl Table {
    pub(crate) fn new(elements: usize, fields: usize) -> Table {
        let mut table = Table { list: vec![Val::Nil; elements], ..Table::default() };
        table.make_nodes(fields);
        table
    }

    /// Bytes of a table with so much room.
    pub(crate) fn bytes_for(elements: usize, fields: usize) -> usize {
        let nodes = if fields == 0 { 0 } else { fields.next_power_of_two() };
        elements * size_of::<Val>() + nodes * size_of::<Node>()
    }

    fn make_nodes(&mut self, fields: usize) {
        let count = if fields == 0 { 0 } else { fields.next_power_of_two() };
        self.nodes = vec![FREE; count];
        self.free_end = count;
    }

    pub(crate) fn element_room(&self) -> usize {
        self.list.len()
    }

    /// The element of a list, if the number is one of the list's part.
    #[inline]
    pub(crate) fn element(&self, number: f64) -> Option<Val> {
        self.list.get(index_of(number)? - 1).copied()
    }

    #[inline]
    pub(crate) fn element_mut(&mut self, number: f64) -> Option<&mut Val> {
        self.list.get_mut(index_of(number)? - 1)
    }

    /// The node that a key belongs to.
    fn main_place(&self, key: &Key) -> usize {
        let count = self.nodes.len();
        match key.value {
            Val::String(_) | Val::Boolean(_) => key.hash as usize & (count - 1),
            Val::Number(0.0) => 0,
            _ => key.hash as usize % ((count - 1) | 1),
        }
    }

    fn find_node(&self, key: &Key, strings: &[Str], steps: &mut usize) -> Option<usize> {
        if self.nodes.is_empty() {
            return None;
        }
        let mut place = self.main_place(key);
        loop {
            let node = &self.nodes[place];
            if node.hash == key.hash && is_same(node.key, key.value, strings, steps) {
                return Some(place);
            }
            // Numbers that are equal but not the same bits: zero and minus zero.
            if let (Val::Number(left), Val::Number(right)) = (node.key, key.value)
                && left == right
            {
                return Some(place);
            }
            place = (node.next as usize).checked_sub(1)?;
            *steps += 1;
        }
    }

    /// The value of a key; nil if there is none.
    pub(crate) fn find(&self, key: &Key, strings: &[Str], steps: &mut usize) -> Val {
        if let Val::Number(number) = key.value
            && let Some(value) = self.element(number)
        {
            return value;
        }
        self.find_node(key, strings, steps).map_or(Val::Nil, |place| self.nodes[place].value)
    }

    /// Sets a key. Returns the bytes by which the table has grown.
    pub(crate) fn set(&mut self, key: &Key, value: Val, strings: &[Str], steps: &mut usize) -> usize {
        if let Val::Number(number) = key.value
            && let Some(place) = self.element_mut(number)
        {
            *place = value;
            return 0;
        }
        match self.find_node(key, strings, steps) {
            Some(place) => {
                self.nodes[place].value = value;
                0
            }
            None => self.add(key, value, strings, steps),
        }
    }

    fn free_node(&mut self) -> Option<usize> {
        while self.free_end > 0 {
            self.free_end -= 1;
            if self.nodes[self.free_end].key.is_nil() {
                return Some(self.free_end);
            }
        }
        None
    }

    /// Adds a key that is not there.
    fn add(&mut self, key: &Key, value: Val, strings: &[Str], steps: &mut usize) -> usize {
        if self.nodes.is_empty() {
            return self.rehash(key, value, strings, steps);
        }
        let mut place = self.main_place(key);
        if !self.nodes[place].value.is_nil() {
            let Some(free) = self.free_node() else { return self.rehash(key, value, strings, steps) };
            let there = self.nodes[place];
            let mut other = self.main_place(&Key { value: there.key, hash: there.hash });
            if other == place {
                self.nodes[free].next = there.next;
                self.nodes[place].next = free as u32 + 1;
                place = free;
            } else {
                // What is here belongs elsewhere, and moves to the free node.
                while self.nodes[other].next != place as u32 + 1 {
                    other = self.nodes[other].next as usize - 1;
                    *steps += 1;
                }
                self.nodes[other].next = free as u32 + 1;
                self.nodes[free] = there;
                self.nodes[place] = FREE;
            }
        }
        let node = &mut self.nodes[place];
        (node.key, node.value, node.hash) = (key.value, value, key.hash);
        0
    }

    /// Lays the table out anew, with room for one more key, and sets that.
    fn rehash(&mut self, key: &Key, value: Val, strings: &[Str], steps: &mut usize) -> usize {
        *steps += 4 * BLOCK_WORK + self.list.len() + 2 * self.nodes.len();
        let before = Table::bytes_for(self.list.len(), self.nodes.len());
        let mut counts = [0usize; LIST_BITS + 1];
        let count_key = |counts: &mut [usize], key: Val| match key {
            Val::Number(number) => match index_of(number).filter(|&index| index <= 1 << LIST_BITS) {
                Some(index) => {
                    counts[log_ceil(index)] += 1;
                    1
                }
                None => 0,
            },
            _ => 0,
        };
        let mut in_list = 0;
        for (index, element) in self.list.iter().enumerate() {
            if !element.is_nil() {
                counts[log_ceil(index + 1)] += 1;
                in_list += 1;
            }
        }
        let mut total = in_list;
        for node in &self.nodes {
            if !node.value.is_nil() {
                in_list += count_key(&mut counts, node.key);
                total += 1;
            }
        }
        in_list += count_key(&mut counts, key.value);
        total += 1;
        // The largest size of which more than a half is used.
        let (mut sum, mut size, mut used) = (0, 0, 0);
        let mut power = 1;
        for count in counts {
            if power / 2 >= in_list {
                break;
            }
            if count > 0 {
                sum += count;
                if sum > power / 2 {
                    (size, used) = (power, sum);
                }
            }
            if sum == in_list {
                break;
            }
            power *= 2;
        }
        self.resize(size, total - used, strings, steps);
        let _ = self.set(key, value, strings, steps);
        Table::bytes_for(self.list.len(), self.nodes.len()).saturating_sub(before)
    }

    fn resize(&mut self, elements: usize, fields: usize, strings: &[Str], steps: &mut usize) {
        let old_nodes = std::mem::take(&mut self.nodes);
        if elements > self.list.len() {
            self.list.resize(elements, Val::Nil);
        }
        self.make_nodes(fields);
        if elements < self.list.len() {
            let rest = self.list.split_off(elements);
            for (value, number) in rest.into_iter().zip(elements + 1..) {
                if !value.is_nil() {
                    self.set_node(Val::Number(number as f64), value, strings, steps);
                }
            }
            self.list.shrink_to_fit();
        }
        for node in old_nodes.iter().rev() {
            if !node.value.is_nil() {
                let _ = self.set(&Key { value: node.key, hash: node.hash }, node.value, strings, steps);
            }
        }
    }

    fn set_node(&mut self, key: Val, value: Val, strings: &[Str], steps: &mut usize) {
        let Val::Number(number) = key else { unreachable!("elements have numbers") };
        let bits = number.to_bits();
        let hash = (bits as u32).wrapping_add((bits >> 32) as u32);
        let _ = self.set(&Key { value: key, hash }, value, strings, steps);
    }

    /// Makes room for so many list elements.
    pub(crate) fn reserve_elements(&mut self, count: usize, strings: &[Str], steps: &mut usize) {
        let fields = self.nodes.len();
        *steps += self.list.len() + fields;
        self.resize(count, fields, strings, steps);
    }

    /// The key behind `key`, and its value; behind the last one there is none.
    pub(crate) fn next(&self, key: &Key, strings: &[Str], steps: &mut usize) -> Result<Option<(Val, Val)>, ()> {
        let mut place = match key.value {
            Val::Nil => 0,
            Val::Number(number) if index_of(number).is_some_and(|index| index <= self.list.len()) => number as usize,
            _ => self.list.len() + self.find_node(key, strings, steps).ok_or(())? + 1,
        };
        while place < self.list.len() {
            if !self.list[place].is_nil() {
                return Ok(Some((Val::Number((place + 1) as f64), self.list[place])));
            }
            place += 1;
            *steps += 1;
        }
        for node in self.nodes.get(place - self.list.len()..).unwrap_or_default() {
            if !node.value.is_nil() {
                return Ok(Some((node.key, node.value)));
            }
            *steps += 1;
        }
        Ok(None)
    }

    /// A border of the list.
    pub(crate) fn length(&self, strings: &[Str], steps: &mut usize) -> usize {
        let mut high = self.list.len();
        let mut low = 0;
        if high > 0 && self.list[high - 1].is_nil() {
            while high - low > 1 {
                *steps += 1;
                let middle = (low + high) / 2;
                if self.list[middle - 1].is_nil() { high = middle } else { low = middle }
            }
            return low;
        }
        if self.nodes.is_empty() {
            return high;
        }
        let is_there = |number: usize, steps: &mut usize| {
            // An element that is there is found without a step in a chain, and yet it was looked for.
            *steps += 1;
            let bits = (number as f64).to_bits();
            let hash = (bits as u32).wrapping_add((bits >> 32) as u32);
            !self.find(&Key { value: Val::Number(number as f64), hash }, strings, steps).is_nil()
        };
        (low, high) = (high, high + 1);
        while is_there(high, steps) {
            low = high;
            high *= 2;
            if high > i32::MAX as usize {
                // Somebody has made the table so that this search goes wrong: one by one.
                let mut number = 1;
                while is_there(number, steps) {
                    number += 1;
                }
                return number - 1;
            }
        }
        while high - low > 1 {
            let middle = (low + high) / 2;
            if is_there(middle, steps) { low = middle } else { high = middle }
        }
        low
    }
}
