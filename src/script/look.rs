//! What can be said of a script before it runs.

use std::collections::HashSet;

use rhai::{AST, ASTFlags, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::constants::{is_stand_in, line_column};
use super::{engine, usage};
use crate::model::diagnostic::Diagnostic;
use crate::units::nearest;

/// Findings in one file; whoever has more is helped by the first ones.
const MOST_FINDINGS: usize = 50;

/// Where a module does more than define functions and constants.
pub fn beyond_definitions(ast: &AST) -> Option<Position> {
    let defines = |statement: &&Stmt| match statement {
        Stmt::Var(_, flags, _) => flags.contains(ASTFlags::CONSTANT),
        Stmt::Import(..) | Stmt::Export(..) | Stmt::Noop(_) => true,
        _ => false,
    };
    ast.statements().iter().find(|statement| !defines(statement)).map(Stmt::position)
}

/// What was seen in a script.
#[derive(Default)]
pub struct Seen {
    /// Modules that it imports, and where.
    pub imports: Vec<(String, Position)>,
    /// Errors.
    pub findings: Vec<Diagnostic>,
    /// Warnings.
    pub doubts: Vec<Diagnostic>,
}

/// Walks a script for what can be said before it runs. `caught` gets the names that errors are caught by.
pub fn look(ast: &AST, file: &str, caught: &mut HashSet<String>) -> Seen {
    let functions = || ast.iter_functions().filter(|function| !is_stand_in(function));
    let mut names = Names {
        own: functions().map(|function| function.name.to_string()).collect(),
        variables: functions().flat_map(|function| function.params).map(|name| (*name).to_owned()).collect(),
        ..Names::default()
    };
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(statement)) = path.last() {
            names.note(statement, caught);
        }
        true
    });
    let mut looking = Looking { file, names, seen: Seen::default() };
    ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Import(import, at))) => looking.import(&import.0, *at),
            Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => looking.assignment(&assignment.1.lhs),
            Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) => {
                looking.call(call, *at);
            }
            _ => {}
        }
        true
    });
    looking.seen
}

/// Names that a script gives.
#[derive(Default)]
struct Names {
    /// To functions.
    own: HashSet<String>,
    /// To modules that it imports.
    imported: HashSet<String>,
    constants: HashSet<String>,
    variables: HashSet<String>,
}

impl Names {
    fn note(&mut self, statement: &Stmt, caught: &mut HashSet<String>) {
        match statement {
            Stmt::Import(import, _) => drop(self.imported.insert(import.1.name.to_string())),
            Stmt::Var(variable, flags, _) => {
                let names = if flags.contains(ASTFlags::CONSTANT) { &mut self.constants } else { &mut self.variables };
                names.insert(variable.0.name.to_string());
            }
            Stmt::For(each, _) => {
                self.variables.insert(each.0.name.to_string());
                self.variables.extend(each.1.as_ref().map(|counter| counter.name.to_string()));
            }
            Stmt::TryCatch(block, _) => {
                if let Expr::Variable(variable, ..) = &block.expr {
                    caught.insert(variable.1.to_string());
                    self.variables.insert(variable.1.to_string());
                }
            }
            _ => {}
        }
    }
}

struct Looking<'a> {
    file: &'a str,
    names: Names,
    seen: Seen,
}

impl Looking<'_> {
    fn error(&mut self, at: Position, message: String, hint: Option<String>) {
        let (line, column) = line_column(at);
        let finding = Diagnostic::error(self.file, line, column, message);
        self.seen.findings.push(match hint {
            Some(hint) => finding.with_hint(hint),
            None => finding,
        });
    }

    fn warning(&mut self, at: Position, message: String, hint: Option<String>) {
        let (line, column) = line_column(at);
        let finding = Diagnostic::warning(self.file, line, column, message);
        self.seen.doubts.push(match hint {
            Some(hint) => finding.with_hint(hint),
            None => finding,
        });
    }

    fn is_full(&self) -> bool {
        self.seen.findings.len() >= MOST_FINDINGS || self.seen.doubts.len() >= MOST_FINDINGS
    }

    fn import(&mut self, name: &Expr, at: Position) {
        match name {
            Expr::StringConstant(name, at) => self.seen.imports.push((name.to_string(), *at)),
            _ => {
                let hint = "write `import \"lib/prices\" as prices;`";
                self.error(at, "an import takes a literal name only".into(), Some(hint.into()));
            }
        }
    }

    /// Rhai breaks down over a constant that is changed from within. A warning, for a branch that is never
    /// taken does no harm.
    fn assignment(&mut self, to: &Expr) {
        let (mut root, mut within) = (to, false);
        while let Expr::Dot(inner, ..) | Expr::Index(inner, ..) = root {
            (root, within) = (&inner.lhs, true);
        }
        let Expr::Variable(variable, _, at) = root else { return };
        let name = variable.1.as_str();
        if within && self.names.constants.contains(name) && !self.names.variables.contains(name) && !self.is_full() {
            let hint = format!("declare it by `let {name} = ...`");
            self.warning(*at, format!("`{name}` is a constant, so nothing in it can be changed"), Some(hint));
        }
    }

    fn call(&mut self, call: &FnCallExpr, at: Position) {
        let name = call.name.as_str();
        let plain = call.namespace.is_empty();
        let full = if plain { name.to_owned() } else { format!("{}::{name}", call.namespace) };
        let space = full.split_once("::").map(|(space, _)| space);
        let imported = space.is_some_and(|space| self.names.imported.contains(space));
        let ours = match space {
            None => {
                call.op_token.is_none()
                    && name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && !self.names.own.contains(name)
            }
            // Modules are checked where they are compiled; what nobody imported is ours, or nothing.
            Some(space) => engine::has_space(space) || !imported,
        };
        if !ours || RHAI_WORDS.contains(&name) || self.is_full() {
            return;
        }
        let count = call.args.len();
        let names = engine::names();
        if names.binary_search(&full).is_err() {
            let all = names.iter().map(String::as_str).chain(self.names.own.iter().map(String::as_str));
            let near = nearest(&full, all).map(|near| format!("did you mean `{near}`?"));
            self.error(at, format!("there is no function `{full}`"), near);
        } else if !engine::takes(&full, count) && !imported {
            // A warning: a text that was good before is not refused for a branch that is never taken.
            let values = if count == 1 { "one value".to_owned() } else { format!("{count} values") };
            let write = usage::of(&full).map(|call| format!("write `{call}`"));
            self.warning(at, format!("`{full}` cannot be called with {values}"), write);
        }
    }
}

/// Called like functions, but part of the language.
const RHAI_WORDS: [&str; 10] =
    ["call", "curry", "Fn", "is_def_fn", "is_def_var", "is_shared", "type_of", "print", "debug", "this"];
