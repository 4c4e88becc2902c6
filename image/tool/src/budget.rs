//! The most that an image may cost: image/budget.toml, which the stage `pack` holds the image against.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum BudgetError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}:{line}: {reason}")]
    Syntax { path: String, line: usize, reason: String },
    #[error("over budget: {key} is {actual}, {path} allows {limit}; see {report} for where the bytes are")]
    Over { key: &'static str, actual: u64, limit: u64, path: String, report: String },
}

/// Bytes, but for `packages`. Also what an image really costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub image_xz_bytes: u64,
    pub packages: u64,
    pub root_bytes: u64,
    pub boot_bytes: u64,
    pub modules_bytes: u64,
}

impl Budget {
    pub fn read(path: &Path) -> Result<Self, BudgetError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| BudgetError::Read { path: name.clone(), source })?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            BudgetError::Syntax { path: name, line, reason: error.message().replace('\n', " ") }
        })
    }

    /// What is measured, in the order of the report.
    pub fn lines(&self) -> [(&'static str, u64); 5] {
        [
            ("image_xz_bytes", self.image_xz_bytes),
            ("packages", self.packages),
            ("root_bytes", self.root_bytes),
            ("boot_bytes", self.boot_bytes),
            ("modules_bytes", self.modules_bytes),
        ]
    }

    /// The report is named to whoever has to find out why.
    pub fn allow(&self, actual: &Self, path: &Path, report: &Path) -> Result<(), BudgetError> {
        for ((key, limit), (_, actual)) in self.lines().into_iter().zip(actual.lines()) {
            if actual > limit {
                let (path, report) = (path.display().to_string(), report.display().to_string());
                return Err(BudgetError::Over { key, actual, limit, path, report });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "image_xz_bytes = 10\npackages = 2\nroot_bytes = 30\nboot_bytes = 40\nmodules_bytes = 50\n";

    fn read(text: &str) -> Result<Budget, String> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        fs::write(file.path(), text).expect("write");
        Budget::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_missing_or_negative_key_is_named_in_one_line() {
        for (text, words) in [
            (TEXT.to_owned() + "image_gz_bytes = 1\n", ":6: unknown field `image_gz_bytes`"),
            (TEXT.replace("packages = 2\n", ""), "missing field `packages`"),
            (TEXT.replace("= 30", "= -1"), ":3: "),
            (TEXT.replace("= 30", "="), ":3: "),
        ] {
            let error = read(&text).expect_err("it was taken");
            assert!(error.contains(words), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn what_is_on_the_limit_passes_and_one_more_does_not() {
        let budget = read(TEXT).expect("a budget");
        budget.allow(&budget, Path::new("budget.toml"), Path::new("size.md")).expect("on the limit");
        for key in 0..5 {
            let mut actual = budget.clone();
            let fields = [
                &mut actual.image_xz_bytes,
                &mut actual.packages,
                &mut actual.root_bytes,
                &mut actual.boot_bytes,
                &mut actual.modules_bytes,
            ];
            *fields.into_iter().nth(key).expect("a field") += 1;
            let error = budget
                .allow(&actual, Path::new("budget.toml"), Path::new("size.md"))
                .expect_err("over budget")
                .to_string();
            let (name, limit) = budget.lines()[key];
            assert!(error.starts_with(&format!("over budget: {name} is {}, budget.toml allows {limit};", limit + 1)));
        }
    }
}
