//! Values by place: an index that stays while its value does, and is used again afterwards.

use serde::{Deserialize, Serialize};

/// A table whose places are handed out again, the one left last first. The order in which places are free is part of the
/// value: a copy read back from a snapshot goes on handing out the same ones.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "Kept<T>")]
pub struct Places<T> {
    values: Vec<Option<T>>,
    /// Places without a value; the next one to be taken is last.
    free: Vec<u32>,
}

/// What a snapshot says, before it is known to fit together.
#[derive(Deserialize)]
struct Kept<T> {
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> TryFrom<Kept<T>> for Places<T> {
    type Error = &'static str;

    fn try_from(kept: Kept<T>) -> Result<Self, Self::Error> {
        let mut empty: Vec<bool> = kept.values.iter().map(Option::is_none).collect();
        for &place in &kept.free {
            let Some(is_free @ true) = empty.get_mut(place as usize) else { return Err(ODD) };
            *is_free = false;
        }
        if empty.contains(&true) {
            return Err(ODD);
        }
        Ok(Places { values: kept.values, free: kept.free })
    }
}

const ODD: &str = "places that are free and places without a value differ";

impl<T> Default for Places<T> {
    fn default() -> Self {
        Places::new()
    }
}

impl<T> Places<T> {
    /// No value.
    pub const fn new() -> Self {
        Places { values: Vec::new(), free: Vec::new() }
    }

    /// The place that the next [`Places::insert`] takes.
    pub fn vacant_key(&self) -> usize {
        self.free.last().map_or(self.values.len(), |&place| place as usize)
    }

    /// Takes a place.
    pub fn insert(&mut self, value: T) -> usize {
        if let Some(place) = self.free.pop() {
            self.values[place as usize] = Some(value);
            place as usize
        } else {
            self.values.push(Some(value));
            self.values.len() - 1
        }
    }

    /// Gives a place back; `None` when nothing was there.
    pub fn try_remove(&mut self, place: usize) -> Option<T> {
        let value = self.values.get_mut(place)?.take()?;
        self.free.push(place as u32);
        Some(value)
    }

    /// What is at a place.
    pub fn get(&self, place: usize) -> Option<&T> {
        self.values.get(place)?.as_ref()
    }

    /// What is at a place.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.values.get_mut(place)?.as_mut()
    }

    /// What is at two different places.
    pub fn get2_mut(&mut self, one: usize, two: usize) -> Option<(&mut T, &mut T)> {
        let [one, two] = self.values.get_disjoint_mut([one, two]).ok()?;
        Some((one.as_mut()?, two.as_mut()?))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each value with its place, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.values.iter().enumerate().filter_map(|(place, value)| Some((place, value.as_ref()?)))
    }
}

impl<T> std::ops::Index<usize> for Places<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        self.values[place].as_ref().expect("a value is where its owner keeps it")
    }
}

impl<T> std::ops::IndexMut<usize> for Places<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        self.values[place].as_mut().expect("a value is where its owner keeps it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_left_last_is_taken_first() {
        let mut places = Places::new();
        assert_eq!([0, 1, 2].map(|n| places.insert(n)), [0, 1, 2]);
        assert_eq!((places.try_remove(0), places.try_remove(2), places.try_remove(2)), (Some(0), Some(2), None));
        assert_eq!((places.vacant_key(), places.len(), places.get(0)), (2, 1, None));
        assert_eq!([7, 8, 9].map(|n| places.insert(n)), [2, 0, 3]);
        assert_eq!(places.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [8, 1, 7, 9]);
    }

    #[test]
    fn two_values_can_be_worked_on_together() {
        let mut places = Places::new();
        let (a, b) = (places.insert(1), places.insert(2));
        let (one, two) = places.get2_mut(a, b).unwrap();
        std::mem::swap(one, two);
        assert_eq!((places[a], places[b]), (2, 1));
        assert!(places.get2_mut(a, a).is_none() && places.get2_mut(a, 9).is_none());
    }

    #[test]
    fn a_copy_goes_on_with_the_same_places() {
        let mut places = Places::new();
        for n in 0..5 {
            places.insert(n);
        }
        for place in [3, 0, 4] {
            places.try_remove(place);
        }
        let text = serde_json::to_string(&places).unwrap();
        let mut copy: Places<i32> = serde_json::from_str(&text).unwrap();
        assert_eq!([9; 4].map(|n| copy.insert(n)), [9; 4].map(|n| places.insert(n)));
        let odd =
            [r#"{"values":[null,1],"free":[]}"#, r#"{"values":[1],"free":[0]}"#, r#"{"values":[null],"free":[0,0]}"#];
        assert!(odd.iter().all(|text| serde_json::from_str::<Places<i32>>(text).is_err()));
    }
}
