//! Which items a command means: `find`, `where`, `get`, and the values of `numbers`.

use super::rows::Row;
use super::{Answer, Model, Request};
use crate::console::{Menu, Message, Pattern, Test, Value};
use crate::variants::EmptyFind;

/// Whether a row meets every condition.
pub(super) fn meets(row: &Row, filters: &[(String, Test, Value)]) -> bool {
    filters.iter().all(|(name, test, wanted)| {
        let value = row.value(name).unwrap_or_default();
        match test {
            Test::Equal => value.same(wanted),
            Test::Different => !value.same(wanted),
            Test::Matches => {
                let pattern = Pattern::new(&wanted.text());
                pattern.is_some_and(|pattern| pattern.matches(&value.text()))
            }
        }
    })
}

impl Model {
    /// All rows of a menu.
    pub(super) fn rows(&self, menu: Menu) -> Result<Vec<Row>, Message> {
        if menu == Menu::Disk {
            return Ok(self.disk_rows());
        }
        let entries = self.entries();
        let entries = entries.map_err(|error| Message::failure(&error.to_string()))?;
        Ok(entries.iter().map(|entry| self.file_row(entry)).collect())
    }

    /// `find`: the ids of the rows that match; none is an empty list (doc).
    pub(super) fn find(&self, request: &Request) -> Result<Answer, Message> {
        let rows = self.rows(request.menu)?;
        let ids = rows
            .into_iter()
            .filter(|row| meets(row, &request.filters))
            .map(|row| Value::Id(row.id))
            .collect();
        Ok(Answer {
            printed: String::new(),
            value: Value::Array(ids),
        })
    }

    /// `get`: one property of one item, or all of them.
    pub(super) fn get(&self, request: &Request) -> Result<Answer, Message> {
        let given = request
            .positional
            .first()
            .or_else(|| request.named("number"));
        let given = given.ok_or_else(Message::no_such_item)?;
        let rows = self.rows(request.menu)?;
        let name = if request.menu == Menu::File {
            "name"
        } else {
            "slot"
        };
        let mut chosen = choose(given, &rows, name)?;
        let row = chosen.pop().ok_or_else(Message::no_such_item)?;
        let property = request
            .positional
            .get(1)
            .or_else(|| request.named("value-name"));
        let value = match property {
            None => self.as_value(row, &[]),
            Some(property) => {
                let found = row.value(&property.text());
                found.ok_or_else(|| Message::no_match("value-name"))?
            }
        };
        Ok(Answer {
            printed: String::new(),
            value,
        })
    }

    /// The ids of the disk items that `given` names: ids, slots, or lists of them.
    pub(super) fn numbers(&self, given: &Value) -> Result<Vec<u32>, Message> {
        let rows = self.disk_rows();
        let chosen = choose(given, &rows, "slot")?;
        let ids = chosen.iter().filter_map(|row| {
            let items = &self.device.items;
            items.iter().find(|item| item.printed_id() == row.id)
        });
        Ok(ids.map(|item| item.id).collect())
    }

    /// The names of the files that `numbers` or the first argument means.
    pub(super) fn chosen_files(&self, request: &Request) -> Result<Vec<String>, Message> {
        let given = request
            .positional
            .first()
            .or_else(|| request.named("numbers"));
        let rows = self.rows(Menu::File)?;
        let chosen = choose(given.ok_or_else(Message::no_such_item)?, &rows, "name")?;
        if chosen.is_empty() && self.variants.empty_find == EmptyFind::NoSuchItem {
            return Err(Message::no_such_item());
        }
        let names = chosen.iter().filter_map(|row| row.value("name"));
        Ok(names.map(|name| name.text()).collect())
    }

    /// A row as as-value gives it; `wanted` names properties in order, none means all.
    pub(super) fn as_value(&self, row: &Row, wanted: &[String]) -> Value {
        let mut pairs = vec![(".id".to_owned(), Value::Id(row.id.clone()))];
        if wanted.is_empty() {
            if !row.comment.is_empty() {
                pairs.push(("comment".to_owned(), Value::Str(row.comment.clone())));
            }
            for property in row.properties.iter().filter(|property| property.shown) {
                pairs.push((property.name.to_owned(), property.value.clone()));
            }
        }
        for name in wanted.iter().filter(|name| *name != ".id") {
            let hidden = row.properties.iter().any(|p| p.name == name && !p.shown);
            if let Some(value) = row.value(name).filter(|_| !hidden) {
                pairs.push((name.clone(), value));
            }
        }
        Value::Map(pairs)
    }
}

/// The rows that a value means. A text or id that means none is `no such item` (3p); the
/// numbers of an earlier print are not kept between executions, so they mean none either.
fn choose<'a>(given: &Value, rows: &'a [Row], name: &str) -> Result<Vec<&'a Row>, Message> {
    match given {
        Value::Array(values) => {
            let mut chosen = Vec::new();
            for value in values {
                chosen.extend(choose(value, rows, name)?);
            }
            Ok(chosen)
        }
        Value::Nil => Ok(Vec::new()),
        Value::Id(id) => {
            let row = rows.iter().find(|row| row.id == *id);
            row.map(|row| vec![row]).ok_or_else(Message::no_such_item)
        }
        other => {
            let wanted = Value::Str(other.text());
            let mut found = rows
                .iter()
                .filter(|row| row.value(name).as_ref() == Some(&wanted));
            found
                .next()
                .map(|row| vec![row])
                .ok_or_else(Message::no_such_item)
        }
    }
}
