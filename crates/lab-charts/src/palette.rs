//! Colours by role. The SVG is drawn with sentinels that stand for custom properties of the page; the canvas with the
//! values those properties have at the moment.

/// Red, green, blue.
pub type Colour = (u8, u8, u8);

/// What a mark is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Words and numbers.
    Text,
    /// Words that step back.
    Muted,
    /// Grid and axes.
    Line,
    /// What lies behind.
    Surface,
    /// A case where things went wrong.
    Bad,
    /// Series by index from 0, repeated after six.
    Series(usize),
    /// Sequential scale, 0 (surface) to 100 (accent).
    Heat(u8),
    /// A grey of a picture: content, so it is the same in both themes.
    Grey(u8),
}

/// How many series colours there are.
pub(crate) const SERIES: usize = 6;

/// The colours of the roles.
#[derive(Debug, Clone, PartialEq)]
pub struct Palette {
    text: Colour,
    muted: Colour,
    line: Colour,
    surface: Colour,
    bad: Colour,
    series: [Colour; SERIES],
    sentinel: bool,
}

impl Palette {
    /// Reads each colour from the custom property of this name (`--text`, `--series-1` ...).
    pub fn read(mut property: impl FnMut(&str) -> Colour) -> Self {
        let mut series = [(0, 0, 0); SERIES];
        for (i, colour) in series.iter_mut().enumerate() {
            *colour = property(&format!("--series-{}", i + 1));
        }
        Self {
            text: property("--text"),
            muted: property("--muted"),
            line: property("--line"),
            surface: property("--surface"),
            bad: property("--bad"),
            series,
            sentinel: false,
        }
    }

    /// Colours that [`themed`] turns into custom properties.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn sentinel() -> Self {
        let mut series = [(0, 0, 0); SERIES];
        for (colour, i) in series.iter_mut().zip(1_u8..) {
            *colour = (0xFE, 2, i);
        }
        let role = |i| (0xFE, 1, i);
        Self { text: role(1), muted: role(2), line: role(3), surface: role(4), bad: role(5), series, sentinel: true }
    }

    /// The colour to draw with.
    pub(crate) fn colour(&self, ink: Ink) -> Colour {
        match ink {
            Ink::Text => self.text,
            Ink::Muted => self.muted,
            Ink::Line => self.line,
            Ink::Surface => self.surface,
            Ink::Bad => self.bad,
            Ink::Series(i) => self.series[i % SERIES],
            Ink::Heat(percent) if self.sentinel => (0xFE, 3, percent.min(100)),
            Ink::Heat(percent) => mix(self.series[1], self.surface, percent.min(100)),
            Ink::Grey(level) => (level, level, level),
        }
    }
}

/// `percent` of the first, the rest of the second, as `color-mix(in srgb, ..)` does it.
fn mix(first: Colour, second: Colour, percent: u8) -> Colour {
    let share = f64::from(percent) / 100.0;
    let channel = |a: u8, b: u8| (f64::from(a) * share + f64::from(b) * (1.0 - share)).round() as u8;
    (channel(first.0, second.0), channel(first.1, second.1), channel(first.2, second.2))
}

/// Replaces every sentinel colour (`#FE0101`) by its custom property.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn themed(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len());
    let mut rest = svg;
    while let Some(start) = rest.find("\"#FE0") {
        let (before, tail) = rest.split_at(start + 1);
        out.push_str(before);
        let code = tail.get(1..7).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default();
        match property(code) {
            Some(value) => out.push_str(&value),
            // Not one of ours: keep it, and let the test on leftovers speak.
            None => out.push_str(tail.get(..7).unwrap_or_default()),
        }
        rest = tail.get(7..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(not(target_family = "wasm"))]
fn property(code: u32) -> Option<String> {
    let last = code & 0xFF;
    let value = match (code >> 8) & 0xFF {
        1 => match last {
            1 => "var(--text)",
            2 => "var(--muted)",
            3 => "var(--line)",
            4 => "var(--surface)",
            5 => "var(--bad)",
            _ => return None,
        }
        .to_owned(),
        2 if (1..=SERIES as u32).contains(&last) => format!("var(--series-{last})"),
        3 if last <= 100 => format!("color-mix(in srgb, var(--series-2) {last}%, var(--surface))"),
        _ => return None,
    };
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentinel_becomes_a_property() {
        let palette = Palette::sentinel();
        let mut inks = vec![Ink::Text, Ink::Muted, Ink::Line, Ink::Surface, Ink::Bad];
        inks.extend((0..SERIES).map(Ink::Series));
        inks.extend((0..=100).map(Ink::Heat));
        for ink in inks {
            let (r, g, b) = palette.colour(ink);
            let drawn = format!("fill=\"#{r:02X}{g:02X}{b:02X}\"");
            assert!(themed(&drawn).contains("var(--"), "{ink:?}: {}", themed(&drawn));
        }
        assert_eq!(themed("fill=\"#C0C0C0\""), "fill=\"#C0C0C0\"");
    }

    #[test]
    fn the_canvas_mixes_as_css_does() {
        let palette = Palette::read(|name| if name == "--surface" { (255, 255, 255) } else { (0, 100, 200) });
        assert_eq!(palette.colour(Ink::Heat(0)), (255, 255, 255));
        assert_eq!(palette.colour(Ink::Heat(100)), (0, 100, 200));
        assert_eq!(palette.colour(Ink::Heat(50)), (128, 178, 228));
    }
}
