//! What `print` writes: the layout of the captures.
//!
//! Rules read off captures of an RDS2216 (hw): only flags in use have a column, in a fixed
//! order, and a word in the legend; the index takes two columns at least; what does not fit
//! the line goes to the next one, indented to the first property; a line holds two columns
//! fewer than the terminal has. A property that fits no line is broken after its `=`, and
//! then anywhere (3p: a reader lost a path that way).

use super::rows::{Property, Row};
use super::select::meets;
use super::{Answer, Model, Request};
use crate::console::{Menu, Message, Value};
use crate::variants::{EmptyPrint, Width, Wrap};

/// Flags in the order of their columns, with the words of the legend. The words of B and t
/// are captured, the others follow them (inf).
const FLAGS: &[(char, &str)] = &[
    ('X', "DISABLED"),
    ('E', "EMPTY"),
    ('B', "BLOCK-DEVICE"),
    ('M', "MOUNTED"),
    ('S', "SWAP"),
    ('f', "RAID-MEMBER-FAILED"),
    ('r', "RAID-MEMBER"),
    ('t', "NVME-TCP-EXPORT"),
];

/// Breaks properties into lines of at most `limit` characters after an indent of `indent`.
pub(super) fn wrap(properties: &[String], indent: usize, limit: usize, wrap: Wrap) -> Vec<String> {
    let room = limit.saturating_sub(indent).max(8);
    let mut lines = vec![String::new()];
    let mut put = |piece: &str| {
        let length = piece.chars().count();
        let last = lines.last_mut().map_or(0, |line| line.chars().count());
        if last == 0 || last + 1 + length > room {
            if last > 0 {
                lines.push(String::new());
            }
        } else if let Some(line) = lines.last_mut() {
            line.push(' ');
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(piece);
        }
    };
    for property in properties {
        let pieces: Vec<&str> = match wrap {
            Wrap::Properties => vec![property],
            Wrap::Values => property.split(' ').collect(),
        };
        for piece in pieces {
            if piece.chars().count() <= room {
                put(piece);
                continue;
            }
            let (name, value) = piece.split_once('=').unwrap_or(("", piece));
            if !name.is_empty() {
                put(&format!("{name}="));
            }
            let value: Vec<char> = value.chars().collect();
            for part in value.chunks(room) {
                // A full line of its own: what is before and after does not fit beside it.
                put(&part.iter().collect::<String>());
            }
        }
    }
    lines
}

fn legend(flags: &[(char, &str)]) -> String {
    let words: Vec<String> = flags
        .iter()
        .map(|(flag, word)| format!("{flag} - {word}"))
        .collect();
    format!("Flags: {}\n", words.join("; "))
}

impl Model {
    /// Characters that a printed line holds.
    fn line_limit(&self) -> usize {
        match self.variants.width {
            Width::Columns(columns) => usize::from(columns).saturating_sub(2),
            Width::None => usize::MAX,
        }
    }

    /// `print` of a menu.
    pub(super) fn print(&self, request: &Request) -> Result<Answer, Message> {
        let rows = self.rows(request.menu)?;
        let matching: Vec<(usize, &Row)> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| meets(row, &request.filters))
            .collect();
        let wanted: Vec<String> = request.named("proplist").map_or_else(Vec::new, |list| {
            list.text().split(',').map(str::to_owned).collect()
        });
        if request.has("count-only") {
            let count = i64::try_from(matching.len()).unwrap_or(i64::MAX);
            let printed = if request.has("as-value") {
                String::new()
            } else {
                format!("{count}\n")
            };
            return Ok(Answer {
                printed,
                value: Value::Num(count),
            });
        }
        if request.has("as-value") {
            let values = matching.iter().map(|(_, row)| self.as_value(row, &wanted));
            return Ok(Answer {
                printed: String::new(),
                value: Value::Array(values.collect()),
            });
        }
        let printed = if matching.is_empty() {
            match (self.variants.empty_print, request.menu) {
                (EmptyPrint::Legend, Menu::Disk) => legend(FLAGS),
                _ => String::new(),
            }
        } else if request.has("detail") || request.menu == Menu::File {
            self.detail(request.menu, &matching, &wanted)
        } else {
            table(&matching)
        };
        Ok(Answer {
            printed,
            value: Value::Nil,
        })
    }

    fn detail(&self, menu: Menu, rows: &[(usize, &Row)], wanted: &[String]) -> String {
        let used: Vec<(char, &str)> = FLAGS
            .iter()
            .copied()
            .filter(|(flag, _)| rows.iter().any(|(_, row)| row.flags.contains(flag)))
            .collect();
        let mut printed = String::new();
        if menu == Menu::Disk && !used.is_empty() {
            printed.push_str(&legend(&used));
        }
        let items: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(place, (index, row))| {
                // Disks keep their place in the whole list, files are counted as printed (hw).
                let number = if menu == Menu::Disk { *index } else { place };
                let columns: String = used
                    .iter()
                    .map(|(flag, _)| if row.flags.contains(flag) { *flag } else { ' ' })
                    .collect();
                let columns = if menu == Menu::File { " " } else { &columns };
                self.item_lines(&format!("{number:>2} {columns} "), row, wanted)
            })
            .collect();
        printed.push_str(&items.join("\n"));
        printed
    }

    fn item_lines(&self, prefix: &str, row: &Row, wanted: &[String]) -> String {
        let shown = |property: &&Property| {
            property.shown && (wanted.is_empty() || wanted.iter().any(|w| w == property.name))
        };
        let properties: Vec<String> = row
            .properties
            .iter()
            .filter(shown)
            .map(|property| format!("{}={}", property.name, property.prose))
            .collect();
        let indent = prefix.chars().count();
        let limit = self.line_limit();
        let mut lines = wrap(&properties, indent, limit, self.variants.wrap);
        // A comment comes before the properties, on a line of its own (doc).
        if !row.comment.is_empty() {
            lines.insert(0, format!(";;; {}", row.comment));
        }
        let mut printed = String::new();
        for (number, line) in lines.iter().enumerate() {
            if number == 0 {
                printed.push_str(prefix);
            } else {
                printed.push_str(&" ".repeat(indent));
            }
            printed.push_str(line);
            printed.push('\n');
        }
        printed
    }
}

/// The table of a print without detail (doc: its shape; its exact columns are not captured).
fn table(rows: &[(usize, &Row)]) -> String {
    let used: Vec<(char, &str)> = FLAGS
        .iter()
        .copied()
        .filter(|(flag, _)| rows.iter().any(|(_, row)| row.flags.contains(flag)))
        .collect();
    let mut printed = legend(&used);
    printed.push_str("Columns: SLOT, MODEL, SIZE, FREE, FS\n");
    for (index, row) in rows {
        let flags: String = used
            .iter()
            .map(|(flag, _)| if row.flags.contains(flag) { *flag } else { ' ' })
            .collect();
        let prose = |name: &str| {
            let mut properties = row.properties.iter();
            let found = properties.find(|property| property.name == name);
            found
                .map_or("", |property| property.prose.as_str())
                .trim_matches('"')
        };
        printed.push_str(&format!(
            "{index:>2} {flags} {}  {}  {}  {}  {}\n",
            prose("slot"),
            prose("model"),
            prose("size"),
            prose("free"),
            prose("fs")
        ));
    }
    printed
}
