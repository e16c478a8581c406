//! Tables that fit the terminal: widths come from the first rows, the rest streams through them.
use super::{
    Format, Mode,
    fit::{self, Column, cut, wrap},
    pretty, value,
};
use rusqlite::types::ValueRef;
use std::io::{self, Write};

/// Rows that are looked at before the first is written.
const SAMPLE: usize = 1000;
/// Lines a cell may take on a terminal before it is cut.
const TALLEST: usize = 12;
/// A header may be a whole expression.
const TALLEST_HEAD: usize = 3;

struct Cell {
    text: String,
    right: bool,
    null: bool,
}

pub struct Grid<'f> {
    format: &'f Format,
    columns: Vec<String>,
    waiting: Vec<Vec<Cell>>,
    /// Known once the sample is complete.
    widths: Vec<usize>,
    started: bool,
    blocks: bool,
    written: usize,
}

/// left, between, right, and the line of a rule
struct Rule(&'static str, &'static str, &'static str, &'static str);

impl<'f> Grid<'f> {
    pub fn new(format: &'f Format, columns: &[String]) -> Self {
        let columns = columns.iter().map(|c| value::shown(ValueRef::Text(c.as_bytes()), "").replace('\n', " ")).collect();
        Grid { format, columns, waiting: vec![], widths: vec![], started: false, blocks: false, written: 0 }
    }

    pub fn row(&mut self, out: &mut dyn Write, values: &[ValueRef<'_>]) -> io::Result<()> {
        let markdown = self.format.mode == Mode::Markdown;
        let cell = |v: &ValueRef<'_>| {
            let text = value::shown(*v, self.format.null());
            Cell {
                text: if markdown { text.replace('|', "\\|").replace('\n', "<br>") } else { text },
                right: matches!(v, ValueRef::Integer(_) | ValueRef::Real(_)),
                null: *v == ValueRef::Null,
            }
        };
        let cells = values.iter().map(cell).collect();
        if self.started {
            return self.write(out, cells);
        }
        self.waiting.push(cells);
        if self.waiting.len() >= SAMPLE { self.start(out) } else { Ok(()) }
    }

    pub fn finish(mut self, out: &mut dyn Write) -> io::Result<()> {
        if !self.started {
            if let Some(text) = self.document() {
                return writeln!(out, "{text}");
            }
            // Without a row there is nothing to see, but a header alone tells which columns there are.
            self.start(out)?;
        }
        if !self.blocks
            && let Some(r) = self.rule(2)
        {
            self.line(out, &r)?;
        }
        Ok(())
    }

    /// One JSON value and nothing else, which a person reads better as a document than in a box.
    fn document(&self) -> Option<String> {
        let space = self.format.width.filter(|_| self.format.mode == Mode::Box)?;
        let [row] = self.waiting.as_slice() else { return None };
        let [cell] = row.as_slice() else { return None };
        pretty::document(&cell.text, space, self.format.color)
    }

    fn start(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.started = true;
        let columns: Vec<Column> = (0..self.columns.len()).map(|i| self.column(i)).collect();
        match self.format.width.filter(|_| self.format.mode != Mode::Markdown) {
            None => self.widths = columns.iter().map(|c| c.natural).collect(),
            Some(space) => {
                let borders = if self.format.mode == Mode::Column { 2 * columns.len().saturating_sub(1) } else { 3 * columns.len() + 1 };
                match fit::fit(&columns, space.saturating_sub(borders)) {
                    Some(w) => self.widths = w,
                    None => self.blocks = true,
                }
            }
        }
        if !self.blocks {
            self.head(out)?;
        }
        for cells in std::mem::take(&mut self.waiting) {
            self.write(out, cells)?;
        }
        Ok(())
    }

    /// What the sample says of a column.
    fn column(&self, i: usize) -> Column {
        let mut c = Column { natural: 1, ..Column::default() };
        for cell in self.waiting.iter().filter_map(|r| r.get(i)) {
            if cell.right {
                c.number = c.number.max(value::width(&cell.text));
            } else {
                c.word = c.word.max(fit::longest_word(&cell.text));
            }
            c.natural = cell.text.split('\n').map(value::width).fold(c.natural, usize::max);
        }
        if self.format.headers() {
            c.head = value::width(&self.columns[i]);
            c.head_word = fit::longest_word(&self.columns[i]);
            c.natural = c.natural.max(c.head);
        }
        c
    }

    fn head(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(r) = self.rule(0) {
            self.line(out, &r)?;
        }
        if self.format.headers() {
            let cells = self.columns.iter().map(|c| Cell { text: c.clone(), right: false, null: false }).collect();
            self.lines(out, cells, true)?;
            if let Some(r) = self.rule(1) {
                self.line(out, &r)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, out: &mut dyn Write, cells: Vec<Cell>) -> io::Result<()> {
        self.written += 1;
        if !self.blocks {
            return self.lines(out, cells, false);
        }
        let space = self.format.width.unwrap_or(80).max(2);
        if self.written > 1 {
            writeln!(out, "{}", paint(&"─".repeat(space.min(20)), DIM, self.format.color))?;
        }
        let names = self.columns.iter().map(|c| value::width(c)).max().unwrap_or(0);
        let beside = names + 2 + BESIDE <= space;
        for (name, cell) in self.columns.iter().zip(cells) {
            let indent = if beside { names + 2 } else { 1 };
            if beside {
                write!(out, "{}{}", paint(name, BOLD, self.format.color), " ".repeat(indent - value::width(name)))?;
            } else {
                self.cell(name, space, TALLEST_HEAD).iter().try_for_each(|line| writeln!(out, "{}", paint(line, BOLD, self.format.color)))?;
            }
            for (n, line) in self.cell(&cell.text, space - indent, TALLEST).iter().enumerate() {
                let gap = if beside && n == 0 { 0 } else { indent };
                writeln!(out, "{}{}", " ".repeat(gap), paint(line, DIM, self.format.color && cell.null))?;
            }
        }
        Ok(())
    }

    /// A row, over as many lines as its tallest cell needs.
    fn lines(&self, out: &mut dyn Write, cells: Vec<Cell>, head: bool) -> io::Result<()> {
        let (left, between, right) = match self.format.mode {
            Mode::Box => ("│ ", " │ ", " │"),
            Mode::Column => ("", "  ", ""),
            _ => ("| ", " | ", " |"),
        };
        let fitted: Vec<Vec<String>> = cells.iter().zip(&self.widths).map(|(c, w)| self.cell(&c.text, *w, if head { TALLEST_HEAD } else { TALLEST })).collect();
        let height = fitted.iter().map(Vec::len).max().unwrap_or(1);
        let last = cells.len().saturating_sub(1);
        for n in 0..height {
            write!(out, "{}", paint(left, DIM, self.format.color))?;
            for (i, (cell, w)) in cells.iter().zip(&self.widths).enumerate() {
                let text = fitted[i].get(n).map_or("", String::as_str);
                let pad = " ".repeat(w.saturating_sub(value::width(text)));
                let style = if head { BOLD } else { DIM };
                let painted = paint(text, style, self.format.color && (head || cell.null));
                match (cell.right, i == last && right.is_empty()) {
                    (true, _) => write!(out, "{pad}{painted}")?,
                    (false, true) => write!(out, "{painted}")?,
                    (false, false) => write!(out, "{painted}{pad}")?,
                }
                if i < last {
                    write!(out, "{}", paint(between, DIM, self.format.color))?;
                }
            }
            writeln!(out, "{}", paint(right, DIM, self.format.color))?;
        }
        Ok(())
    }

    fn cell(&self, text: &str, w: usize, tallest: usize) -> Vec<String> {
        if self.format.mode == Mode::Markdown {
            return vec![text.to_owned()];
        }
        let mut lines = wrap(text, w);
        if self.format.width.is_some() && lines.len() > tallest {
            lines.truncate(tallest);
            if let Some(last) = lines.last_mut() {
                *last = cut(last, w - 1) + "…";
            }
        }
        lines
    }

    /// The rule above the head (0), below it (1) and at the end (2).
    fn rule(&self, place: usize) -> Option<Rule> {
        Some(match (self.format.mode, place) {
            (Mode::Box, 0) => Rule("╭─", "─┬─", "─╮", "─"),
            (Mode::Box, 1) => Rule("├─", "─┼─", "─┤", "─"),
            (Mode::Box, _) => Rule("╰─", "─┴─", "─╯", "─"),
            (Mode::Table, _) => Rule("+-", "-+-", "-+", "-"),
            (Mode::Markdown, 1) => Rule("| ", " | ", " |", "-"),
            (Mode::Column, 1) => Rule("", "  ", "", "-"),
            _ => return None,
        })
    }

    fn line(&self, out: &mut dyn Write, Rule(left, between, right, dash): &Rule) -> io::Result<()> {
        let middle = self.widths.iter().map(|w| dash.repeat(*w)).collect::<Vec<_>>().join(between);
        writeln!(out, "{}", paint(&format!("{left}{middle}{right}"), DIM, self.format.color))
    }
}

/// In blocks, values stand beside their names where they have that much room.
const BESIDE: usize = 20;
const BOLD: &str = "1";
const DIM: &str = "2";

fn paint(text: &str, style: &str, on: bool) -> String {
    if on && !text.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}
