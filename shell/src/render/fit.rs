//! How wide the columns of a table are on a terminal, and where their text is broken.
use super::value::{char_width, width};

/// What the rows of a column, and its header, ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Column {
    /// Nothing is broken.
    pub natural: usize,
    /// The longest number: a broken number is misread.
    pub number: usize,
    /// The longest word of the text.
    pub word: usize,
    /// The header on one line.
    pub head: usize,
    /// The longest word of the header.
    pub head_word: usize,
}

/// Longer words may be broken without a thought, shorter ones never.
const LONG_WORD: usize = 24;
const SHORT_WORD: usize = 8;

/// Takes from the widest columns until the sum fits; None where that would break words into pieces, and a row reads better
/// as a block of lines. Headers on one line give way first, then words that are long, such as paths.
pub fn fit(columns: &[Column], space: usize) -> Option<Vec<usize>> {
    let floor = |c: &Column, head: usize, longest: usize| c.natural.min(head.max(c.number).max(c.word.min(longest)));
    let with = |f: &dyn Fn(&Column) -> usize| share(columns, &columns.iter().map(f).collect::<Vec<_>>(), space);
    with(&|c| floor(c, c.head, LONG_WORD)).or_else(|| (SHORT_WORD..=LONG_WORD).rev().find_map(|longest| with(&|c| floor(c, c.head_word, longest))))
}

/// The widest columns are cut to one width, but none below its floor.
fn share(columns: &[Column], floors: &[usize], space: usize) -> Option<Vec<usize>> {
    let cap = |limit: usize| columns.iter().zip(floors).map(|(c, f)| c.natural.min(limit.max(*f))).collect::<Vec<_>>();
    let fits = |limit: usize| cap(limit).iter().sum::<usize>() <= space;
    let (mut low, mut high) = (0, columns.iter().map(|c| c.natural).max().unwrap_or(0));
    if !fits(low) {
        return None;
    }
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    let mut widths = cap(low);
    // What is left over by rounding goes to the columns that were cut.
    let mut left = space - widths.iter().sum::<usize>().min(space);
    for (w, c) in widths.iter_mut().zip(columns) {
        if left > 0 && *w < c.natural {
            *w += 1;
            left -= 1;
        }
    }
    Some(widths)
}

/// After these a line may be broken; a space vanishes there, the others stay.
const BREAKS: [char; 7] = [' ', '/', '_', '-', ',', ';', '\n'];

pub fn longest_word(text: &str) -> usize {
    text.split_inclusive(BREAKS).map(|w| width(w.trim_end())).max().unwrap_or(0)
}

pub fn cut(s: &str, w: usize) -> String {
    let mut used = 0;
    s.chars()
        .take_while(|c| {
            used += char_width(*c);
            used <= w
        })
        .collect()
}

/// Lines of at most `w` columns, broken at the end of a word where one is near the end.
pub fn wrap(text: &str, w: usize) -> Vec<String> {
    let mut lines = vec![];
    for mut line in text.split('\n') {
        loop {
            // Only as much as fits is measured: a line may be a megabyte.
            let head = cut(line, w);
            if head.is_empty() || head.len() == line.len() {
                break;
            }
            // A space just behind the end is as good as one before it.
            let whole = line[head.len()..].starts_with(' ');
            let space = head.rfind(' ').filter(|at| *at > head.len() / 2);
            let other = || head.rfind(BREAKS).map(|at| at + 1).filter(|at| *at > head.len() / 3);
            let at = if whole { head.len() } else { space.or_else(other).unwrap_or(head.len()) };
            lines.push(line[..at].trim_end_matches(' ').to_owned());
            line = line[at..].trim_start_matches(' ');
        }
        lines.push(line.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(natural: usize, word: usize) -> Column {
        Column { natural, word, ..Column::default() }
    }

    #[test]
    fn columns_share_the_space() {
        assert_eq!(fit(&[text(3, 3), text(5, 5)], 20), Some(vec![3, 5]));
        assert_eq!(fit(&[text(3, 3), text(50, 5)], 20), Some(vec![3, 17]));
        assert_eq!(fit(&[text(40, 9), text(50, 9)], 21).map(|w| w.iter().sum::<usize>()), Some(21));
        assert_eq!(fit(&[text(10, 10); 10], 20), None);
    }

    #[test]
    fn numbers_and_words_stay_whole() {
        let number = Column { natural: 16, number: 6, head: 16, head_word: 9, ..Column::default() };
        assert_eq!(fit(&[number, text(40, 12)], 21), Some(vec![9, 12]), "the header is broken, not the number");
        assert_eq!(fit(&[text(30, 30)], 12), Some(vec![12]), "a long word is broken in the end");
        assert_eq!(fit(&[text(30, 30); 4], 20), None);
    }

    #[test]
    fn long_text_is_broken_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("rows of one_two three", 11), ["rows of", "one_two", "three"]);
        assert_eq!(wrap("/srv/data/a.db", 10), ["/srv/data/", "a.db"]);
        assert_eq!(wrap("response_time_ms", 9), ["response_", "time_ms"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("a\nb", 9), ["a", "b"]);
        assert_eq!(longest_word("response_time ms"), 9);
    }
}
