//! A parsed script.

use super::value::Value;

/// Where menus lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Menu {
    /// `/`
    Root,
    /// `/disk`
    Disk,
    /// `/file`
    File,
    /// `/system`
    System,
    /// `/system/resource`
    Resource,
}

/// The commands of menus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Set,
    Remove,
    Print,
    Find,
    Get,
    MonitorTraffic,
}

impl Verb {
    /// Whether it needs the right to write.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Add | Self::Set | Self::Remove)
    }
}

/// Statements in order.
pub(crate) type Script = Vec<Statement>;

/// One statement.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    Put(Expr),
    Error(Expr),
    Delay(Expr),
    Local {
        name: String,
        value: Option<Expr>,
    },
    Len(Expr),
    Serialize {
        value: Expr,
        keep_strings: bool,
    },
    Do {
        body: Script,
        on_error: Option<Script>,
    },
    OnError {
        name: String,
        body: Script,
        handler: Script,
    },
    If {
        condition: Expr,
        then: Script,
        otherwise: Option<Script>,
    },
    Menu(Call),
}

/// One command of a menu.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) menu: Menu,
    pub(crate) verb: Verb,
    pub(crate) named: Vec<(String, Expr)>,
    pub(crate) flags: Vec<String>,
    pub(crate) positional: Vec<Expr>,
    pub(crate) conditions: Vec<Condition>,
}

/// `name=value` of `where` and `find`.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) name: String,
    pub(crate) test: Test,
    pub(crate) value: Expr,
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Equal,
    Different,
    Matches,
}

/// An expression.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Literal(Value),
    Quoted(Vec<Piece>),
    Variable(String),
    Command(Script),
    Not(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
}

/// A part of a quoted text.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Text(String),
    Of(Expr),
}

/// Operators, loosest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    Different,
    Less,
    Greater,
    Matches,
    Concat,
}
