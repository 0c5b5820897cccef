//! The documents of an export, one after the other: a document a line, or all in one array, as `mongoexport` writes
//! them. What extended JSON says in objects becomes the plain value.

use std::io::BufRead;

use data_encoding::BASE64;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The most bytes of a document: `MongoDB` stores none that is longer.
const LONGEST: usize = 16 * 1024 * 1024;

/// A file that is none of documents.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Malformed {
    line: u64,
    why: String,
}

/// A document, and the number of the line in which it begins.
pub type Numbered = (u64, Map<String, Value>);

/// The documents of a file, one after the other.
pub struct Documents<R> {
    reader: R,
    line: u64,
}

impl<R: BufRead> Documents<R> {
    /// Those that `reader` gives.
    pub fn new(reader: R) -> Self {
        Self { reader, line: 1 }
    }

    /// The next one.
    ///
    /// # Errors
    /// [`Malformed`] for what is no document; nothing behind it can be read.
    pub fn read(&mut self) -> Result<Option<Numbered>, Malformed> {
        let Some((line, text)) = self.text()? else {
            return Ok(None);
        };
        let value: Value = serde_json::from_slice(&text).map_err(|error| Malformed {
            line,
            why: error.to_string(),
        })?;
        match plain(value) {
            Value::Object(members) => Ok(Some((line, members))),
            _ => Err(Malformed {
                line,
                why: "expected a document".to_owned(),
            }),
        }
    }

    /// The text from one opening brace to the closing one that belongs to it.
    fn text(&mut self) -> Result<Option<(u64, Vec<u8>)>, Malformed> {
        let mut document = Document::default();
        let mut begun = self.line;
        loop {
            let malformed = |line, why: &str| Malformed {
                line,
                why: why.to_owned(),
            };
            let buffer = self
                .reader
                .fill_buf()
                .map_err(|error| malformed(self.line, &error.to_string()))?;
            if buffer.is_empty() {
                if document.text.is_empty() {
                    return Ok(None);
                }
                return Err(malformed(begun, "the document has no end"));
            }
            let mut used = 0;
            let mut ended = false;
            for &byte in buffer {
                used += 1;
                if byte == b'\n' {
                    self.line += 1;
                }
                if document.text.is_empty() {
                    match byte {
                        b'{' => begun = self.line,
                        // What stands between documents, and around those of an array; also a byte order mark.
                        b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']' | 0xEF | 0xBB | 0xBF => continue,
                        _ => return Err(malformed(self.line, "expected a document in braces")),
                    }
                }
                if document.add(byte) {
                    ended = true;
                    break;
                }
                if document.text.len() > LONGEST {
                    return Err(malformed(begun, "the document is longer than 16 MiB"));
                }
            }
            self.reader.consume(used);
            if ended {
                return Ok(Some((begun, document.text)));
            }
        }
    }
}

/// A document that is being read.
#[derive(Default)]
struct Document {
    text: Vec<u8>,
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Document {
    /// Adds a byte; true where it is the last one.
    fn add(&mut self, byte: u8) -> bool {
        self.text.push(byte);
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' => self.depth += 1,
            b'}' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// A value of extended JSON (both of its versions) as a plain one; others stay as they are.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(members) => match extended(&members) {
            Some(value) => value,
            None => Value::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name, plain(value)))
                    .collect(),
            ),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        other => other,
    }
}

fn extended(members: &Map<String, Value>) -> Option<Value> {
    let (name, value) = members.iter().next().filter(|(name, _)| name.starts_with('$'))?;
    match name.as_str() {
        "$oid" => Some(value.clone()),
        "$numberLong" | "$numberInt" | "$numberDouble" => {
            serde_json::from_str::<serde_json::Number>(value.as_str()?)
                .ok()
                .map(Value::Number)
        }
        "$date" => {
            let at = match plain(value.clone()) {
                Value::Number(milliseconds) => Timestamp::from_millisecond(milliseconds.as_i64()?)
                    .ok()?
                    .to_string(),
                Value::String(text) => text,
                _ => return None,
            };
            Some(Value::String(at))
        }
        // Python's bytes, which here always hold a text.
        "$binary" => {
            let base64 = value.as_str().or_else(|| value.get("base64")?.as_str())?;
            let bytes = BASE64.decode(base64.as_bytes()).ok()?;
            String::from_utf8(bytes).ok().map(Value::String)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn all(text: &str) -> Result<Vec<(u64, Value)>, String> {
        // A small buffer, so that documents do not end where it ends.
        let mut documents = Documents::new(BufReader::with_capacity(7, text.as_bytes()));
        let mut found = Vec::new();
        while let Some((line, members)) = documents.read().map_err(|error| error.to_string())? {
            found.push((line, Value::Object(members)));
        }
        Ok(found)
    }

    #[test]
    fn lines_and_arrays_are_read_alike() {
        let documents = vec![(1, json!({"a": "}{\"\\"})), (2, json!({"b": [{}, {"c": 1}]}))];
        for text in [
            "{\"a\":\"}{\\\"\\\\\"}\n{\"b\":[{},{\"c\":1}]}\n",
            "[{\"a\":\"}{\\\"\\\\\"},\n{\"b\":[{},{\"c\":1}]}]",
            "\u{feff}[ {\"a\":\"}{\\\"\\\\\"} ,\r\n{\"b\":[{},{\"c\":1}]}\r\n]\r\n",
        ] {
            assert_eq!(all(text).unwrap(), documents, "{text}");
        }
        assert!(all("").unwrap().is_empty());
        assert!(all("[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_export_is_refused_with_its_line() {
        for (text, line) in [
            ("{}\n\n{\"a\":", "line 3: the document has no end"),
            ("username,password\n", "line 1: expected a document in braces"),
            ("{}\n\"{}\"", "line 2: expected a document in braces"),
            ("{\"a\":1}\n{\"a\":tomorrow}", "line 2: "),
        ] {
            let error = all(text).unwrap_err();
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }

    #[test]
    fn extended_json_of_both_versions_becomes_plain() {
        let text = r#"{"_id":{"$oid":"507f1f77bcf86cd799439011"},"old":{"$binary":"JDJi","$type":"00"},
            "new":{"$binary":{"base64":"JDJi","subType":"00"}},"n":{"$numberLong":"1488363072"},"i":{"$numberInt":"7"},
            "d":{"$date":{"$numberLong":"1488363072000"}},"e":{"$date":"2017-03-01T10:11:12Z"},"f":{"$date":1488363072000},
            "kept":{"$other":1}}"#;
        let expected = json!({"_id": "507f1f77bcf86cd799439011", "old": "$2b", "new": "$2b", "n": 1_488_363_072, "i": 7,
            "d": "2017-03-01T10:11:12Z", "e": "2017-03-01T10:11:12Z", "f": "2017-03-01T10:11:12Z",
            "kept": {"$other": 1}});
        assert_eq!(all(text).unwrap(), [(1, expected)]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[\[\]{}",:\\a0$\n ]*"#) {
            let _ = all(&text);
        }
    }
}
