//! A table of values that cells refer to by number: styles, clusters, links. Equal values have one number; values
//! no cell refers to any more are found by marking and forgotten, so that a program that never repeats itself
//! does not fill the memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// Bytes below which a table is not worth collecting, at the least.
const MIN_COLLECTED: usize = 128 << 10;
/// And this part of what the scrollback may hold: looking through it for what is still referred to takes time,
/// which so many new entries have to have paid for.
const PART_OF_SCROLLBACK: usize = 8;

/// A value for a table.
pub(crate) trait Entry: Clone + Eq + Hash + Default {
    /// Bytes the value owns on the heap.
    fn owned(&self) -> usize {
        0
    }
}

impl Entry for String {
    fn owned(&self) -> usize {
        self.len()
    }
}

/// What an entry takes: the value once by number and once as a key, and what the map needs.
fn weight<T: Entry>(value: &T) -> usize {
    2 * (size_of::<T>() + value.owned()) + 16
}

#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    /// Entry 0 is the default and always there.
    entries: Vec<T>,
    numbers: HashMap<T, u32, Key>,
    free: Vec<u32>,
    /// Bytes of the entries, used and forgotten alike.
    used: usize,
    /// Collect when they are this many.
    collect_at: usize,
    /// And never when they are fewer than this.
    floor: usize,
}

impl<T: Entry> Table<T> {
    pub(crate) fn new(scrollback_bytes: usize) -> Self {
        let mut numbers = HashMap::with_hasher(Key::random());
        numbers.insert(T::default(), 0);
        let floor = (scrollback_bytes / PART_OF_SCROLLBACK).max(MIN_COLLECTED);
        Table { entries: vec![T::default()], numbers, free: Vec::new(), used: 0, collect_at: floor, floor }
    }

    pub(crate) fn get(&self, number: u32) -> &T {
        self.entries.get(number as usize).unwrap_or(&self.entries[0])
    }

    /// The number of a value, new or old. Ask [`Table::is_full`] first, and collect.
    pub(crate) fn number<Q>(&mut self, value: &Q) -> u32
    where
        T: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        if let Some(&number) = self.numbers.get(value) {
            return number;
        }
        let value = value.to_owned();
        self.used += weight(&value);
        let number = if let Some(number) = self.free.pop() {
            self.entries[number as usize] = value.clone();
            number
        } else {
            self.entries.push(value.clone());
            (self.entries.len() - 1) as u32
        };
        self.numbers.insert(value, number);
        number
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used >= self.collect_at
    }

    /// Forgets what is not marked. The next collection comes when the table has doubled, so that its cost is
    /// spread over as many new entries as there are old ones.
    pub(crate) fn keep(&mut self, marks: &Marks) {
        let (entries, free) = (&mut self.entries, &mut self.free);
        let mut used = 0;
        self.numbers.retain(|value, number| {
            let keep = *number == 0 || marks.contains(*number);
            if keep {
                used += weight(value);
            } else {
                entries[*number as usize] = T::default();
                free.push(*number);
            }
            keep
        });
        if self.numbers.len() * 4 < self.numbers.capacity() {
            self.numbers.shrink_to(self.numbers.len() * 2);
        }
        self.used = used;
        self.collect_at = (used * 2).max(self.floor);
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks(vec![0; self.entries.len().div_ceil(64)])
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, &T)> {
        self.numbers.iter().map(|(value, number)| (*number, value))
    }

    pub(crate) fn memory(&self) -> usize {
        let owned: usize = self.numbers.keys().map(|value| 2 * value.owned()).sum();
        self.entries.capacity() * size_of::<T>()
            + self.numbers.capacity() * (size_of::<T>() + 8)
            + self.free.capacity() * 4
            + owned
    }
}

/// A hash of one multiplication for each word: styles are looked up at every change of colour, and the standard
/// library's costs more than all the rest of such a change. The key is random, so that a program cannot know
/// which values meet in one place.
#[derive(Clone, Debug)]
struct Key(u64);

impl Key {
    fn random() -> Key {
        Key(RandomState::new().build_hasher().finish() | 1)
    }
}

impl BuildHasher for Key {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { state: self.0, key: self.0.rotate_left(32) | 1 }
    }
}

struct Folded {
    state: u64,
    key: u64,
}

impl Hasher for Folded {
    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.key);
        self.state = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

/// A set of entry numbers.
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    pub(crate) fn insert(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }

    pub(crate) fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & 1 << (number % 64) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collected_numbers_are_used_again_and_kept_ones_stay() {
        let mut table = Table::<String>::new(0);
        let mut numbers = Vec::new();
        while !table.is_full() {
            numbers.push(table.number(&*numbers.len().to_string()));
        }
        let mut marks = table.marks();
        marks.insert(numbers[7]);
        table.keep(&marks);
        assert!(!table.is_full());
        assert_eq!(table.get(numbers[7]), "7");
        assert_eq!(table.number("7"), numbers[7]);
        let before = table.entries.len();
        for i in 0..numbers.len() - 3 {
            table.number(&*format!("new {i}"));
        }
        assert_eq!(table.entries.len(), before);
    }

    #[test]
    fn a_few_large_values_fill_a_table_as_many_small_ones_do() {
        let mut table = Table::<String>::new(0);
        let large = (0..).take_while(|i| {
            table.number(&*format!("{i}{}", "x".repeat(4000)));
            !table.is_full()
        });
        assert!(large.count() < 40);
    }
}
