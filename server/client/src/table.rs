//! Tables of accounts as spreadsheets write them: their characters, and how they are cut for the server.

use posthouse_protocol::{Username, limits};

/// Most bytes of a part: with every one escaped it still fits into a frame.
const PART_LEN_MAX: usize = 56 * 1024;

/// What one call of `accounts.import` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePart {
    /// The line with the names of the columns, and some rows.
    pub csv: String,
    /// Which line of the file the first of the rows is.
    pub first_line: u64,
}

impl TablePart {
    /// The user names with the lines that they stand in; what is none is left to the server, which says why.
    pub fn names(&self) -> Vec<(u64, Username)> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(self.csv.as_bytes());
        let column = reader.headers().ok().and_then(|names| names.iter().position(is_username));
        let (Some(column), Ok(starts)) = (column, row_starts(&self.csv)) else { return Vec::new() };
        let first = starts.first().map_or(0, |start| line_of(&self.csv, *start));
        let line = |start: usize| line_of(&self.csv, start) - first + self.first_line;
        let rows = starts.into_iter().zip(reader.into_records());
        let named = rows.filter_map(|(start, row)| Some((line(start), Username::new(row.ok()?.get(column)?).ok()?)));
        named.collect()
    }
}

fn is_username(column: &str) -> bool {
    column.trim().to_lowercase() == "username"
}

/// Why a file is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is in another encoding.
    #[error("it is neither UTF-8 nor GB18030: save it as \"CSV UTF-8\"")]
    Encoding,
    /// It can't be split into rows.
    #[error("it is no CSV file: {0}")]
    Rows(#[from] csv::Error),
    /// A row is longer than any table of accounts needs.
    #[error("line {0} is too long")]
    TooLong(u64),
}

/// Reads a file in UTF-8, with or without a byte order mark, or in GB18030, which a Chinese Excel writes, and cuts it
/// into parts.
///
/// # Errors
/// See [`TableError`].
pub fn read_table(file: &[u8]) -> Result<Vec<TablePart>, TableError> {
    split(&decode(file)?)
}

fn decode(file: &[u8]) -> Result<String, TableError> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    if let Ok(text) = std::str::from_utf8(file) {
        return Ok(text.to_owned());
    }
    let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(file);
    text.map(std::borrow::Cow::into_owned).ok_or(TableError::Encoding)
}

fn split(text: &str) -> Result<Vec<TablePart>, TableError> {
    let starts = row_starts(text)?;
    let end_of_header = starts.first().copied().unwrap_or(text.len());
    let header = text[..end_of_header].trim_end_matches(['\r', '\n']);
    let mut parts = vec![TablePart { csv: format!("{header}\n"), first_line: line_of(text, end_of_header) }];
    let mut rows = 0;
    for (index, start) in starts.iter().enumerate() {
        let row = &text[*start..starts.get(index + 1).copied().unwrap_or(text.len())];
        if header.len() + 1 + row.len() > PART_LEN_MAX {
            return Err(TableError::TooLong(line_of(text, *start)));
        }
        let part = parts.last().expect("there is one from the beginning");
        if rows == limits::IMPORT_ROWS_MAX || part.csv.len() + row.len() > PART_LEN_MAX {
            parts.push(TablePart { csv: format!("{header}\n"), first_line: line_of(text, *start) });
            rows = 0;
        }
        parts.last_mut().expect("there is one from the beginning").csv.push_str(row);
        rows += 1;
    }
    Ok(parts)
}

/// Where each row begins. A field in quotes may have line ends in it.
fn row_starts(text: &str) -> Result<Vec<usize>, csv::Error> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    reader.byte_headers()?;
    let mut starts = Vec::new();
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let position = record.position().map_or(0, csv::Position::byte);
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(text.len());
        // The line end before it counts as its own, and so do empty lines.
        let skipped = text.as_bytes()[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        starts.push(start + skipped);
    }
    Ok(starts)
}

fn line_of(text: &str, byte: usize) -> u64 {
    let before = text.as_bytes()[..byte].iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(before).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_with_and_without_a_mark_and_gb18030_are_read_and_other_bytes_refused() {
        let text = "username,display_name\r\nwxm,王小明\r\n";
        let (gb18030, _, _) = encoding_rs::GB18030.encode(text);
        assert_ne!(&*gb18030, text.as_bytes());
        for file in [text.as_bytes(), &[b"\xef\xbb\xbf", text.as_bytes()].concat(), &gb18030] {
            assert_eq!(decode(file).expect("a text"), text);
        }
        assert!(matches!(decode(b"username\nz\xfcrich\xff\n"), Err(TableError::Encoding)));
    }

    #[test]
    fn a_long_table_is_cut_into_parts_that_know_their_lines() {
        let mut text = "username,display_name\r\n\r\n\"a\r\nb\",two lines\r\n".to_owned();
        (0..limits::IMPORT_ROWS_MAX).for_each(|number| text.push_str(&format!("u{number},\r\n")));
        let parts = split(&text).expect("a table");
        assert_eq!(parts.iter().map(|part| part.first_line).collect::<Vec<_>>(), [3, 104]);
        assert!(
            parts[0].csv.starts_with("username,display_name\n\"a\r\nb\",two lines\r\nu0,\r\n"),
            "{:.60}",
            parts[0].csv
        );
        assert_eq!(parts[1].csv, "username,display_name\nu99,\r\n");
        assert_eq!(parts[0].names()[0], (5, Username::new("u0").expect("a name")), "the row before holds none");
        assert_eq!(parts[1].names(), [(104, Username::new("u99").expect("a name"))]);
        assert_eq!(split("username").expect("no rows").len(), 1);
        let long = format!("username\nanna\n{}\n", "x".repeat(PART_LEN_MAX));
        assert!(matches!(split(&long), Err(TableError::TooLong(3))));
    }
}
