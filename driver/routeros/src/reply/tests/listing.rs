//! Listings of any width: rendered here as a device does, read back to the same records.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Value {
    Word(String),
    Number(u64),
    Quoted(String),
}

#[derive(Debug, Clone)]
struct Item {
    flags: String,
    comment: Option<String>,
    pairs: Vec<(&'static str, Value)>,
}

/// A piece of a listing that stays on one line unless it is longer than the line.
struct Piece {
    text: String,
    may_break_inside: bool,
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' | '\\' | '$' => format!("\\{c}"),
            '\n' => "\\n".to_owned(),
            c if u32::from(c) < 32 => format!("\\{:02X}", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

/// Keys of the last two are new to the parser: the device may print what it does not know.
fn is_known(key: &str) -> bool {
    !key.starts_with("new-")
}

fn pieces(item: &Item) -> Vec<Piece> {
    item.pairs
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Value::Word(word) => word.clone(),
                Value::Number(number) => grouped(*number),
                Value::Quoted(text) => format!("\"{}\"", escaped(text)),
            };
            Piece {
                text: format!("{key}={value}"),
                may_break_inside: is_known(key),
            }
        })
        .collect()
}

/// Writes pieces to lines of `width`. `tear` breaks anywhere, as soon as the line is
/// full; otherwise only pieces longer than a line are torn. A break never stands before
/// a blank.
fn wrapped(lines: &mut Vec<String>, indent: usize, pieces: &[Piece], width: usize, tear: bool) {
    let mut line = lines.pop().unwrap_or_default();
    let mut room = width.saturating_sub(line.len());
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 && room > 0 {
            line.push(' ');
            room -= 1;
        }
        let fits = piece.text.len() <= room;
        let tears = piece.may_break_inside && (tear || piece.text.len() > width - indent);
        let starts_here = fits || (tears && room > 0);
        if !starts_here {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            room = width - indent;
        }
        let characters: Vec<char> = piece.text.chars().collect();
        for (at, character) in characters.iter().enumerate() {
            if room == 0 && tears && *character != ' ' && at > 0 {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
                room = width - indent;
            }
            line.push(*character);
            room = room.saturating_sub(1);
        }
    }
    lines.push(line);
}

fn rendered(items: &[Item], width: usize, tear: bool, blank_lines: bool, line_end: &str) -> String {
    let mut lines = vec!["Flags: B - BLOCK-DEVICE; M - MOUNTED; t - NVME-TCP-EXPORT".to_owned()];
    for (index, item) in items.iter().enumerate() {
        let head = format!("{index:>2} {:<3} ", item.flags);
        let indent = head.len();
        lines.push(head);
        if let Some(comment) = &item.comment {
            let text = format!(";;; {comment}");
            let piece = Piece {
                text,
                may_break_inside: true,
            };
            wrapped(&mut lines, indent, &[piece], width, tear);
            lines.push(" ".repeat(indent));
        }
        wrapped(&mut lines, indent, &pieces(item), width, tear);
        if blank_lines {
            lines.push(String::new());
        }
    }
    lines.join(line_end) + line_end
}

fn expected(items: &[Item]) -> Vec<Record> {
    items
        .iter()
        .map(|item| {
            let comment = item
                .comment
                .iter()
                .map(|text| ("comment".to_owned(), text.clone()));
            let pairs = item.pairs.iter().map(|(key, value)| {
                let value = match value {
                    Value::Word(word) => word.clone(),
                    Value::Number(number) => number.to_string(),
                    Value::Quoted(text) => text.clone(),
                };
                ((*key).to_owned(), value)
            });
            Record::new(Some(item.flags.clone()), comment.chain(pairs).collect()).unwrap()
        })
        .collect()
}

/// Numbers keep their grouping in a record; comparing takes it out.
fn ungrouped(records: Vec<Record>) -> Vec<Record> {
    let numbers = ["size", "free", "total-inodes"];
    records
        .into_iter()
        .map(|record| {
            let pairs = record
                .pairs()
                .iter()
                .map(|(key, value)| {
                    let value = if numbers.contains(&key.as_str()) {
                        value.replace(' ', "")
                    } else {
                        value.clone()
                    };
                    (key.clone(), value)
                })
                .collect();
            Record::new(record.flags().map(str::to_owned), pairs).unwrap()
        })
        .collect()
}

fn quoted() -> impl Strategy<Value = Value> {
    // Text that looks like the listing itself must stay text.
    prop_oneof![
        Just("".to_owned()),
        "[ -~]{0,60}",
        Just("type=file slot=\"x\"\n 0 B type=file size=1".to_owned()),
        "(nqn\\.2000-02\\.com\\.mikrotik:)?pvc-[a-z2-7]{26}",
        "[a-z\u{e4}\u{20ac} =\"\\\\$\n\t]{0,20}",
    ]
    // A listing does not show blanks at an edge of what was torn.
    .prop_map(|text| Value::Quoted(text.replace("  ", "_")))
}

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just("yes"),
        Just("no"),
        Just("-"),
        Just("512"),
        Just("1024.0GiB"),
        Just("8%"),
    ]
    .prop_map(|word| Value::Word(word.to_owned()))
}

fn item() -> impl Strategy<Value = Item> {
    let path = "/[a-z0-9]{1,12}(/[a-z0-9._-]{1,40}){1,4}\\.img".prop_map(Value::Word);
    let number = || any::<u64>().prop_map(Value::Number);
    (
        "(B|M|BM|Bt|)",
        proptest::option::of("rds-csi/[a-z0-9-]{1,36}/[A-Za-z0-9._-]{1,128}"),
        (quoted(), quoted(), number(), number(), path),
        (word(), word(), word(), quoted(), word(), quoted()),
    )
        .prop_map(
            |(flags, comment, (slot, model, size, free, path), rest)| Item {
                flags,
                comment,
                pairs: vec![
                    ("type", Value::Word("file".to_owned())),
                    ("slot", slot),
                    ("fs", rest.0),
                    ("model", model),
                    ("size", size),
                    ("free", free),
                    ("mount-filesystem", rest.1),
                    ("new-word", rest.2),
                    ("nvme-tcp-export", Value::Word("no".to_owned())),
                    ("nvme-tcp-server-nqn", rest.3),
                    ("nvme-tcp-server-port", rest.4),
                    ("file-path", path),
                    ("file-size", Value::Word("50.0GiB".to_owned())),
                    ("new-text", rest.5),
                ],
            },
        )
}

proptest! {
    #[test]
    fn a_listing_of_any_width_reads_as_the_same_records(
        items in proptest::collection::vec(item(), 0..4),
        width in prop_oneof![16_usize..240, Just(10_000)],
        tear: bool,
        blank_lines: bool,
        crlf: bool,
    ) {
        let text = rendered(&items, width, tear, blank_lines, if crlf { "\r\n" } else { "\n" });
        let read = prose_records(&text, Listing::Disk);
        prop_assert!(read.is_ok(), "{:?}\n{}", read, text);
        prop_assert_eq!(ungrouped(read.unwrap()), expected(&items), "\n{}", text);
    }

    #[test]
    fn a_number_may_be_split_anywhere(number: u64, split in 0_usize..26, crlf: bool) {
        let digits = grouped(number);
        let (a, b) = digits.split_at(split.min(digits.len()));
        let end = if crlf { "\r\n" } else { "\n" };
        let text = format!(
            " 0 Bt type=file slot=\"a\" size={a}{end}      {b} mount-filesystem=no nvme-tcp-export=no{end}      file-path=/p/a.img{end}"
        );
        let (items, _) = disks(&text, Dialect::Prose).unwrap();
        prop_assert_eq!(items.len(), 1);
        prop_assert_eq!(items[0].file().unwrap().size, Bytes::new(number));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        for dialect in [Dialect::Json, Dialect::Prose] {
            drop(disks(&text, dialect));
            drop(files(&text, dialect));
        }
        drop(Answer::read(&text, &script(2, 2)));
    }

    #[test]
    fn no_text_like_a_listing_makes_it_panic(text in "( 0|31|Bt| |\n|\r|;;;|type=|slot=|name=|size=|\"|\\\\|=|a|1|Flags:){0,80}") {
        drop(disks(&text, Dialect::Prose));
        drop(files(&text, Dialect::Prose));
    }
}
