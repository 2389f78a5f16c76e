//! A walk over the dead letters that somebody means: in the order of their names, each looked at
//! once, a bounded number at a time. Never changes anything.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::domain::Offset;
use crate::domain::command::Actor;
use crate::domain::delivery::DeadLetter;
use crate::domain::letter::{Choice, Id};
use crate::domain::subscription::Subscription;
use crate::store::{Error, Reader};

/// Letters read at a time.
const CHUNK: usize = 128;

/// The end of all names.
const END: Id = Id { subscription: u32::MAX, offset: u64::MAX };

/// A letter that is meant.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name.
    pub id: Id,
    /// Its subscription, unless that has ended.
    pub subscription: Option<Arc<Subscription>>,
}

/// Names of letters, `from <= name < to`.
#[derive(Debug, Clone, Copy)]
struct Part {
    from: Id,
    to: Id,
}

/// How far one is.
#[derive(Debug)]
pub struct Walk {
    actor: Actor,
    choice: Choice,
    /// Letters whose record is here or later were not there when it began.
    before: Offset,
    todo: VecDeque<Part>,
    /// Left for later.
    later: VecDeque<Part>,
    found: VecDeque<Found>,
}

impl Walk {
    /// A walk over letters that an actor may touch and whose records lie before an offset.
    pub fn new(actor: Actor, choice: Choice, before: Offset) -> Self {
        let part = |id: &Id| Part { from: *id, to: id.next() };
        let todo = match choice.ids.as_slice() {
            [] => VecDeque::from([Part { from: Id { subscription: 0, offset: 0 }, to: END }]),
            ids => ids.iter().map(part).collect(),
        };
        let (later, found) = (VecDeque::new(), VecDeque::new());
        Self { actor, choice, before, todo, later, found }
    }

    /// The next letter, if one was found that is not taken.
    pub fn take(&mut self) -> Option<Found> {
        self.found.pop_front()
    }

    /// Looks at some more letters. False: there are none but those that are left for later.
    pub async fn look(&mut self, reader: &Reader) -> Result<bool, Error> {
        let Some(part) = self.todo.pop_front() else { return Ok(false) };
        let letters = reader.letters(part.from, part.to, CHUNK).await?;
        if let Some((last, _)) = letters.last() {
            self.todo.push_front(Part { from: last.name().next(), ..part });
        }
        let mut known = HashMap::new();
        for (letter, place) in &letters {
            if *place < self.before && self.choice.has(letter) {
                let found = self.judge(reader, letter, &mut known).await?;
                self.found.extend(found);
            }
        }
        Ok(true)
    }

    /// Leaves a letter and all behind it of its subscription for later.
    pub fn postpone(&mut self, id: Id) {
        let next = Id { subscription: id.subscription.saturating_add(1), offset: 0 };
        self.found.retain(|found| found.id.subscription != id.subscription);
        self.later.push_back(Part { from: id, to: next });
        self.todo.retain_mut(|part| {
            if part.from.subscription == id.subscription {
                part.from = part.from.max(next);
            }
            part.from < part.to
        });
    }

    /// Goes back to what was left for later.
    pub fn turn_back(&mut self) {
        self.todo.append(&mut self.later);
    }

    /// Whether nothing is left, not even for later.
    pub fn is_over(&self) -> bool {
        self.todo.is_empty() && self.later.is_empty() && self.found.is_empty()
    }

    /// A letter with its subscription, if the actor may touch it.
    async fn judge(
        &self,
        reader: &Reader,
        letter: &DeadLetter,
        known: &mut HashMap<u32, Option<Arc<Subscription>>>,
    ) -> Result<Option<Found>, Error> {
        let id = letter.name();
        let held = match known.entry(id.subscription) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => {
                let held = reader.subscription(&letter.subscription_id).await?;
                let held = held.filter(|held| held.number == id.subscription);
                place.insert(held.map(Arc::new))
            }
        };
        let held = held.clone();
        let is_own = held.as_ref().is_some_and(|held| held.owner == self.actor.owner);
        let subscription = held.filter(|held| !held.state.is_ended());
        Ok((self.actor.admin || is_own).then_some(Found { id, subscription }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(subscription: u32, offset: Offset) -> Id {
        Id { subscription, offset }
    }

    fn walk(ids: &[Id]) -> Walk {
        let choice = Choice { ids: ids.to_vec(), ..Choice::default() };
        Walk::new(Actor { owner: None, admin: true }, choice, 9)
    }

    fn parts(parts: &VecDeque<Part>) -> Vec<(Id, Id)> {
        parts.iter().map(|part| (part.from, part.to)).collect()
    }

    #[test]
    fn what_is_left_for_later_is_the_rest_of_a_subscription_and_nothing_else() {
        let mut walk = walk(&[]);
        let found = [id(3, 5), id(3, 8), id(4, 1)];
        walk.found = found.map(|id| Found { id, subscription: None }).into();
        walk.todo[0].from = id(4, 2);
        walk.take();
        walk.postpone(id(3, 5));
        assert_eq!(parts(&walk.later), [(id(3, 5), id(4, 0))]);
        assert_eq!(parts(&walk.todo), [(id(4, 2), END)], "that far it is already");
        assert_eq!(walk.take().map(|found| found.id), Some(id(4, 1)));
        walk.postpone(id(4, 1));
        assert_eq!(parts(&walk.todo), [(id(5, 0), END)]);
        walk.turn_back();
        let all = [(id(5, 0), END), (id(3, 5), id(4, 0)), (id(4, 1), id(5, 0))];
        assert_eq!(parts(&walk.todo), all);
        assert!(!walk.is_over() && walk.later.is_empty());
    }

    #[test]
    fn letters_that_are_named_are_looked_for_one_by_one() {
        let mut walk = walk(&[id(3, 5), id(3, 7), id(4, 1)]);
        assert_eq!(parts(&walk.todo)[1], (id(3, 7), id(3, 8)));
        walk.todo.pop_front();
        walk.postpone(id(3, 5));
        assert_eq!(parts(&walk.todo), [(id(4, 1), id(4, 2))]);
        assert_eq!(parts(&walk.later), [(id(3, 5), id(4, 0))], "with the one behind it");
    }
}
