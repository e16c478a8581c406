//! Rows on their way to the reader: one writer for all output modes, row by row where the mode allows.
mod fit;
mod pretty;
mod table;
mod value;

pub use fit::wrap;
pub use pretty::{compact, json_cell};
pub use value::{literal, name};

use rusqlite::types::ValueRef;
use std::io::{self, Write};
use table::Grid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// A table with drawn borders
    Box,
    /// A table with borders of - + |
    Table,
    /// Columns without borders
    Column,
    /// A table for Markdown
    Markdown,
    /// An array of objects
    Json,
    /// Comma-separated, quoted where needed
    Csv,
    /// Tab-separated, quoted where needed
    Tabs,
    /// One "name = value" a line
    Line,
    /// Values between separators
    List,
    /// SQL literals
    Quote,
    /// INSERT statements
    Insert,
}

#[derive(Clone, Debug)]
pub struct Format {
    pub mode: Mode,
    /// None: as usual for the mode.
    pub headers: Option<bool>,
    /// None: as usual for the mode.
    pub null: Option<String>,
    pub separator: String,
    /// The table named in `insert` mode.
    pub insert: String,
    /// Columns of the terminal; None where there is none to fit into.
    pub width: Option<usize>,
    pub color: bool,
}

impl Format {
    pub fn new(mode: Mode) -> Self {
        Format { mode, headers: None, null: None, separator: "|".to_owned(), insert: "t".to_owned(), width: None, color: false }
    }

    fn headers(&self) -> bool {
        self.headers.unwrap_or(!matches!(self.mode, Mode::List | Mode::Tabs | Mode::Quote))
    }

    fn null(&self) -> &str {
        let usual = if matches!(self.mode, Mode::Csv | Mode::Tabs | Mode::List | Mode::Markdown) { "" } else { "NULL" };
        self.null.as_deref().unwrap_or(usual)
    }
}

pub struct Printer<'w> {
    out: &'w mut dyn Write,
    format: &'w Format,
    columns: Vec<String>,
    rows: usize,
    grid: Option<Grid<'w>>,
}

impl<'w> Printer<'w> {
    pub fn new(out: &'w mut dyn Write, format: &'w Format, columns: Vec<String>) -> Self {
        let tabular = matches!(format.mode, Mode::Box | Mode::Table | Mode::Column | Mode::Markdown);
        let grid = tabular.then(|| Grid::new(format, &columns));
        Printer { out, format, columns, rows: 0, grid }
    }

    pub fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        if let Some(grid) = &mut self.grid {
            self.rows += 1;
            return grid.row(self.out, values);
        }
        if self.rows == 0 {
            self.head()?;
        }
        let f = self.format;
        let null = f.null();
        match f.mode {
            Mode::Json => {
                let start = if self.rows == 0 { "[" } else { ",\n" };
                write!(self.out, "{start}{{")?;
                for (i, (name, v)) in self.columns.iter().zip(values).enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    write!(self.out, "{comma}{}:{}", value::json_text(name), value::json(*v))?;
                }
                write!(self.out, "}}")?;
            }
            Mode::Line => {
                let width = self.columns.iter().map(|c| value::width(c)).max().unwrap_or(0);
                if self.rows > 0 {
                    writeln!(self.out)?;
                }
                for (name, v) in self.columns.iter().zip(values) {
                    writeln!(self.out, "{}{name} = {}", " ".repeat(width - value::width(name)), value::shown(*v, null))?;
                }
            }
            _ => {
                let cells: Vec<String> = values
                    .iter()
                    .map(|v| match f.mode {
                        Mode::Tabs => value::tsv(&value::plain(*v, null)),
                        Mode::Csv => value::csv(&value::plain(*v, null), *v != ValueRef::Null),
                        Mode::Quote | Mode::Insert => literal(*v),
                        _ => value::plain(*v, null),
                    })
                    .collect();
                match f.mode {
                    Mode::Insert => writeln!(self.out, "INSERT INTO {} VALUES({});", name(&f.insert), cells.join(","))?,
                    _ => writeln!(self.out, "{}", cells.join(self.between()))?,
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn between(&self) -> &str {
        match self.format.mode {
            Mode::Csv | Mode::Quote => ",",
            Mode::Tabs => "\t",
            _ => &self.format.separator,
        }
    }

    fn head(&mut self) -> io::Result<()> {
        if !self.format.headers() || matches!(self.format.mode, Mode::Json | Mode::Line | Mode::Insert) {
            return Ok(());
        }
        let csv = self.format.mode == Mode::Csv;
        let names: Vec<String> = self.columns.iter().map(|c| if csv { value::csv(c, true) } else { c.clone() }).collect();
        writeln!(self.out, "{}", names.join(self.between()))
    }

    /// Writes what waited for the last row; gives back the number of rows.
    pub fn finish(mut self) -> io::Result<usize> {
        if let Some(grid) = self.grid.take() {
            grid.finish(self.out)?;
        } else if self.format.mode == Mode::Json {
            writeln!(self.out, "{}", if self.rows == 0 { "[]" } else { "]" })?;
        }
        self.out.flush()?;
        Ok(self.rows)
    }
}
