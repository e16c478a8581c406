//! A host of any SQLite version, in its own process: two in one process would be unsound.
use crate::client;
use rusqlite::types::Value;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The number of columns, and the rows; or the error.
type Answer = Result<(usize, Vec<Vec<Value>>), String>;

/// tests/hosts/driver.c linked with another SQLite.
pub struct Driver {
    child: Child,
    ask: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
}

impl Driver {
    /// `name` is one of the folders `tests/setup` makes, such as `sqlite-oldest`.
    pub fn open(name: &str, file: &Path, library: &Path) -> Result<Driver, String> {
        Driver::open_in(Path::new("."), name, file, library)
    }

    /// The same with another working folder.
    pub fn open_in(folder: &Path, name: &str, file: &Path, library: &Path) -> Result<Driver, String> {
        let mut child = Command::new(client(name).join("driver"))
            .arg(file)
            .arg(library)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        let (ask, answer) = (child.stdin.take(), child.stdout.take().ok_or("no stdout")?);
        Ok(Driver { child, ask, answer: BufReader::new(answer) })
    }

    /// Runs some statements; answers the number of columns and the rows of the last.
    pub fn run(&mut self, sql: &str) -> Answer {
        self.ask(sql).unwrap_or_else(|e| Err(e.to_string()))
    }

    /// Ends the host; answers its exit code.
    pub fn end(mut self) -> io::Result<Option<i32>> {
        self.ask = None;
        Ok(self.child.wait()?.code())
    }

    fn ask(&mut self, sql: &str) -> io::Result<Answer> {
        if let Some(ask) = &mut self.ask {
            // A host that has ended says why in its answer.
            let _ = ask.write_all(format!("{}\n{sql}", sql.len()).as_bytes()).and_then(|()| ask.flush());
        }
        let head = self.line()?;
        let words: Vec<&str> = head.split(' ').collect();
        let wrong = || io::Error::other(format!("the driver died or answered \"{head}\""));
        match words[..] {
            ["error", n] => Ok(Err(String::from_utf8_lossy(&self.bytes(n.parse().map_err(|_| wrong())?)?).into_owned())),
            ["rows", columns, rows] => {
                let (columns, rows): (usize, usize) = (columns.parse().map_err(|_| wrong())?, rows.parse().map_err(|_| wrong())?);
                let all = (0..rows).map(|_| (0..columns).map(|_| self.value()).collect()).collect::<io::Result<_>>()?;
                Ok(Ok((columns, all)))
            }
            _ => Err(wrong()),
        }
    }

    fn value(&mut self) -> io::Result<Value> {
        let head = self.line()?;
        let (ty, n) = head.split_once(' ').ok_or_else(|| io::Error::other("bad value"))?;
        let bytes = self.bytes(n.parse().map_err(io::Error::other)?)?;
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        Ok(match ty {
            "i" => Value::Integer(text().parse().map_err(io::Error::other)?),
            "r" => Value::Real(text().parse().map_err(io::Error::other)?),
            "t" => Value::Text(text()),
            "b" => Value::Blob(bytes),
            _ => Value::Null,
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn bytes(&mut self, n: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; n + 1];
        self.answer.read_exact(&mut bytes)?;
        bytes.pop();
        Ok(bytes)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.ask = None;
        let _ = self.child.wait();
    }
}
