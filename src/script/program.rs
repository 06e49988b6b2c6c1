//! A flow's script and its modules, compiled and checked once for each version.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rhai::{AST, Engine, ParseError, Position, Scope, Shared};

use super::calls::{self, Call};
use super::constants::{compile, line_column};
use super::engine;
use super::limits::Watch;
use super::look::{beyond_definitions, look};
use super::report::report;
use crate::few::Few;
use crate::model::diagnostic::Diagnostic;
use crate::model::run::ScriptError;
use crate::units::format_duration;

/// Texts of the modules that a program uses, by name: the path below `scripts/` without `.rhai`.
pub type Sources = BTreeMap<String, Arc<str>>;

type Module = Shared<rhai::Module>;

/// What reading a script with all its modules may take, ...
const READING: (Duration, u64) = (Duration::from_secs(10), 256 << 20);
/// ... and what the constants of one module may.
const CONSTANTS: (Duration, u64) = (Duration::from_millis(100), 8 << 20);
/// Modules that import each other one behind the other.
const DEEPEST: usize = 32;

/// A checked script. It is compiled when it is first run, and for as long as it is run now and then: what most flows
/// of many hold would be nothing else.
pub struct Program {
    pub(super) main: Arc<str>,
    text: Arc<str>,
    /// Texts of the modules that it uses, by name.
    modules: Few<Arc<str>>,
    indent: u32,
    calls: Box<[Call]>,
    doubts: Box<[Diagnostic]>,
    recent: Mutex<Recent>,
}

/// The compiled script, if it was run lately.
#[derive(Default)]
struct Recent {
    code: Option<Arc<Code>>,
    /// It was asked for since the last look.
    used: bool,
}

/// A compiled script.
pub(super) struct Code {
    pub(super) ast: AST,
    /// Names by which scripts catch errors.
    pub(super) caught: Arc<HashSet<String>>,
    modules: Modules,
}

impl Code {
    pub(super) fn resolver(&self) -> Resolver {
        Resolver(self.modules.clone())
    }
}

/// The flow's own script.
pub struct Main<'a> {
    /// The file that people know it by.
    pub file: &'a Arc<str>,
    /// Its text. A script inside a YAML file begins with as many empty lines as stand above it
    /// there, so that its lines are the file's.
    pub text: &'a Arc<str>,
    /// By how many columns it is indented in that file.
    pub indent: u32,
}

impl Program {
    /// Compiles the main script with the modules it imports, whose texts `load` finds by name.
    ///
    /// # Errors
    /// All findings: syntax, unknown functions, imports that are not literal, modules that are
    /// missing, import each other in a circle or too deep, or do more than define.
    pub fn compile(main: Main<'_>, load: &dyn Fn(&str) -> Option<Arc<str>>) -> Result<Self, Vec<Diagnostic>> {
        let (file, text, indent) = (main.file.clone(), main.text.clone(), main.indent);
        let mut modules = Sources::new();
        let (_, mut calls, mut doubts) = built(&main, load, &mut modules)?;
        calls.iter_mut().filter(|call| *call.file == *file).for_each(|call| call.column += indent);
        doubts.iter_mut().filter(|doubt| *doubt.file == *file).for_each(|doubt| doubt.column += indent);
        let (modules, recent) = (modules.into(), Mutex::default());
        Ok(Self { main: file, text, modules, indent, calls: calls.into(), doubts: doubts.into(), recent })
    }

    /// The file that the script is in.
    pub fn file(&self) -> &str {
        &self.main
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The compiled script.
    ///
    /// # Errors
    /// It was compiled when it was checked; what is wrong now is how long that takes on this machine.
    pub(super) fn code(&self) -> Result<Arc<Code>, ScriptError> {
        let mut recent = self.recent();
        recent.used = true;
        if let Some(code) = &recent.code {
            return Ok(code.clone());
        }
        let main = Main { file: &self.main, text: &self.text, indent: self.indent };
        let load = |name: &str| self.modules.get(name).cloned();
        let failed = |findings: Vec<Diagnostic>| {
            let message = findings.first().map_or_else(String::new, |finding| finding.message.clone());
            ScriptError::new("limit", format!("the script could not be compiled again: {message}"))
        };
        let (code, ..) = built(&main, &load, &mut Sources::new()).map_err(failed)?;
        let code = Arc::new(code);
        recent.code = Some(code.clone());
        Ok(code)
    }

    /// Lets the compiled script go, if nobody has run it since this was called last.
    pub fn rest(&self) {
        let mut recent = self.recent();
        if !std::mem::take(&mut recent.used) {
            recent.code = None;
        }
    }

    /// The modules' texts by name, which belong to the flow's version.
    pub fn sources(&self) -> Sources {
        self.modules.iter().map(|(name, text)| (name.to_owned(), text.clone())).collect()
    }

    /// The calls that send, as far as the text tells what they ask for.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The first call that waits for the clock or for somebody, with its line.
    pub fn first_wait(&self) -> Option<(&'static str, usize)> {
        let engine = engine::bare();
        let mut texts = [&self.text].into_iter().chain(self.modules.iter().map(|(_, text)| text));
        texts.find_map(|text| calls::first_wait(&compile(&engine, text).ok()?))
    }

    /// Warnings: what would be an error, should a run come there.
    pub fn doubts(&self) -> &[Diagnostic] {
        &self.doubts
    }

    /// Adds the line itself to an error that has a place.
    pub fn with_source(&self, mut error: ScriptError) -> ScriptError {
        let Some(script) = error.script.as_deref() else { return error };
        let text = if *script == *self.main {
            error.column = error.column.map(|column| column + self.indent);
            Some(&self.text)
        } else {
            self.modules.iter().find(|(name, _)| *name == script || file_of(name) == script).map(|(_, text)| text)
        };
        if let (Some(text), Some(line)) = (text, error.line) {
            error.source = text.lines().nth(line as usize - 1).map(str::to_owned);
        }
        error
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

/// A compiled script, the calls in it, and what is doubtful.
type Built = (Code, Vec<Call>, Vec<Diagnostic>);

/// Compiles a script with its modules, whose texts are added to those that are known.
fn built(
    main: &Main<'_>,
    load: &dyn Fn(&str) -> Option<Arc<str>>,
    texts: &mut Sources,
) -> Result<Built, Vec<Diagnostic>> {
    let (findings, doubts, modules) = (Vec::new(), Vec::new(), Modules::new());
    let mut build = Build { load, findings, doubts, modules, open: Vec::new(), calls: Vec::new() };
    let watch = Watch::new(READING.0, READING.1);
    let _entered = watch.enter();
    let mut caught = HashSet::new();
    match build.file(main.file, main.text, texts, &mut caught) {
        Some(ast) if build.findings.is_empty() => {
            let code = Code { ast, caught: Arc::new(caught), modules: build.modules };
            Ok((code, build.calls, build.doubts))
        }
        _ => {
            for finding in build.findings.iter_mut().filter(|finding| *finding.file == **main.file) {
                finding.column += main.indent;
            }
            Err(build.findings)
        }
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
    fn file(&mut self, file: &str, text: &str, texts: &mut Sources, caught: &mut HashSet<String>) -> Option<AST> {
        let engine = engine::bare();
        let mut ast = match compile(&engine, text) {
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

    fn import(&mut self, name: &str, from: &str, at: Position, texts: &mut Sources, caught: &mut HashSet<String>) {
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
        if self.open.len() >= DEEPEST {
            return refuse(
                format!("`{name}` is imported by the last of {DEEPEST} modules that import each other"),
                "import what is needed where it is needed",
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
        texts.insert(name.to_owned(), text);
        let Some(ast) = ast else { return };
        match self.module(&file, &ast) {
            Ok(module) => drop(self.modules.insert(name.to_owned(), module)),
            Err(finding) => self.findings.push(finding),
        }
    }

    /// A module as those who import it see it.
    fn module(&self, file: &str, ast: &AST) -> Result<Module, Diagnostic> {
        if let Some(at) = beyond_definitions(ast) {
            let (line, column) = line_column(at);
            let finding = Diagnostic::error(file, line, column, "a module may only define functions and constants");
            return Err(finding.with_hint("put this into a function, and call it from the flow's script"));
        }
        let watch = Watch::new(CONSTANTS.0, CONSTANTS.1);
        let entered = watch.enter();
        let mut engine = engine::bare();
        engine.set_module_resolver(Resolver(self.modules.clone()));
        engine::watched(&mut engine, watch.clone());
        let made = rhai::Module::eval_ast_as_new(Scope::new(), ast, &engine);
        drop(entered);
        let excess = watch.excess();
        let report = match made {
            Ok(module) if excess.is_none() => return Ok(module.into()),
            Ok(_) => ScriptError::new("limit", ""),
            Err(error) => report(&error, file, engine::names()),
        };
        let message = match excess {
            Some(_) => {
                let (time, memory) = (format_duration(CONSTANTS.0), CONSTANTS.1 >> 20);
                format!("a module's constants may take {time} and {memory} MiB; compute this in a function")
            }
            None => report.message,
        };
        Err(Diagnostic::error(file, report.line.unwrap_or(0), report.column.unwrap_or(0), message))
    }
}

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
