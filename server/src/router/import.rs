//! Making many accounts from a table.

use std::collections::HashSet;

use posthouse_protocol::{
    AccountsImport, AccountsImportParams, AccountsImportResult, DisplayName, ErrorBody, ImportError, ImportedAccount,
    Password, Username, limits,
};

use super::call::{Caller, Change};
use super::{Inner, invalid};
use crate::store::{AccountImport, Committed, NewAccount};

/// What the line with the names of the columns counts as.
const FIRST_LINE: u64 = 2;

/// A row that can be used.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: u64,
    username: Username,
    display_name: Option<DisplayName>,
    password: Option<Password>,
}

impl Change for AccountsImport {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: AccountsImportParams,
    ) -> Result<Committed<AccountsImportResult>, ErrorBody> {
        let AccountsImportParams { csv, first_line, dry_run } = params;
        inner.check_administrator(caller).await?;
        let (rows, errors) = read_table(&csv, first_line.unwrap_or(FIRST_LINE))?;
        let names: Vec<Username> = rows.iter().map(|row| row.username.clone()).collect();
        let is_there = inner.read(move |snapshot| {
            names.iter().map(|name| Ok(snapshot.account_by_name(name)?.is_some())).collect::<Result<Vec<bool>, _>>()
        });
        let mut new = rows;
        let all = new.len();
        let mut is_there = is_there.await?.into_iter();
        new.retain(|_| !is_there.next().unwrap_or_default());
        let mut result =
            AccountsImportResult { new: count(new.len()), unchanged: count(all - new.len()), ..Default::default() };
        if dry_run || !errors.is_empty() {
            new.clear();
            result.errors = errors;
        }
        let (mut accounts, mut told) = (Vec::new(), Vec::new());
        // One after the other: log-ins have the other half of the hashing meanwhile.
        for Row { line, username, display_name, password } in new {
            let must_change = true;
            let (password_hash, made_up) = inner.hash_given_or_made_up(password).await?;
            accounts.push(NewAccount { username, display_name, password_hash, must_change });
            told.push((line, made_up));
        }
        let made = inner.write(AccountImport { actor: caller.account_id, accounts }).await?;
        Ok(made.map(|made| {
            for (account, (line, password)) in made.into_iter().zip(told) {
                match account {
                    Some(account) => result.made.push(ImportedAccount { line, account, password }),
                    // It was made by somebody else meanwhile.
                    None => (result.new, result.unchanged) = (result.new - 1, result.unchanged + 1),
                }
            }
            result
        }))
    }
}

/// The line of the first character at or behind a position that is no line end.
fn line_at(text: &str, position: u64) -> u64 {
    let start = usize::try_from(position).unwrap_or(usize::MAX).min(text.len());
    let (before, behind) = text.as_bytes().split_at(start);
    let skipped = behind.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let lines = before.iter().chain(skipped).filter(|byte| **byte == b'\n').count();
    u64::try_from(lines).unwrap_or(u64::MAX).saturating_add(1)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Which column is which; `None` where it is not there.
struct Columns {
    username: usize,
    display_name: Option<usize>,
    password: Option<usize>,
}

/// Reads the rows, and what is wrong with those that can't be used. Errors never repeat a password.
fn read_table(text: &str, first_line: u64) -> Result<(Vec<Row>, Vec<ImportError>), ErrorBody> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| invalid(format!("csv: {error}")))?;
    let columns = Columns::find(headers)?;
    let width = headers.len();
    let (mut rows, mut errors, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for record in reader.records() {
        let record = record.map_err(|error| invalid(format!("csv: {error}")))?;
        // A spreadsheet leaves rows of nothing but commas.
        if record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        if rows.len() + errors.len() == limits::IMPORT_ROWS_MAX {
            return Err(invalid(format!("csv: at most {} rows", limits::IMPORT_ROWS_MAX)));
        }
        let position = record.position().map_or(0, csv::Position::byte);
        let line = (line_at(text, position) + first_line).saturating_sub(FIRST_LINE);
        let row = if record.len() > width {
            Err("more fields than there are columns".to_owned())
        } else {
            columns.row(&record, line)
        };
        match row {
            Ok(row) if !seen.insert(row.username.clone()) => {
                errors.push(ImportError { line, message: format!("{} stands in an earlier row", row.username) });
            }
            Ok(row) => rows.push(row),
            Err(message) => errors.push(ImportError { line, message }),
        }
    }
    Ok((rows, errors))
}

impl Columns {
    fn find(headers: &csv::StringRecord) -> Result<Self, ErrorBody> {
        let (mut username, mut display_name, mut password) = (None, None, None);
        for (index, name) in headers.iter().enumerate() {
            let column = match name.trim().to_lowercase().as_str() {
                "username" => &mut username,
                "display_name" => &mut display_name,
                "password" => &mut password,
                other => {
                    let shown: String = other.chars().take(limits::DISPLAY_NAME_CHARS_MAX).collect();
                    return Err(invalid(format!(
                        "csv: the first line names the columns username, display_name and password, not {shown:?}"
                    )));
                }
            };
            if column.replace(index).is_some() {
                return Err(invalid("csv: a column is named twice"));
            }
        }
        let username = username.ok_or_else(|| invalid("csv: the first line names no column username"))?;
        Ok(Self { username, display_name, password })
    }

    fn row(&self, record: &csv::StringRecord, line: u64) -> Result<Row, String> {
        let field = |index: usize| record.get(index).unwrap_or_default();
        let optional = |column: Option<usize>| column.map(field).filter(|value| !value.trim().is_empty());
        let username = Username::new(field(self.username)).map_err(|error| error.to_string())?;
        let display_name = optional(self.display_name).map(DisplayName::new).transpose();
        let display_name = display_name.map_err(|error| error.to_string())?;
        let password = optional(self.password).map(|password| Password(password.to_owned()));
        if let Some(password) = &password {
            super::password::check(&password.0).map_err(|error| error.message)?;
        }
        Ok(Row { line, username, display_name, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Shown = (Vec<(u64, String, String)>, Vec<(u64, String)>);

    fn shown(text: &str, first_line: u64) -> Shown {
        let (rows, errors) = read_table(text, first_line).expect("a table");
        let name = |row: &Row| row.display_name.as_ref().map(ToString::to_string).unwrap_or_default();
        let rows = rows.iter().map(|row| (row.line, row.username.to_string(), name(row))).collect();
        (rows, errors.into_iter().map(|error| (error.line, error.message)).collect())
    }

    #[test]
    fn columns_may_come_in_any_order_and_rows_know_their_lines() {
        let text = "Display_Name, username\r\n\"Wang,\nXiaoming\",wxm\r\n\r\n,,\r\n 李华 ,Li.Hua\r\n,ben\r\n";
        let (rows, errors) = shown(&text.replace(",\nX", ", X"), 2);
        let names: Vec<_> = rows.iter().map(|(line, name, shown)| (*line, name.as_str(), shown.as_str())).collect();
        assert_eq!(names, [(2, "wxm", "Wang, Xiaoming"), (5, "li.hua", "李华"), (6, "ben", "")]);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(shown(text, 102).1, [(102, DisplayName::new("a\nb").expect_err("two lines").to_string())]);
    }

    #[test]
    fn every_bad_row_is_named_by_its_line_without_its_password() {
        let text = "username,password\nanna,secret-1\na b,secret-2\nben,short\nANNA,\ncarl,secret-3,more\n";
        let (rows, errors) = shown(text, 2);
        assert_eq!(rows.len(), 1);
        assert_eq!(errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4, 5, 6], "{errors:?}");
        assert!(errors.iter().all(|(_, message)| !message.contains("secret") && !message.contains("short,")));
        assert!(errors[2].1.contains("earlier row"), "{errors:?}");
    }

    #[test]
    fn what_is_no_table_of_accounts_is_refused() {
        let many = (0..=limits::IMPORT_ROWS_MAX).map(|number| format!("u{number}\n")).collect::<String>();
        for bad in ["", "name\nanna", "display_name\nanna", "username,username\na,b", &format!("username\n{many}")] {
            assert!(read_table(bad, 2).is_err(), "{bad:.40}");
        }
    }
}
