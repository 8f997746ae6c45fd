//! The cursor of a list: held by what it stands on, not by where, so that new data never moves it under the user.

use super::action::Action;

/// A cursor over rows that have keys of type `K`.
///
/// **Invariant after [`Cursor::settle`]:** `index` is that of `key` in the rows, and within the visible ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor<K> {
    key: Option<K>,
    index: usize,
    /// First visible row.
    top: usize,
    /// Rows that are visible.
    height: usize,
}

impl<K> Default for Cursor<K> {
    fn default() -> Self {
        Self { key: None, index: 0, top: 0, height: 0 }
    }
}

impl<K: Copy + PartialEq> Cursor<K> {
    /// What the cursor stands on.
    pub(crate) const fn key(&self) -> Option<K> {
        self.key
    }

    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    pub(crate) const fn top(&self) -> usize {
        self.top
    }

    /// Puts the cursor onto a row, which may come only with later data.
    pub(crate) const fn select(&mut self, key: K) {
        self.key = Some(key);
    }

    /// Fits the cursor to the rows there are and to the room there is.
    pub(crate) fn settle(&mut self, keys: &[K], height: usize) {
        self.height = height;
        let found = self.key.and_then(|key| keys.iter().position(|&other| other == key));
        self.index = found.unwrap_or_else(|| self.index.min(keys.len().saturating_sub(1)));
        self.key = keys.get(self.index).copied();
        let height = height.max(1);
        self.top = self.top.min(keys.len().saturating_sub(height)).min(self.index);
        if self.index >= self.top + height {
            self.top = self.index + 1 - height;
        }
    }

    /// Moves by one of the list actions. Other actions do nothing.
    pub(crate) fn act(&mut self, keys: &[K], action: Action) {
        let page = self.height.saturating_sub(1).max(1);
        let last = keys.len().saturating_sub(1);
        let index = match action {
            Action::Up => self.index.saturating_sub(1),
            Action::Down => self.index + 1,
            Action::Top => 0,
            Action::Bottom => last,
            Action::PageUp => self.index.saturating_sub(page),
            Action::PageDown => self.index + page,
            _ => return,
        };
        self.index = index.min(last);
        self.key = keys.get(self.index).copied();
    }
}

/// The scroll position of a text. Settled like a cursor, without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scroll {
    pub(crate) top: usize,
    pub(crate) left: usize,
    height: usize,
}

impl Scroll {
    pub(crate) fn settle(&mut self, lines: usize, height: usize) {
        self.height = height;
        self.top = self.top.min(lines.saturating_sub(height.max(1)));
    }

    /// Scrolls by one of the list actions, clamped by the next [`Scroll::settle`].
    pub(crate) fn act(&mut self, action: Action) {
        let page = self.height.saturating_sub(1).max(1);
        match action {
            Action::Up => self.top = self.top.saturating_sub(1),
            Action::Down => self.top = self.top.saturating_add(1),
            Action::Top => self.top = 0,
            Action::Bottom => self.top = usize::MAX,
            Action::PageUp => self.top = self.top.saturating_sub(page),
            Action::PageDown => self.top = self.top.saturating_add(page),
            Action::Left => self.left = self.left.saturating_sub(super::LEFT_STEP),
            Action::Right => self.left = (self.left + super::LEFT_STEP).min(super::LEFT_MAX),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_stays_on_its_row_when_others_come_and_go() {
        let mut cursor = Cursor::default();
        cursor.settle(&[1, 2, 3], 2);
        cursor.act(&[1, 2, 3], Action::Down);
        assert_eq!(cursor.key(), Some(2));
        cursor.settle(&[9, 8, 1, 2, 3], 2);
        assert_eq!((cursor.key(), cursor.index(), cursor.top()), (Some(2), 3, 2));
        cursor.settle(&[9, 8], 2);
        assert_eq!((cursor.key(), cursor.index(), cursor.top()), (Some(8), 1, 0));
        cursor.settle(&[], 2);
        assert_eq!((cursor.key(), cursor.index(), cursor.top()), (None, 0, 0));
    }

    #[test]
    fn moves_stop_at_the_ends() {
        let keys = [1, 2, 3, 4, 5];
        let mut cursor = Cursor::default();
        cursor.settle(&keys, 3);
        cursor.act(&keys, Action::Up);
        assert_eq!(cursor.key(), Some(1));
        cursor.act(&keys, Action::PageDown);
        assert_eq!(cursor.key(), Some(3));
        cursor.act(&keys, Action::Bottom);
        cursor.act(&keys, Action::Down);
        cursor.settle(&keys, 3);
        assert_eq!((cursor.key(), cursor.top()), (Some(5), 2));
    }
}
