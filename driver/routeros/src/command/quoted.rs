//! The one function that quotes.

use std::fmt;

use rds_csi_core::kind::{Failure, Kind};

/// Far more than any name of ours has, far less than a console line may.
const LONGEST: usize = 1024;

/// A value between quotation marks that the console reads back as exactly that value.
///
/// Inside them RouterOS gives meaning to `\`, `"`, `$` (variables) and, on a terminal,
/// `?` (help); these are escaped. Brackets, braces and semicolons are refused, because
/// no name of ours has them and a slip in anybody's parser would run them. So are
/// control characters and everything beyond ASCII.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Quoted(String);

/// A value that is not written into a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// A character that is not sent.
    #[error("{field} has {character:?}, which is not written into a RouterOS command")]
    Character {
        /// Which property.
        field: &'static str,
        /// The first such character.
        character: char,
    },
    /// Too long.
    #[error("{field} has {length} characters, more than {LONGEST}")]
    Length {
        /// Which property.
        field: &'static str,
        /// How many.
        length: usize,
    },
}

impl Failure for QuoteError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl Quoted {
    /// `value` in quotation marks; `field` is the property it is for.
    ///
    /// # Errors
    /// When the value has a character that is not sent, or more than 1024 of them.
    pub fn new(field: &'static str, value: &str) -> Result<Self, QuoteError> {
        if value.len() > LONGEST {
            let length = value.len();
            return Err(QuoteError::Length { field, length });
        }
        let mut text = String::with_capacity(value.len() + 2);
        text.push('"');
        for character in value.chars() {
            match character {
                '[' | ']' | '{' | '}' | ';' => {
                    return Err(QuoteError::Character { field, character });
                }
                '\\' | '"' | '$' | '?' => {
                    text.push('\\');
                    text.push(character);
                }
                ' '..='~' => text.push(character),
                _ => return Err(QuoteError::Character { field, character }),
            }
        }
        text.push('"');
        Ok(Self(text))
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
