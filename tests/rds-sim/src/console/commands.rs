//! The commands of the language itself: `:put`, `:do`, `:if` and the like.

use super::parse::{Parser, SyntaxError};
use super::syntax::{Expr, Script, Statement};

impl Parser<'_> {
    /// `{…}` after `name=`; the name must be there.
    fn block(&mut self, name: &str) -> Result<Script, SyntaxError> {
        self.optional_block(name)?
            .ok_or_else(|| self.syntax_error(self.at))
    }

    fn optional_block(&mut self, name: &str) -> Result<Option<Script>, SyntaxError> {
        let at = self.at;
        self.skip_blanks();
        if !self.starts_with(&format!("{name}=")) {
            self.at = at;
            return Ok(None);
        }
        self.at += name.len() + 1;
        self.braces().map(Some)
    }

    fn braces(&mut self) -> Result<Script, SyntaxError> {
        self.skip_blanks();
        if self.peek() == Some('{') {
            self.at += 1;
            self.script(Some('}'))
        } else {
            Err(self.syntax_error(self.at))
        }
    }

    fn argument(&mut self) -> Result<Expr, SyntaxError> {
        self.skip_blanks();
        self.value()
    }

    /// A command of the language itself; the colon may be left out (doc).
    pub(super) fn global(&mut self, start: usize) -> Result<Statement, SyntaxError> {
        let at = self.at;
        let name = self.identifier();
        match name.as_str() {
            "put" => Ok(Statement::Put(self.argument()?)),
            "error" => Ok(Statement::Error(self.argument()?)),
            "delay" => Ok(Statement::Delay(self.argument()?)),
            "len" => Ok(Statement::Len(self.argument()?)),
            "local" => {
                self.skip_blanks();
                let name = self.identifier();
                if name.is_empty() {
                    return Err(self.syntax_error(self.at));
                }
                let value = if self.ends_command() {
                    None
                } else {
                    Some(self.value()?)
                };
                Ok(Statement::Local { name, value })
            }
            "do" => Ok(Statement::Do {
                body: self.braces()?,
                on_error: self.optional_block("on-error")?,
            }),
            "onerror" if self.knows.onerror => {
                self.skip_blanks();
                let name = self.identifier();
                let body = self.block("in")?;
                let handler = self.block("do")?;
                Ok(Statement::OnError {
                    name,
                    body,
                    handler,
                })
            }
            "if" => Ok(Statement::If {
                condition: self.argument()?,
                then: self.block("do")?,
                otherwise: self.optional_block("else")?,
            }),
            "serialize" if self.knows.serialize => self.serialize(),
            "" => Err(self.syntax_error(start)),
            _ => Err(self.bad_command(&name, at)),
        }
    }

    /// `:serialize to=json <value> [options=json.no-string-conversion]`, in any order (doc).
    fn serialize(&mut self) -> Result<Statement, SyntaxError> {
        let start = self.at;
        let mut value = None;
        let (mut to_json, mut keep_strings) = (false, false);
        while !self.ends_command() {
            let at = self.at;
            if self.starts_with("to=json") {
                self.at += 7;
                to_json = true;
            } else if self.starts_with("options=json.no-string-conversion") {
                self.at += 33;
                keep_strings = true;
            } else if value.is_none() && !self.starts_with("to=") && !self.starts_with("options=") {
                if self.starts_with("value=") {
                    self.at += 6;
                }
                value = Some(self.value()?);
            } else {
                return Err(self.end_expected(at));
            }
        }
        match value {
            Some(value) if to_json => Ok(Statement::Serialize {
                value,
                keep_strings,
            }),
            _ => Err(self.syntax_error(start)),
        }
    }
}
