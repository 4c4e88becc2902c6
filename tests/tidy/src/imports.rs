//! Keeps the server's imports going one way: listener → connection → session → router → store, with the protocol crate
//! under all of them and no edge imported by anything but the file that puts the parts together.

use std::str::FromStr;

use proc_macro2::{TokenStream, TokenTree};

use crate::{File, Finding};

/// Left to right: each may import what stands behind it.
const LAYERS: [&str; 5] = ["listener", "connection", "session", "router", "store"];

/// They read through the store and write through the router; nothing imports them.
const EDGES: [&str; 8] = ["discovery", "web", "api", "admin", "metrics", "update", "assistant", "rescue"];

/// They stand beside the layers: who needs them imports them, and they import no layer.
const BESIDE: [&str; 4] = ["admission", "names", "settings", "tls"];

/// These put the parts together, so they import them all; `fuzzing` does in tests. The protocol has modules of its own.
const ASSEMBLY: [&str; 5] = ["lib", "main", "run", "fuzzing", "protocol"];

/// What the session, being pure, and the protocol, being only types, must not reach for.
const WORLD: [&str; 7] =
    ["tokio", "std::net", "std::fs", "std::process", "std::thread", "Instant::now", "SystemTime::now"];

/// Findings in one source file of the server or the protocol; none in any other file.
pub fn check(file: &File) -> Vec<Finding> {
    let Some(module) = module_of(&file.path) else { return Vec::new() };
    let Ok(tokens) = TokenStream::from_str(&file.text) else {
        return vec![
            file.finding(1, "this is not Rust that the lexer can read: mend it, so that its imports can be checked"),
        ];
    };
    let paths = paths(tokens);
    let mut findings = Vec::new();
    for path in &paths {
        if module.is_pure
            && let Some(forbidden) = WORLD.iter().find(|world| path.names(world))
        {
            let advice = format!(
                "`{}` does no I/O and has no clock, so it can't use `{forbidden}`: let its caller hand the value in",
                module.name
            );
            findings.push(file.finding(path.line, advice));
        }
        if let Some(imported) = path.top_module(&module)
            && let Some(advice) = objection(&module.name, imported)
        {
            findings.push(file.finding(path.line, advice));
        }
    }
    findings
}

/// Where a file stands in its crate.
struct Module {
    /// Its first-level module; `lib` and `main` for the files that put the parts together.
    name: String,
    /// How many `super` lead from this file to the crate's root.
    depth: usize,
    is_pure: bool,
}

fn module_of(path: &str) -> Option<Module> {
    if let Some(rest) = path.strip_prefix("server/protocol/src/") {
        let depth = rest.matches('/').count() + 1;
        let is_pure = !rest.ends_with("tests.rs");
        return Some(Module { name: "protocol".to_owned(), depth, is_pure });
    }
    let rest = path.strip_prefix("server/src/")?.strip_suffix(".rs")?;
    let rest = rest.strip_suffix("/mod").unwrap_or(rest);
    let mut parts = rest.split('/');
    let name = parts.next()?.to_owned();
    let is_pure = name == "session" && !rest.ends_with("tests");
    Some(Module { name, depth: parts.count() + 1, is_pure })
}

/// Why `from` may not import `to`, or nothing if it may.
fn objection(from: &str, to: &str) -> Option<String> {
    if from == to || ASSEMBLY.contains(&from) {
        return None;
    }
    if EDGES.contains(&to) {
        return Some(format!(
            "`{from}` imports the edge `{to}`: nothing may; hand the data through a channel or from run.rs"
        ));
    }
    if BESIDE.contains(&from) && LAYERS.contains(&to) {
        return Some(format!(
            "`{from}` imports `{to}`, beside which it stands: let `{to}` import it, or hand the data in"
        ));
    }
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let (from_rank, to_rank) = (rank(from)?, rank(to)?);
    (to_rank < from_rank).then(|| {
        format!(
            "`{from}` imports `{to}`, against the way {}: what flows back goes through a channel",
            LAYERS.join(" → ")
        )
    })
}

/// A `::` path as it stands in the source, one for each end of a `{…}` group.
struct SourcePath {
    parts: Vec<String>,
    line: usize,
}

impl SourcePath {
    /// True when the path holds these parts one behind the other.
    fn names(&self, wanted: &str) -> bool {
        let wanted: Vec<&str> = wanted.split("::").collect();
        // A lone name counts at the front only: `self::tokio` would be a module of ours.
        if wanted.len() == 1 {
            return self.parts.first().is_some_and(|first| first == wanted[0]);
        }
        self.parts.windows(wanted.len()).any(|window| window.iter().zip(&wanted).all(|(part, want)| part == want))
    }

    /// The first-level module of this crate that the path leads into, if it does.
    fn top_module(&self, from: &Module) -> Option<&str> {
        let supers = self.parts.iter().take_while(|part| *part == "super").count();
        let at_root = match self.parts.first()?.as_str() {
            "crate" => 1,
            "super" if supers == from.depth => supers,
            _ => return None,
        };
        self.parts.get(at_root).map(String::as_str)
    }
}

fn paths(tokens: TokenStream) -> Vec<SourcePath> {
    let mut found = Vec::new();
    collect(tokens, &[], &mut found);
    found
}

/// Walks one level of tokens. `prefix` is the path in front of a `{…}` group, whose members each begin with it.
fn collect(tokens: TokenStream, prefix: &[String], found: &mut Vec<SourcePath>) {
    let mut path = SourcePath { parts: prefix.to_vec(), line: 0 };
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    finish(&mut path, prefix, found);
                }
                path.parts.push(ident.to_string());
                path.line = ident.span().start().line;
                colons = 0;
            }
            TokenTree::Group(group) => {
                if colons == 2 {
                    let members = std::mem::take(&mut path.parts);
                    path.parts = prefix.to_vec();
                    collect(group.stream(), &members, found);
                } else {
                    finish(&mut path, prefix, found);
                    collect(group.stream(), &[], found);
                }
                colons = 0;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {
                finish(&mut path, prefix, found);
                colons = 0;
            }
        }
    }
    finish(&mut path, prefix, found);
}

fn finish(path: &mut SourcePath, prefix: &[String], found: &mut Vec<SourcePath>) {
    let done = std::mem::replace(path, SourcePath { parts: prefix.to_vec(), line: 0 });
    if done.parts.len() > prefix.len() {
        found.push(done);
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::{File, lines_of};

    fn lines(path: &str, text: &str) -> Vec<usize> {
        lines_of(&check(&File::new(path, text)))
    }

    #[test]
    fn an_import_against_the_way_is_found() {
        assert_eq!(lines("server/src/store/mod.rs", "//! x\n\nuse crate::router::Router;\n"), [3]);
        assert_eq!(lines("server/src/session/mod.rs", "use crate::{router::Command, connection::Frame};\n"), [1]);
        assert_eq!(lines("server/src/router/outbox.rs", "fn f() {\n    super::super::session::g();\n}\n"), [2]);
        assert_eq!(lines("server/src/store/mod.rs", "select! { x = crate::listener::next() => x }"), [1]);
        assert_eq!(lines("server/src/store/mod.rs", "use crate::{\n    store::A,\n    router::{B, C},\n};\n"), [3, 3]);
    }

    #[test]
    fn an_import_of_an_edge_is_found_wherever_it_stands() {
        assert_eq!(lines("server/src/listener.rs", "use crate::web::page;\n"), [1]);
        assert_eq!(lines("server/src/admin/mod.rs", "use crate::metrics;\n"), [1]);
        assert_eq!(lines("server/src/service.rs", "use super::admin::Request;\n"), [1]);
    }

    #[test]
    fn an_import_of_a_layer_from_beside_is_found() {
        assert_eq!(lines("server/src/tls/mod.rs", "use crate::names;\nuse crate::listener::Gate;\n"), [2]);
        assert!(lines("server/src/listener/mod.rs", "use crate::tls::Handshakes;\n").is_empty());
    }

    #[test]
    fn imports_along_the_way_pass() {
        assert!(lines("server/src/listener.rs", "use crate::connection;\nuse crate::store::Store;\n").is_empty());
        assert!(lines("server/src/store/writer.rs", "use super::tables;\nuse crate::store::Store;\n").is_empty());
        assert!(lines("server/src/run.rs", "use crate::web;\nuse crate::listener;\n").is_empty());
        assert!(lines("server/src/web.rs", "// use crate::admin\nconst A: &str = \"crate::admin\";\n").is_empty());
        assert!(lines("tests/e2e/src/lib.rs", "use crate::web;\n").is_empty());
    }

    #[test]
    fn io_and_clocks_are_found_where_code_is_pure() {
        assert_eq!(lines("server/src/session/mod.rs", "use std::time::Instant;\nfn f() { Instant::now(); }\n"), [2]);
        assert_eq!(lines("server/src/session/state.rs", "use tokio::sync::mpsc;\n"), [1]);
        assert_eq!(lines("server/protocol/src/limits.rs", "use std::{fmt, fs::File};\n"), [1]);
        assert!(lines("server/src/session/tests.rs", "fn f() { Instant::now(); }\n").is_empty());
        assert!(lines("server/protocol/src/schema/tests.rs", "use std::fs;\n").is_empty());
        assert!(lines("server/src/router/mod.rs", "use tokio::sync::mpsc;\n").is_empty());
    }
}
