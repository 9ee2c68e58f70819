//! The regular expressions of `~`: anchors, literal text, `.`, `*` and `\` escapes.
//!
//! RouterOS takes POSIX expressions (doc). The rest of that language is refused here, so
//! that nobody relies on a pattern that this reads otherwise than the device.

/// One atom and whether it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Atom {
    character: Option<char>,
    repeats: bool,
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    atoms: Vec<Atom>,
    from_start: bool,
    to_end: bool,
}

impl Pattern {
    /// Compiles; nothing for what is outside the modelled part.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let from_start = text.starts_with('^');
        let body = text.strip_prefix('^').unwrap_or(text);
        let mut atoms: Vec<Atom> = Vec::new();
        let mut characters = body.chars().peekable();
        let mut to_end = false;
        while let Some(character) = characters.next() {
            let atom = match character {
                '*' => {
                    let last = atoms.last_mut().filter(|last| !last.repeats)?;
                    last.repeats = true;
                    continue;
                }
                '$' if characters.peek().is_none() => {
                    to_end = true;
                    continue;
                }
                '.' => None,
                '\\' => Some(characters.next()?),
                '^' | '$' | '[' | ']' | '(' | ')' | '{' | '}' | '+' | '?' | '|' => return None,
                plain => Some(plain),
            };
            atoms.push(Atom {
                character: atom,
                repeats: false,
            });
        }
        Some(Self {
            atoms,
            from_start,
            to_end,
        })
    }

    /// Whether `text` has a match. Time is bounded by pattern × text: a set of states is moved along.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let end = self.atoms.len();
        let mut states = vec![false; end + 1];
        states[0] = true;
        self.follow(&mut states);
        if states[end] && (!self.to_end || text.is_empty()) {
            return true;
        }
        let length = text.chars().count();
        for (index, character) in text.chars().enumerate() {
            let mut after = vec![false; end + 1];
            for (state, atom) in self.atoms.iter().enumerate() {
                if states[state] && atom.character.is_none_or(|wanted| wanted == character) {
                    after[if atom.repeats { state } else { state + 1 }] = true;
                }
            }
            after[0] |= !self.from_start;
            self.follow(&mut after);
            states = after;
            if states[end] && (!self.to_end || length == index + 1) {
                return true;
            }
        }
        false
    }

    /// Skips over atoms that may repeat zero times.
    fn follow(&self, states: &mut [bool]) {
        for (state, atom) in self.atoms.iter().enumerate() {
            if states[state] && atom.repeats {
                states[state + 1] = true;
            }
        }
    }
}
