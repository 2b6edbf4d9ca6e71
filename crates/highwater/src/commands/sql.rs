//! `highwater sql`: statements one by one, each answered at once.
//!
//! Declarations are kept as text and stand in front of each later statement, so that every statement is
//! compiled as a file would be. A query runs in this process until its sources end, or until Ctrl-C.

mod split;

use std::io::{BufRead, IsTerminal, Read, Write};
use std::sync::atomic::Ordering;

use anyhow::{Result, anyhow};
use highwater_sql::{Compiled, NoCatalog, Script, compile};

use super::answers;
use super::client::WrongInput;
use super::run::execute;
use super::script::read_script;
use crate::cli::{RunArgs, SqlArgs};
use crate::signals::Interrupts;

/// Text of one session that is kept, at most.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Standard input that is no terminal, at most.
const INPUT_BYTES_MAX: u64 = 4 << 20;

const PROMPT: &str = "highwater> ";

/// Asks for the rest of a statement.
const MORE: &str = "        -> ";

const BANNER: &str = "Statements end with ;  Ctrl-C stops a query, Ctrl-D ends. HELP; tells more.";

const HELP: &str = "\
CREATE TABLE|VIEW ..., ALTER, DROP   declare, change, forget
SHOW TABLES|VIEWS|CREATE TABLE t     what there is
DESCRIBE t                           the columns of a table or view
EXPLAIN SELECT ...                   the plan of a query
SET 'key' = 'value'                  change a setting
SELECT ...                           run a query and print its changes
INSERT INTO t SELECT ...             write a table
QUIT                                 end";

pub(crate) fn run(args: &SqlArgs) -> Result<()> {
    let mut session = Session::new(args)?;
    if let Some(text) = &args.execute {
        return session.script("-e", text);
    }
    if let Some(file) = &args.file {
        return session.script(&file.display().to_string(), &read_script(file)?);
    }
    if std::io::stdin().is_terminal() {
        return session.interactive();
    }
    let mut text = String::new();
    std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut text)?;
    session.script("stdin", &text)
}

struct Session {
    args: RunArgs,
    interrupts: Interrupts,
    /// Declarations and settings so far, each ended by a semicolon and a line end.
    kept: String,
}

/// What comes after a statement.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Quit,
}

impl Session {
    fn new(args: &SqlArgs) -> Result<Self> {
        let run = RunArgs {
            files: Vec::new(),
            vars: args.vars.clone(),
            data_dir: None,
            output: args.output,
            output_file: None,
            parallelism: args.parallelism,
        };
        Ok(Self { args: run, interrupts: Interrupts::listen()?, kept: String::new() })
    }

    /// Runs statements up to the first that fails.
    fn script(&mut self, name: &str, text: &str) -> Result<()> {
        let mut rest = text;
        let mut line = 0;
        while let Some((statement, behind)) = split::first(rest).or_else(|| split::last(rest)) {
            if self.statement(name, statement, line)? == Next::Quit {
                break;
            }
            line += statement.matches('\n').count();
            rest = behind;
        }
        Ok(())
    }

    fn interactive(&mut self) -> Result<()> {
        let mut err = std::io::stderr();
        writeln!(err, "{BANNER}")?;
        let mut input = std::io::stdin().lock();
        let mut text = String::new();
        loop {
            write!(err, "{}", if text.is_empty() { PROMPT } else { MORE })?;
            err.flush()?;
            if input.by_ref().take(INPUT_BYTES_MAX).read_line(&mut text)? == 0 {
                return Ok(());
            }
            while let Some((statement, behind)) = split::first(&text) {
                match self.statement("sql", statement.trim_start(), 0) {
                    Ok(Next::GoOn) => {}
                    Ok(Next::Quit) => return Ok(()),
                    Err(error) => writeln!(err, "{error:#}")?,
                }
                text = behind.to_owned();
            }
            if text.len() as u64 > INPUT_BYTES_MAX || split::last(&text).is_none() {
                text.clear();
            }
        }
    }

    /// Runs one statement, which begins in line `line` of `name`, counting from 0.
    fn statement(&mut self, name: &str, statement: &str, line: usize) -> Result<Next> {
        let words = split::words(statement);
        match words.first().map(String::as_str) {
            None => return Ok(Next::GoOn),
            Some("QUIT" | "EXIT") if words.len() == 1 => return Ok(Next::Quit),
            Some("HELP") if words.len() == 1 => {
                writeln!(std::io::stdout(), "{HELP}")?;
                return Ok(Next::GoOn);
            }
            Some(_) => {}
        }
        let compiled = self.compile(name, statement, line)?;
        answers::print(&compiled.answers, &mut std::io::stdout())?;
        let first = words.first().map_or("", String::as_str);
        let declares = ["CREATE", "ALTER", "DROP", "SET", "RESET", "USE"].contains(&first);
        if !compiled.plan.nodes.is_empty() {
            let stop = self.interrupts.fresh();
            let done = execute(&self.args, compiled, &stop);
            stop.store(true, Ordering::Release);
            done?;
        } else if (declares && words.len() > 1) || first == "RESET" {
            let bytes = self.kept.len() + statement.len();
            if bytes > KEPT_BYTES_MAX {
                return Err(anyhow!(WrongInput(format!(
                    "declarations of {bytes} bytes: expected up to {KEPT_BYTES_MAX}"
                ))));
            }
            self.kept.push_str(statement.trim());
            if !self.kept.ends_with(';') {
                self.kept.push(';');
            }
            self.kept.push('\n');
        }
        Ok(Next::GoOn)
    }

    /// Compiles the statement behind what is kept. Places in errors are those of `name`.
    fn compile(&self, name: &str, statement: &str, line: usize) -> Result<Compiled> {
        let vars = self.args.vars.vars.iter().cloned().collect();
        let text = format!("{}{statement}", self.kept);
        let script = Script { name: name.to_owned(), text, vars };
        compile(&script, &NoCatalog).map_err(|mut error| {
            error.line = (error.line + line).saturating_sub(self.kept.matches('\n').count()).max(1);
            anyhow!(WrongInput(error.to_string()))
        })
    }
}
