//! What becomes of changes that were not synced: chance, in several moods.

use crate::dice::Dice;

/// What became of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    /// Some of its sectors only.
    Torn,
    Lost,
}

/// How a power cut treats what was not synced.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// Nothing of it reached the platter.
    Nothing,
    /// All of it did.
    Everything,
    /// The first changes of each file, up to some.
    InOrder,
    /// Any of them, in no order.
    Any,
}

/// The chances of one loss.
#[derive(Debug)]
pub(super) struct Wear {
    dice: Dice,
    mood: Mood,
    /// Bytes that the disk writes at once.
    pub(super) sector: usize,
    /// Whether bytes beside those that are written are safe.
    pub(super) powersafe: bool,
    /// Sectors of the write at hand that are still kept.
    in_order: bool,
}

impl Wear {
    pub(super) fn new(seed: u64, sector: usize, powersafe: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mood = dice.one_of(&[Mood::Nothing, Mood::Everything, Mood::InOrder, Mood::InOrder, Mood::Any, Mood::Any]);
        Self { dice, mood, sector, powersafe, in_order: true }
    }

    /// What becomes of so many changes to one thing, in their order.
    pub(super) fn fates(&mut self, count: usize) -> Vec<Fate> {
        let torn_at = self.dice.below(count as u64 + 1);
        let fate = |at: usize| match self.mood {
            Mood::Nothing => Fate::Lost,
            Mood::Everything => Fate::Whole,
            Mood::InOrder => match (at as u64).cmp(&torn_at) {
                std::cmp::Ordering::Less => Fate::Whole,
                std::cmp::Ordering::Equal => Fate::Torn,
                std::cmp::Ordering::Greater => Fate::Lost,
            },
            Mood::Any => self.dice.one_of(&[Fate::Whole, Fate::Torn, Fate::Lost]),
        };
        let fates = (0..count).map(fate).collect();
        self.in_order = true;
        fates
    }

    /// Whether the next sector of a torn write is there.
    pub(super) fn keeps_sector(&mut self) -> bool {
        let keeps = !self.dice.once_in(3);
        if matches!(self.mood, Mood::InOrder) {
            self.in_order &= keeps;
            return self.in_order;
        }
        keeps
    }

    /// Whether a sector that is not there is not what it was before either.
    pub(super) fn spoils_sector(&mut self) -> bool {
        self.dice.once_in(4)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.dice.number().to_le_bytes()[0]
    }
}
