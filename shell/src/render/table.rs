//! Tables that fit the terminal: widths come from the first rows, the rest streams through them.
use super::{Format, Mode, value};
use rusqlite::types::ValueRef;
use std::io::{self, Write};

/// Rows that are looked at before the first is written.
const SAMPLE: usize = 1000;
/// A column is never made narrower than this; where that does not fit, each row becomes a block of lines.
const NARROWEST: usize = 4;
/// Lines a cell may take on a terminal before it is cut.
const TALLEST: usize = 12;

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

    fn start(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.started = true;
        let widest = |i: usize| {
            let cells = self.waiting.iter().filter_map(|r| r.get(i)).flat_map(|c| c.text.split('\n')).map(value::width).max();
            cells.unwrap_or(0).max(if self.format.headers() { value::width(&self.columns[i]) } else { 0 }).max(1)
        };
        let natural: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        match self.format.width.filter(|_| self.format.mode != Mode::Markdown) {
            None => self.widths = natural,
            Some(space) => {
                let borders = if self.format.mode == Mode::Column { 2 * natural.len().saturating_sub(1) } else { 3 * natural.len() + 1 };
                let heads: Vec<usize> = self.columns.iter().map(|c| value::width(c)).collect();
                match fit(&natural, &heads, space.saturating_sub(borders)) {
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
        if self.written > 1 {
            writeln!(out)?;
        }
        let space = self.format.width.unwrap_or(80).max(2);
        for (name, cell) in self.columns.iter().zip(cells) {
            for line in wrap(name, space) {
                writeln!(out, "{}", paint(&line, BOLD, self.format.color))?;
            }
            for line in wrap(&cell.text, space - 1) {
                writeln!(out, " {}", paint(&line, DIM, self.format.color && cell.null))?;
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
        let fitted: Vec<Vec<String>> = cells.iter().zip(&self.widths).map(|(c, w)| self.cell(&c.text, *w)).collect();
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

    fn cell(&self, text: &str, w: usize) -> Vec<String> {
        if self.format.mode == Mode::Markdown {
            return vec![text.to_owned()];
        }
        let mut lines = wrap(text, w);
        if self.format.width.is_some() && lines.len() > TALLEST {
            lines.truncate(TALLEST);
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

const BOLD: &str = "1";
const DIM: &str = "2";

fn paint(text: &str, style: &str, on: bool) -> String {
    if on && !text.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Takes from the widest columns until the sum fits; None where even narrow ones do not. A column named in full reads
/// better: headers give way last.
fn fit(natural: &[usize], heads: &[usize], space: usize) -> Option<Vec<usize>> {
    let cap =
        |limit: usize, floors: &dyn Fn(usize) -> usize| -> Vec<usize> { natural.iter().enumerate().map(|(i, n)| (*n).min(limit.max(floors(i)))).collect() };
    let largest = |floors: &dyn Fn(usize) -> usize| {
        let (mut low, mut high) = (NARROWEST, natural.iter().copied().max().unwrap_or(NARROWEST).max(NARROWEST));
        if cap(low, floors).iter().sum::<usize>() > space {
            return None;
        }
        while low < high {
            let middle = (low + high).div_ceil(2);
            if cap(middle, floors).iter().sum::<usize>() <= space { low = middle } else { high = middle - 1 }
        }
        let mut widths = cap(low, floors);
        // What is left over by rounding goes to the columns that were cut.
        let mut left = space - widths.iter().sum::<usize>();
        for (w, n) in widths.iter_mut().zip(natural) {
            if left > 0 && *w < *n {
                *w += 1;
                left -= 1;
            }
        }
        Some(widths)
    };
    largest(&|i| heads[i]).or_else(|| largest(&|_| NARROWEST))
}

fn cut(s: &str, w: usize) -> String {
    let mut used = 0;
    s.chars()
        .take_while(|c| {
            used += value::char_width(*c);
            used <= w
        })
        .collect()
}

/// Lines of at most `w` columns, broken at a space where one is near the end.
pub fn wrap(text: &str, w: usize) -> Vec<String> {
    let mut lines = vec![];
    for mut line in text.split('\n') {
        while value::width(line) > w {
            let head = cut(line, w);
            if head.is_empty() {
                break;
            }
            let at = head.rfind(' ').filter(|at| *at > head.len() / 2).unwrap_or(head.len());
            lines.push(line[..at].trim_end_matches(' ').to_owned());
            line = line[at..].strip_prefix(' ').unwrap_or(&line[at..]);
        }
        lines.push(line.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_share_the_space() {
        assert_eq!(fit(&[3, 5], &[3, 5], 20), Some(vec![3, 5]));
        assert_eq!(fit(&[3, 50], &[3, 5], 20), Some(vec![3, 17]));
        assert_eq!(fit(&[40, 50], &[3, 5], 21).map(|w| w.iter().sum::<usize>()), Some(21));
        assert_eq!(fit(&[10; 10], &[3; 10], 20), None);
    }

    #[test]
    fn long_text_is_broken_at_spaces() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("a\nb", 9), ["a", "b"]);
    }
}
