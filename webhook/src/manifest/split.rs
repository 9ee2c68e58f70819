//! One text to its documents, each parsed by itself, so that one broken document hides
//! no other.

use serde_json::Value;

/// After so many broken documents the rest is not tried.
const MOST_ERRORS: usize = 100;

/// Why one document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DocumentError {
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

/// The documents of a YAML stream. A line that begins with `---` starts a document
/// wherever it stands (YAML 1.2.2, §9.1.4), so splitting by lines is exact.
pub(super) fn yaml(text: &str) -> Vec<Result<Value, DocumentError>> {
    let mut documents = Vec::new();
    let mut chunk = String::new();
    let (mut start, mut errors) = (0, 0);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, content) in text.split_inclusive('\n').enumerate() {
        if is_marker(content, "---") || is_marker(content, "...") {
            finish(&chunk, start, &mut documents, &mut errors);
            chunk.clear();
            // The marker's own line may carry a comment or content.
            chunk.push_str("   ");
            chunk.push_str(&content[3..]);
            start = line;
        } else {
            chunk.push_str(content);
        }
        if errors >= MOST_ERRORS {
            return documents;
        }
    }
    finish(&chunk, start, &mut documents, &mut errors);
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn finish(
    chunk: &str,
    start: usize,
    documents: &mut Vec<Result<Value, DocumentError>>,
    errors: &mut usize,
) {
    let says_nothing = chunk
        .lines()
        .map(str::trim_start)
        .all(|line| line.is_empty() || line.starts_with(['#', '%']));
    if says_nothing {
        return;
    }
    match parse(chunk, start) {
        Ok(Value::Null) => {}
        Ok(value) => documents.push(Ok(value)),
        Err(error) => {
            *errors += 1;
            documents.push(Err(error));
        }
    }
}

fn parse(chunk: &str, start: usize) -> Result<Value, DocumentError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(chunk, options).map_err(|error| {
        let before = start as u64;
        let rendered = error.render_with_options(serde_saphyr::render_options! {
            line_offset: before,
        });
        DocumentError {
            line: error.location().map(|location| location.line() + before),
            message: format!("is not YAML: {}", first_line(&rendered)),
        }
    })
}

fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}

/// The objects of a JSON text; after a broken one nothing can be read.
pub(super) fn json(text: &str) -> Vec<Result<Value, DocumentError>> {
    serde_json::Deserializer::from_str(text)
        .into_iter::<Value>()
        .map(|document| {
            document.map_err(|error| DocumentError {
                line: Some(error.line() as u64),
                message: format!("is not JSON: {error}"),
            })
        })
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}
