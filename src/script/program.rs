//! A flow's script and its modules, compiled and checked once for each version.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rhai::{AST, ASTNode, Engine, Expr, ParseError, Position, Scope, Shared, Stmt};

use super::calls::{self, Call};
use super::engine::{self, Caught};
use super::{error, usage};
use crate::model::diagnostic::Diagnostic;
use crate::model::run::ScriptError;

/// Texts of the script files that a program uses, by path below `scripts/` without `.rhai`.
pub type Sources = BTreeMap<String, Arc<str>>;

type Module = Shared<rhai::Module>;

/// A compiled script.
pub struct Program {
    pub(super) ast: AST,
    pub(super) main: String,
    pub(super) caught: Caught,
    modules: Modules,
    texts: BTreeMap<String, Arc<str>>,
    indent: u32,
    calls: Vec<Call>,
    doubts: Vec<Diagnostic>,
}

/// The flow's own script.
pub struct Main<'a> {
    /// The file that people know it by.
    pub file: &'a str,
    /// Its text. A script inside a YAML file begins with as many empty lines as stand above it
    /// there, so that its lines are the file's.
    pub text: &'a str,
    /// By how many columns it is indented in that file.
    pub indent: u32,
}

impl Program {
    /// Compiles the main script with the modules it imports, whose texts `load` finds by name.
    ///
    /// # Errors
    /// All findings: syntax, unknown functions, imports that are not literal, modules that are
    /// missing or import each other in a circle.
    pub fn compile(main: Main<'_>, load: &dyn Fn(&str) -> Option<Arc<str>>) -> Result<Self, Vec<Diagnostic>> {
        let mut build = Build {
            load,
            findings: Vec::new(),
            doubts: Vec::new(),
            modules: Modules::new(),
            open: Vec::new(),
            calls: Vec::new(),
        };
        let mut texts = BTreeMap::from([(main.file.to_owned(), Arc::from(main.text))]);
        let mut caught = HashSet::new();
        let ast = build.file(main.file, main.text, &mut texts, &mut caught);
        match ast {
            Some(ast) if build.findings.is_empty() => {
                let (file, indent) = (main.file.to_owned(), main.indent);
                let own = build.calls.iter_mut().filter(|call| call.file == file);
                own.for_each(|call| call.column += indent);
                let own = build.doubts.iter_mut().filter(|doubt| doubt.file == file);
                own.for_each(|doubt| doubt.column += indent);
                let (caught, calls, doubts) = (Arc::new(caught), build.calls, build.doubts);
                Ok(Self { ast, main: file, caught, modules: build.modules, texts, indent, calls, doubts })
            }
            _ => {
                for finding in build.findings.iter_mut().filter(|finding| finding.file == main.file) {
                    finding.column += main.indent;
                }
                Err(build.findings)
            }
        }
    }

    /// The modules' texts by name, which belong to the flow's version.
    pub fn sources(&self) -> Sources {
        self.modules.keys().filter_map(|name| Some((name.clone(), self.texts.get(&file_of(name))?.clone()))).collect()
    }

    /// The calls that send, as far as the text tells what they ask for.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Warnings: what would be an error, should a run come there.
    pub fn doubts(&self) -> &[Diagnostic] {
        &self.doubts
    }

    /// Adds the line itself to an error that has a place.
    pub fn with_source(&self, mut error: ScriptError) -> ScriptError {
        if error.script.as_deref() == Some(self.main.as_str()) {
            error.column = error.column.map(|column| column + self.indent);
        }
        if let (Some(script), Some(line)) = (&error.script, error.line) {
            let text = self.texts.get(script).or_else(|| self.texts.get(&file_of(script)));
            error.source = text.and_then(|text| text.lines().nth(line as usize - 1)).map(str::to_owned);
        }
        error
    }

    pub(super) fn resolver(&self) -> Resolver {
        Resolver(self.modules.clone())
    }
}

/// The path below the workspace of the module with this name.
pub fn file_of(name: &str) -> String {
    format!("scripts/{name}.rhai")
}

/// Knows the program's modules and nothing else.
pub(super) struct Resolver(Modules);

type Modules = BTreeMap<String, Module>;

impl rhai::ModuleResolver for Resolver {
    fn resolve(
        &self,
        _engine: &Engine,
        _source: Option<&str>,
        path: &str,
        at: Position,
    ) -> Result<Module, Box<rhai::EvalAltResult>> {
        let unknown = || rhai::EvalAltResult::ErrorModuleNotFound(path.into(), at).into();
        self.0.get(path).cloned().ok_or_else(unknown)
    }
}

struct Build<'a> {
    load: &'a dyn Fn(&str) -> Option<Arc<str>>,
    findings: Vec<Diagnostic>,
    doubts: Vec<Diagnostic>,
    modules: Modules,
    open: Vec<String>,
    calls: Vec<Call>,
}

impl Build<'_> {
    fn file(
        &mut self,
        file: &str,
        text: &str,
        texts: &mut BTreeMap<String, Arc<str>>,
        caught: &mut HashSet<String>,
    ) -> Option<AST> {
        let engine = engine::bare();
        let mut ast = match engine.compile_with_scope(&Scope::new(), text) {
            Ok(ast) => ast,
            Err(error) => {
                self.findings.push(syntax(file, &error));
                return None;
            }
        };
        ast.set_source(file);
        self.calls.extend(calls::of(&ast, file));
        let seen = look(&ast, file, caught);
        self.findings.extend(seen.findings);
        self.doubts.extend(seen.doubts);
        for (name, at) in seen.imports {
            self.import(&name, file, at, texts, caught);
        }
        Some(ast)
    }

    fn import(
        &mut self,
        name: &str,
        from: &str,
        at: Position,
        texts: &mut BTreeMap<String, Arc<str>>,
        caught: &mut HashSet<String>,
    ) {
        if self.modules.contains_key(name) {
            return;
        }
        let mut refuse = |message: String, hint: &str| {
            let (line, column) = line_column(at);
            self.findings.push(Diagnostic::error(from, line, column, message).with_hint(hint));
        };
        if self.open.iter().any(|open| open == name) {
            return refuse(
                format!("module `{name}` imports itself in a circle"),
                "move what both need to a third module",
            );
        }
        if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) || name.ends_with(".rhai") {
            return refuse(
                format!("`{name}` is no module name"),
                "name a file below scripts/ without its ending, such as `import \"lib/prices\" as prices;`",
            );
        }
        let Some(text) = (self.load)(name) else {
            return refuse(format!("there is no module `{name}`"), &format!("create {}", file_of(name)));
        };
        let file = file_of(name);
        self.open.push(name.to_owned());
        let ast = self.file(&file, &text, texts, caught);
        self.open.pop();
        texts.insert(file.clone(), text);
        let Some(ast) = ast else { return };
        let mut engine = engine::bare();
        engine.set_module_resolver(Resolver(self.modules.clone()));
        match rhai::Module::eval_ast_as_new(Scope::new(), &ast, &engine) {
            Ok(module) => {
                self.modules.insert(name.to_owned(), module.into());
            }
            Err(error) => {
                let report = error::report(&error, &file, engine::names());
                self.findings.push(Diagnostic::error(
                    &file,
                    report.line.unwrap_or(0),
                    report.column.unwrap_or(0),
                    report.message,
                ));
            }
        }
    }
}

struct Seen {
    imports: Vec<(String, Position)>,
    findings: Vec<Diagnostic>,
    doubts: Vec<Diagnostic>,
}

/// Walks a script for what can be said before it runs.
fn look(ast: &AST, file: &str, caught: &mut HashSet<String>) -> Seen {
    let mut seen = Seen { imports: Vec::new(), findings: Vec::new(), doubts: Vec::new() };
    let own: HashSet<String> = ast.iter_functions().map(|function| function.name.to_string()).collect();
    let names = engine::names();
    let known_space = |space: &str| names.iter().any(|known| known.starts_with(&format!("{space}::")));
    let mut imported: HashSet<String> = HashSet::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last() {
            imported.insert(import.1.name.to_string());
        }
        true
    });
    ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Import(import, at))) => match &import.0 {
                Expr::StringConstant(name, at) => seen.imports.push((name.to_string(), *at)),
                _ => {
                    let (line, column) = line_column(*at);
                    seen.findings.push(
                        Diagnostic::error(file, line, column, "an import takes a literal name only")
                            .with_hint("write `import \"lib/prices\" as prices;`"),
                    );
                }
            },
            Some(ASTNode::Stmt(Stmt::TryCatch(block, _))) => {
                if let Expr::Variable(variable, ..) = &block.expr {
                    caught.insert(variable.1.to_string());
                }
            }
            Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) => {
                let name = call.name.as_str();
                let full =
                    if call.namespace.is_empty() { name.to_owned() } else { format!("{}::{name}", call.namespace) };
                let space = full.split_once("::").map(|(space, _)| space);
                let ours = match space {
                    None => {
                        call.op_token.is_none()
                            && name.starts_with(|c: char| c.is_ascii_alphabetic())
                            && !own.contains(name)
                    }
                    // Modules are checked where they are compiled; what nobody imported is ours, or nothing.
                    Some(space) => known_space(space) || !imported.contains(space),
                };
                if !ours || RHAI_WORDS.contains(&name) {
                    return true;
                }
                let (line, column) = line_column(*at);
                let count = call.args.len();
                if names.binary_search(&full).is_err() {
                    let mut finding = Diagnostic::error(file, line, column, format!("there is no function `{full}`"));
                    let all = names.iter().map(String::as_str).chain(own.iter().map(String::as_str));
                    if let Some(near) = crate::units::nearest(&full, all) {
                        finding = finding.with_hint(format!("did you mean `{near}`?"));
                    }
                    seen.findings.push(finding);
                } else if !engine::takes(&full, count) && !space.is_some_and(|space| imported.contains(space)) {
                    // A warning: a text that was good before is not refused for a branch that is never taken.
                    let values = if count == 1 { "one value".to_owned() } else { format!("{count} values") };
                    let what = format!("`{full}` cannot be called with {values}");
                    let finding = Diagnostic::warning(file, line, column, what);
                    seen.doubts.push(match usage::of(&full) {
                        Some(call) => finding.with_hint(format!("write `{call}`")),
                        None => finding,
                    });
                }
            }
            _ => {}
        }
        true
    });
    seen
}

/// Called like functions, but part of the language.
const RHAI_WORDS: [&str; 10] =
    ["call", "curry", "Fn", "is_def_fn", "is_def_var", "is_shared", "type_of", "print", "debug", "this"];

fn syntax(file: &str, error: &ParseError) -> Diagnostic {
    let (line, column) = line_column(error.position());
    let text = error.err_type().to_string();
    let finding = Diagnostic::error(file, line, column, format!("the script cannot be read: {text}"));
    let hint = if text.contains("'eval'") {
        "`eval` is not available: a run must be able to repeat what it did"
    } else if text.contains("Invalid character: '") {
        "texts stand in double quotes or backticks, not in single quotes"
    } else if ['“', '”', '‘', '’', '„'].iter().any(|quote| text.contains(*quote)) {
        "texts stand in straight double quotes, not in those of a word processor"
    } else if text.contains("'#'") {
        "a comment begins with `//`; a map is written `#{ name: value }`"
    } else if text.contains("Expecting ';'") {
        "is a `;`, a `)` or a `}` missing before this place? A map is written `#{ name: value }`"
    } else {
        return finding;
    };
    finding.with_hint(hint)
}

fn line_column(at: Position) -> (u32, u32) {
    (at.line().unwrap_or(0) as u32, at.position().unwrap_or(0) as u32)
}
