//! Expressions in parentheses, and the single values of arguments.

use super::parse::{Parser, SyntaxError};
use super::quoted;
use super::syntax::{Expr, Operator};
use super::value::Value;

/// Characters that end a bare word anywhere.
fn ends_word(character: char) -> bool {
    character.is_whitespace() || ";[](){}\"$".contains(character)
}

impl Parser<'_> {
    /// What follows a `$`: a variable, `[command]` or `(expression)`.
    pub(super) fn expansion(&mut self) -> Result<Expr, SyntaxError> {
        let at = self.at;
        match self.peek() {
            Some('[') => self.value(),
            Some('(') => self.value(),
            _ => {
                let name = self.identifier();
                if name.is_empty() {
                    return Err(self.syntax_error(at));
                }
                Ok(Expr::Variable(name))
            }
        }
    }

    /// One value of an argument: quoted, `[…]`, `(…)`, `$name` or a bare word.
    pub(super) fn value(&mut self) -> Result<Expr, SyntaxError> {
        self.deeper(|parser| parser.value_of(ends_word))
    }

    fn value_of(&mut self, ends: fn(char) -> bool) -> Result<Expr, SyntaxError> {
        let at = self.at;
        match self.peek() {
            Some('"') => {
                self.at += 1;
                quoted::parse(self)
            }
            Some('$') => {
                self.at += 1;
                self.expansion()
            }
            Some('[') => {
                self.at += 1;
                let script = self.script(Some(']'))?;
                Ok(Expr::Command(script))
            }
            Some('(') => {
                self.at += 1;
                let inner = self.binary(0)?;
                self.skip_space();
                if self.next() == Some(')') {
                    Ok(inner)
                } else {
                    Err(self.syntax_error(self.at.saturating_sub(1)))
                }
            }
            _ => {
                let word = self.take_while(|c| !ends(c));
                if word.is_empty() {
                    return Err(self.syntax_error(at));
                }
                Ok(Expr::Literal(Value::word(&word)))
            }
        }
    }

    fn operator(&mut self, level: usize) -> Option<Operator> {
        let table: &[(&str, Operator)] = match level {
            0 => &[("||", Operator::Or)],
            1 => &[("&&", Operator::And)],
            2 => &[
                ("!=", Operator::Different),
                ("=", Operator::Equal),
                ("<", Operator::Less),
                (">", Operator::Greater),
                ("~", Operator::Matches),
            ],
            _ => &[(".", Operator::Concat)],
        };
        let (text, operator) = table.iter().find(|(text, _)| self.starts_with(text))?;
        self.at += text.len();
        Some(*operator)
    }

    fn binary(&mut self, level: usize) -> Result<Expr, SyntaxError> {
        if level == 4 {
            return self.operand();
        }
        let mut left = self.binary(level + 1)?;
        loop {
            self.skip_space();
            let Some(operator) = self.operator(level) else {
                return Ok(left);
            };
            let right = self.binary(level + 1)?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
    }

    fn operand(&mut self) -> Result<Expr, SyntaxError> {
        self.skip_space();
        self.deeper(|parser| {
            if parser.peek() == Some('!') {
                parser.at += 1;
                return Ok(Expr::Not(Box::new(parser.operand()?)));
            }
            parser.value_of(|c| ends_word(c) || "=!<>&|~.".contains(c))
        })
    }
}
