//! Runs a parsed script against the model.
//!
//! Output is collected, never streamed: a fault that cuts an answer short is applied to
//! the collected bytes. A budget of statements lets a fault stop a script between two of
//! them, as a connection that breaks stops the console of a device.

use std::collections::HashMap;
use std::time::Duration;

use super::syntax::{Call, Expr, Piece, Script, Statement, Test};
use super::value::Value;
use super::{Message, Pattern, json, operators};
use crate::model::{Model, Request};

/// Longest that the `:delay`s of one script may take together.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// Why a script stopped before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A statement failed.
    Failed(Message),
    /// The budget of statements is used up.
    Cut,
}

impl From<Message> for Stop {
    fn from(message: Message) -> Self {
        Self::Failed(message)
    }
}

/// What a script did.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// What was printed, lines ended by `\n`.
    pub(crate) printed: String,
    /// Whether a statement failed.
    pub(crate) failed: bool,
    /// Whether the budget stopped it.
    pub(crate) cut: bool,
    /// The sum of its delays.
    pub(crate) delay: Duration,
}

/// One run of one script.
pub(crate) struct Interpreter<'a> {
    model: &'a mut Model,
    scopes: Vec<HashMap<String, Value>>,
    run: Run,
    budget: Option<usize>,
}

type Evaluated<T> = Result<T, Stop>;

impl<'a> Interpreter<'a> {
    /// A run against `model` that stops after `budget` statements, if there is a budget.
    /// A statement is a command of the script or of a block in it; `:do`, `:if` and
    /// `:onerror` themselves and commands inside `[…]` are not counted.
    pub(crate) fn new(model: &'a mut Model, budget: Option<usize>) -> Self {
        Self {
            model,
            scopes: vec![HashMap::new()],
            run: Run::default(),
            budget,
        }
    }

    /// Runs to the end, the first failure or the end of the budget.
    pub(crate) fn run(mut self, script: &Script) -> Run {
        for statement in script {
            match self.counted(statement) {
                Ok(_) => {}
                Err(Stop::Cut) => {
                    self.run.cut = true;
                    break;
                }
                Err(Stop::Failed(message)) => {
                    self.print(&message.0);
                    self.run.failed = true;
                    if self.model.variants().abort_on_failure {
                        break;
                    }
                }
            }
        }
        self.run
    }

    fn print(&mut self, line: &str) {
        self.run.printed.push_str(line);
        self.run.printed.push('\n');
    }

    fn block(&mut self, script: &Script) -> Evaluated<()> {
        self.scopes.push(HashMap::new());
        let result = script
            .iter()
            .try_for_each(|statement| self.counted(statement).map(drop));
        self.scopes.pop();
        result
    }

    fn counted(&mut self, statement: &Statement) -> Evaluated<Value> {
        let structure = matches!(
            statement,
            Statement::Do { .. } | Statement::If { .. } | Statement::OnError { .. }
        );
        if !structure && let Some(left) = &mut self.budget {
            if *left == 0 {
                return Err(Stop::Cut);
            }
            *left -= 1;
        }
        self.statement(statement)
    }

    fn statement(&mut self, statement: &Statement) -> Evaluated<Value> {
        match statement {
            Statement::Put(value) => {
                let text = self.value(value)?.text();
                self.print(&text);
            }
            Statement::Error(value) => {
                let text = self.value(value)?.text();
                return Err(Message::new(text).into());
            }
            Statement::Delay(value) => {
                let text = self.value(value)?.text();
                let delay =
                    operators::duration(&text).ok_or_else(|| Message::invalid("delay-time"))?;
                self.run.delay = self.run.delay.saturating_add(delay).min(LONGEST_DELAY);
            }
            Statement::Local { name, value } => {
                let value = match value {
                    Some(value) => self.value(value)?,
                    None => Value::Nil,
                };
                if let Some(scope) = self.scopes.last_mut() {
                    scope.insert(name.clone(), value);
                }
            }
            Statement::Len(value) => {
                let length = self.value(value)?.len();
                return Ok(Value::Num(i64::try_from(length).unwrap_or(i64::MAX)));
            }
            Statement::Serialize {
                value,
                keep_strings,
            } => {
                let value = self.value(value)?;
                let numbers = self.model.variants().json_numbers;
                return Ok(Value::Str(json::serialize(&value, *keep_strings, numbers)));
            }
            Statement::Do { .. } | Statement::OnError { .. } | Statement::If { .. } => {
                return self.structure(statement);
            }
            Statement::Menu(call) => {
                let request = self.request(call)?;
                let answer = self.model.perform(&request)?;
                self.run.printed.push_str(&answer.printed);
                return Ok(answer.value);
            }
        }
        Ok(Value::Nil)
    }

    fn structure(&mut self, statement: &Statement) -> Evaluated<Value> {
        match statement {
            Statement::Do { body, on_error } => match (self.block(body), on_error) {
                (Err(Stop::Failed(_)), Some(handler)) => self.block(handler)?,
                (result, _) => result?,
            },
            Statement::OnError {
                name,
                body,
                handler,
            } => match self.block(body) {
                Err(Stop::Failed(message)) => {
                    let error = HashMap::from([(name.clone(), Value::Str(message.0))]);
                    self.scopes.push(error);
                    let result = self.block(handler);
                    self.scopes.pop();
                    result?;
                }
                result => result?,
            },
            Statement::If {
                condition,
                then,
                otherwise,
            } => {
                let value = self.value(condition)?;
                let truth = value
                    .truth()
                    .ok_or_else(|| Message::new("conditional not boolean"))?;
                if truth {
                    self.block(then)?;
                } else if let Some(otherwise) = otherwise {
                    self.block(otherwise)?;
                }
            }
            _ => {}
        }
        Ok(Value::Nil)
    }

    fn request(&mut self, call: &Call) -> Evaluated<Request> {
        let mut request = Request {
            menu: call.menu,
            verb: call.verb,
            named: Vec::new(),
            flags: call.flags.clone(),
            positional: Vec::new(),
            filters: Vec::new(),
        };
        for (name, value) in &call.named {
            let value = self.value(value)?;
            request.named.push((name.clone(), value));
        }
        for value in &call.positional {
            let value = self.value(value)?;
            request.positional.push(value);
        }
        for condition in &call.conditions {
            let value = self.value(&condition.value)?;
            if condition.test == Test::Matches && Pattern::new(&value.text()).is_none() {
                return Err(Message::new("failure: pattern is not modelled").into());
            }
            request
                .filters
                .push((condition.name.clone(), condition.test, value));
        }
        Ok(request)
    }

    fn value(&mut self, expression: &Expr) -> Evaluated<Value> {
        match expression {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Variable(name) => {
                let found = self.scopes.iter().rev().find_map(|scope| scope.get(name));
                Ok(found.cloned().unwrap_or(Value::Nil))
            }
            Expr::Quoted(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(plain) => text.push_str(plain),
                        Piece::Of(inner) => text.push_str(&self.value(inner)?.text()),
                    }
                }
                Ok(Value::Str(text))
            }
            Expr::Command(script) => {
                let mut last = Value::Nil;
                self.scopes.push(HashMap::new());
                for statement in script {
                    match self.statement(statement) {
                        Ok(value) => last = value,
                        Err(stop) => {
                            self.scopes.pop();
                            return Err(stop);
                        }
                    }
                }
                self.scopes.pop();
                Ok(last)
            }
            Expr::Not(inner) => {
                let value = self.value(inner)?;
                let truth = value.truth().ok_or_else(operators::type_error)?;
                Ok(Value::Bool(!truth))
            }
            Expr::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                Ok(operators::apply(*operator, &left, &right)?)
            }
        }
    }
}
