//! What a script computes with.

/// A value of the script language.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Num(i64),
    /// A text.
    Str(String),
    /// The internal id of an item, such as `*2B`.
    Id(String),
    /// A list.
    Array(Vec<Value>),
    /// Names with values, in order.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// A word of a script: a number if it is written as one would print it.
    pub(crate) fn word(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Self::Num(number),
            _ if text.starts_with('*') && text.len() > 1 => Self::Id(text.to_owned()),
            _ => Self::Str(text.to_owned()),
        }
    }

    /// What `:put` prints: lists joined by `;`, maps as `name=value` (doc).
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Nil => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Num(value) => value.to_string(),
            Self::Str(value) | Self::Id(value) => value.clone(),
            Self::Array(values) => {
                let texts: Vec<String> = values.iter().map(Self::text).collect();
                texts.join(";")
            }
            Self::Map(pairs) => {
                let texts: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.text()))
                    .collect();
                texts.join(";")
            }
        }
    }

    /// What `:len` says: members of a list, characters of a text (doc).
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nil => 0,
            Self::Array(values) => values.len(),
            Self::Map(pairs) => pairs.len(),
            Self::Bool(_) | Self::Num(_) | Self::Str(_) | Self::Id(_) => self.text().len(),
        }
    }

    /// The value as a condition, if it is one.
    pub(crate) fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Str(text) if text == "true" || text == "yes" => Some(true),
            Self::Str(text) if text == "false" || text == "no" => Some(false),
            _ => None,
        }
    }

    /// Equality of scripts: by what the values print, so that `"1"` equals `1` (inf).
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self.truth(), other.truth()) {
            (Some(left), Some(right)) => left == right,
            _ => self.text() == other.text(),
        }
    }
}
