//! From the text of a script to its statements, or to the one syntax error.
//!
//! Positions are counted as the console does: lines and columns from 1.

use super::schema::{self, Conditions};
use super::syntax::{Call, Condition, Menu, Script, Statement, Test, Verb};

/// Nesting beyond this is refused, so that no script exhausts the stack.
const DEPTH: usize = 48;

/// A script that the console refuses before it runs anything; the text is the console's (3p).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SyntaxError(String);

/// The reader.
pub(super) struct Parser<'a> {
    text: &'a [char],
    pub(super) at: usize,
    depth: usize,
    menu: Menu,
    pub(super) knows: Knows,
}

/// Which commands the console knows that not every version does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knows {
    pub(crate) onerror: bool,
    pub(crate) serialize: bool,
}

/// Parses a whole script.
pub(crate) fn parse(text: &str, knows: Knows) -> Result<Script, SyntaxError> {
    let text: Vec<char> = text.replace("\r\n", "\n").chars().collect();
    let mut parser = Parser {
        text: &text,
        at: 0,
        depth: 0,
        menu: Menu::Root,
        knows,
    };
    parser.script(None)
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    pub(super) fn starts_with(&self, text: &str) -> bool {
        text.chars()
            .enumerate()
            .all(|(offset, c)| self.text.get(self.at + offset) == Some(&c))
    }

    pub(super) fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&keep) {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }

    pub(super) fn identifier(&mut self) -> String {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    }

    /// Spaces, and line ends hidden by a backslash.
    pub(super) fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.text.get(self.at + 1) == Some(&'\n') => self.at += 2,
                _ => return,
            }
        }
    }

    /// Spaces and line ends, inside parentheses.
    pub(super) fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn place(&self, at: usize) -> String {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.iter().filter(|&&c| c == '\n').count() + 1;
        let column = before.iter().rev().take_while(|&&c| c != '\n').count() + 1;
        format!("(line {line} column {column})")
    }

    pub(super) fn syntax_error(&self, at: usize) -> SyntaxError {
        SyntaxError(format!("syntax error {}", self.place(at)))
    }

    pub(super) fn end_expected(&self, at: usize) -> SyntaxError {
        SyntaxError(format!("expected end of command {}", self.place(at)))
    }

    pub(super) fn bad_command(&self, name: &str, at: usize) -> SyntaxError {
        SyntaxError(format!("bad command name {name} {}", self.place(at)))
    }

    pub(super) fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        if self.depth >= DEPTH {
            return Err(self.syntax_error(self.at));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Statements up to `closing`, or to the end of the text.
    pub(super) fn script(&mut self, closing: Option<char>) -> Result<Script, SyntaxError> {
        let menu = self.menu;
        let script = self.deeper(|parser| parser.statements(closing));
        self.menu = menu;
        script
    }

    fn statements(&mut self, closing: Option<char>) -> Result<Script, SyntaxError> {
        let mut script = Vec::new();
        loop {
            while self.peek().is_some_and(|c| c.is_whitespace() || c == ';') {
                self.at += 1;
            }
            match self.peek() {
                None if closing.is_none() => return Ok(script),
                None => return Err(self.syntax_error(self.at)),
                Some('#') => {
                    self.take_while(|c| c != '\n');
                }
                Some(c) if Some(c) == closing => {
                    self.at += 1;
                    return Ok(script);
                }
                Some(_) => {
                    script.extend(self.statement()?);
                    self.skip_blanks();
                    let ended = match self.peek() {
                        None | Some(';' | '\n') => true,
                        Some(c) => Some(c) == closing,
                    };
                    if !ended {
                        return Err(self.end_expected(self.at));
                    }
                }
            }
        }
    }

    /// One statement; nothing for a menu that is only entered.
    fn statement(&mut self) -> Result<Option<Statement>, SyntaxError> {
        let at = self.at;
        match self.peek() {
            Some('/') => self.menu_command(Menu::Root, at),
            Some(':') => {
                self.at += 1;
                self.global(at).map(Some)
            }
            Some('{') => {
                self.at += 1;
                let body = self.script(Some('}'))?;
                Ok(Some(Statement::Do {
                    body,
                    on_error: None,
                }))
            }
            _ => {
                let name = self.identifier();
                self.at = at;
                if schema::verb(self.menu, &name).is_some()
                    || schema::submenu(self.menu, &name).is_some()
                {
                    self.menu_command(self.menu, at)
                } else {
                    self.global(at).map(Some)
                }
            }
        }
    }

    fn menu_command(&mut self, from: Menu, start: usize) -> Result<Option<Statement>, SyntaxError> {
        let mut menu = from;
        loop {
            self.take_while(|c| c == ' ' || c == '\t' || c == '/');
            let at = self.at;
            let name = self.identifier();
            if name.is_empty() {
                let ended = matches!(self.peek(), None | Some(';' | '\n' | '}' | ']'));
                if !ended || at == start {
                    return Err(self.syntax_error(at));
                }
                self.menu = menu;
                return Ok(None);
            }
            if let Some(below) = schema::submenu(menu, &name) {
                menu = below;
            } else if let Some(verb) = schema::verb(menu, &name) {
                let outer = std::mem::replace(&mut self.menu, menu);
                let call = self.call(menu, verb);
                self.menu = outer;
                return call.map(|call| Some(Statement::Menu(call)));
            } else {
                return Err(self.bad_command(&name, at));
            }
        }
    }

    pub(super) fn ends_command(&mut self) -> bool {
        self.skip_blanks();
        matches!(self.peek(), None | Some(';' | '\n' | ']' | '}' | ')'))
    }

    fn call(&mut self, menu: Menu, verb: Verb) -> Result<Call, SyntaxError> {
        let takes = schema::arguments(menu, verb);
        let mut call = Call {
            menu,
            verb,
            named: Vec::new(),
            flags: Vec::new(),
            positional: Vec::new(),
            conditions: Vec::new(),
        };
        if takes.conditions == Conditions::Bare {
            call.conditions = self.conditions()?;
            return Ok(call);
        }
        while !self.ends_command() {
            let at = self.at;
            let name = self.identifier();
            if !name.is_empty() && self.peek() == Some('=') {
                if !takes.named.contains(&name.as_str()) {
                    return Err(self.end_expected(at));
                }
                self.at += 1;
                let value = self.value()?;
                call.named.push((name, value));
            } else if takes.flags.contains(&name.as_str()) {
                call.flags.push(name);
            } else if name == "where" && takes.conditions == Conditions::AfterWhere {
                call.conditions = self.conditions()?;
            } else if call.positional.len() < takes.positional {
                self.at = at;
                call.positional.push(self.value()?);
            } else {
                return Err(self.end_expected(at));
            }
        }
        Ok(call)
    }

    /// `name=value name~"…" and name!=value`, up to the end of the command.
    fn conditions(&mut self) -> Result<Vec<Condition>, SyntaxError> {
        let mut conditions = Vec::new();
        while !self.ends_command() {
            let at = self.at;
            if self.starts_with("&&") {
                self.at += 2;
                continue;
            }
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
            if (name == "and" || name == "where") && self.peek().is_none_or(char::is_whitespace) {
                continue;
            }
            if name.is_empty() {
                return Err(self.syntax_error(at));
            }
            let test = if self.starts_with("!=") {
                self.at += 2;
                Test::Different
            } else if self.starts_with("=") {
                self.at += 1;
                Test::Equal
            } else if self.starts_with("~") {
                self.at += 1;
                Test::Matches
            } else {
                return Err(self.end_expected(at));
            };
            let value = self.value()?;
            conditions.push(Condition { name, test, value });
        }
        Ok(conditions)
    }
}
