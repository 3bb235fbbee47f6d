//! Lines that are redrawn in place.

use crate::environment::Environment;
use crate::exit::Outcome;
use crate::output::Streams;
use crate::table::visible;

/// A block of lines at the end of the screen.
pub(crate) struct Live {
    streams: Streams,
    redraws: bool,
    drawn: usize,
    frame: usize,
}

impl Live {
    pub(crate) fn new(environment: &Environment) -> Self {
        Self { streams: environment.streams.clone(), redraws: environment.redraws, drawn: 0, frame: 0 }
    }

    /// Whether lines can be redrawn at all.
    pub(crate) fn redraws(&self) -> bool {
        self.redraws
    }

    /// The picture of the spinner; another one at each call.
    pub(crate) fn next_frame(&mut self) -> usize {
        self.frame = self.frame.wrapping_add(1);
        self.frame
    }

    /// Puts these lines in the place of the last ones.
    pub(crate) fn draw(&mut self, lines: &[String]) -> Outcome {
        let (width, height) = terminal_size::terminal_size()
            .map_or((100, 40), |(width, height)| (usize::from(width.0), usize::from(height.0)));
        // More than a screenful can't be redrawn: its beginning has left the screen.
        let room = height.saturating_sub(1).max(1);
        let skipped = lines.len().saturating_sub(room);
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\u{1b}[{}A", self.drawn));
        }
        for line in lines.iter().skip(skipped) {
            text.push_str("\r\u{1b}[2K");
            text.push_str(&cut(line, width));
            text.push('\n');
        }
        text.push_str("\u{1b}[0J");
        self.drawn = lines.len() - skipped;
        self.streams.print(&text)
    }

    /// Leaves the lines where they are; the next ones come below.
    pub(crate) fn finish(&mut self) {
        self.drawn = 0;
    }
}

/// A line that fits: one that breaks would be counted wrongly.
fn cut(line: &str, width: usize) -> String {
    if visible(line) < width {
        return line.to_owned();
    }
    let mut out = String::new();
    let mut seen = 0;
    let mut in_escape = false;
    for character in line.chars() {
        if character == '\u{1b}' {
            in_escape = true;
        } else if in_escape {
            in_escape = !character.is_ascii_alphabetic();
        } else if seen + 2 >= width {
            continue;
        } else {
            seen += 1;
        }
        // Escapes behind the cut stay: they end styles.
        out.push(character);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::style::{GOOD, paint};

    /// A line that wraps makes the next redraw start in the wrong place.
    #[test]
    fn lines_are_cut_to_the_screen() {
        let line = format!("{} and more", paint(GOOD, "some words"));
        let short = cut(&line, 8);
        assert!(visible(&short) < 8, "{short:?}");
        assert!(short.contains("\u{1b}[0m"), "{short:?}");
        assert_eq!(cut("short", 80), "short");
    }
}
