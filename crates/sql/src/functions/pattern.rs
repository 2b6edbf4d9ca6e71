//! `LIKE` and its kin.

/// A `LIKE` pattern: `%` any text, `_` one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LikePattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    One,
    Any,
}

impl LikePattern {
    /// Reads a pattern. None: an escape character before anything but itself, `%` or `_`.
    pub(crate) fn new(pattern: &str, escape: Option<char>) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if Some(c) == escape {
                let escaped = chars.next().filter(|c| matches!(c, '%' | '_') || Some(*c) == escape)?;
                pieces.push(Piece::Char(escaped));
            } else {
                pieces.push(match c {
                    '%' => Piece::Any,
                    '_' => Piece::One,
                    other => Piece::Char(other),
                });
            }
        }
        pieces.dedup_by(|a, b| *a == Piece::Any && *b == Piece::Any);
        Some(Self { pieces })
    }

    /// Whether the whole text follows the pattern.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut piece) = (0, 0);
        // Where to go on after the last `%` if what follows does not fit.
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.pieces.get(piece) {
                Some(Piece::Any) => {
                    piece += 1;
                    retry = Some((at, piece));
                    continue;
                }
                Some(Piece::One) => {
                    at += 1;
                    piece += 1;
                    continue;
                }
                Some(Piece::Char(c)) if *c == text[at] => {
                    at += 1;
                    piece += 1;
                    continue;
                }
                _ => {}
            }
            let Some((from, after)) = retry else { return false };
            at = from + 1;
            piece = after;
            retry = Some((at, after));
        }
        self.pieces[piece..].iter().all(|piece| *piece == Piece::Any)
    }
}
