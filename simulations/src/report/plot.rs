//! Plain plots: lines, bands and bars, with axes that end at round numbers. A plot is a list of shapes, so that the SVG
//! and the PNG of it show the same.

pub(super) const WIDTH: f64 = 720.0;
pub(super) const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;

/// Colours that are told apart by those who see few colours, too (Okabe and Ito, 2008).
pub(super) const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/// The colour of what is marked.
const MARKED: &str = "#d55e00";

/// A named line.
#[derive(Default)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// A band around it: for each place, from where to where.
    pub(super) band: Vec<(f64, f64, f64)>,
    /// Points without a line between them.
    pub(super) dots: bool,
}

/// A time at which something began, with its end and name.
pub(super) struct Mark {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}

/// Which part of a text stands at its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// What a plot is made of. Without a colour it has the page's own.
pub(super) enum Shape {
    Text {
        x: f64,
        y: f64,
        size: f64,
        anchor: Anchor,
        bold: bool,
        upwards: bool,
        text: String,
    },
    /// A faint line of the grid.
    Grid {
        x1: f64,
        x2: f64,
        y: f64,
    },
    Box {
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        colour: &'static str,
        opacity: f64,
        name: String,
    },
    Dot {
        x: f64,
        y: f64,
        radius: f64,
        colour: &'static str,
    },
    Path {
        points: Vec<(f64, f64)>,
        colour: &'static str,
    },
    Area {
        points: Vec<(f64, f64)>,
        colour: &'static str,
    },
}

/// A plot.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) shapes: Vec<Shape>,
    x_max: f64,
    y_max: f64,
}

/// The least round number that is not below a value, such that a fifth of it is round, too.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let factor = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= value)
        .unwrap_or(10.0);
    factor * power
}

pub(super) fn number(value: f64) -> String {
    match value {
        _ if value.abs() >= 1e9 => format!("{:.1}G", value / 1e9),
        _ if value.abs() >= 1e6 => format!("{:.1}M", value / 1e6),
        _ if value.abs() >= 1e4 => format!("{:.0}k", value / 1e3),
        _ if value.fract().abs() < 1e-9 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

impl Plot {
    fn new(title: &str, x: &str, y: &str, x_max: f64, y_max: f64) -> Self {
        let mut plot =
            Self { title: title.to_owned(), shapes: Vec::new(), x_max: round_up(x_max), y_max: round_up(y_max) };
        plot.shapes.push(Shape::Text {
            x: LEFT,
            y: 16.0,
            size: 13.0,
            anchor: Anchor::Start,
            bold: true,
            upwards: false,
            text: title.to_owned(),
        });
        plot.text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0, 11.0, Anchor::Middle, x);
        plot.shapes.push(Shape::Text {
            x: 14.0,
            y: (TOP + HEIGHT - BOTTOM) / 2.0,
            size: 11.0,
            anchor: Anchor::Middle,
            bold: false,
            upwards: true,
            text: y.to_owned(),
        });
        for step in 0..=5 {
            let value = plot.y_max * f64::from(step) / 5.0;
            let y = plot.y(value);
            plot.shapes.push(Shape::Grid { x1: LEFT, x2: WIDTH - RIGHT, y });
            plot.text(LEFT - 6.0, y + 4.0, 11.0, Anchor::End, &number(value));
        }
        plot
    }

    fn text(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, text: &str) {
        self.shapes.push(Shape::Text { x, y, size, anchor, bold: false, upwards: false, text: text.to_owned() });
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_max
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.y_max
    }

    fn x_axis(&mut self) {
        for step in 0..=5 {
            let value = self.x_max * f64::from(step) / 5.0;
            let x = self.x(value);
            self.text(x, HEIGHT - BOTTOM + 16.0, 11.0, Anchor::Middle, &number(value));
        }
    }

    fn legend(&mut self, lines: &[Line]) {
        let mut x = LEFT + 8.0;
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.name.is_empty()) {
            let (colour, name) = (COLOURS[at % COLOURS.len()], String::new());
            self.shapes.push(Shape::Box { x, y: 22.0, width: 10.0, height: 4.0, colour, opacity: 1.0, name });
            self.text(x + 14.0, 28.0, 11.0, Anchor::Start, &line.name);
            x += 30.0 + 6.5 * line.name.chars().count() as f64;
        }
    }
}

/// Lines over a common axis, with marked stretches behind them.
pub(super) fn lines(title: &str, x: &str, y: &str, lines: &[Line], marks: &[Mark]) -> Plot {
    let all = || lines.iter().flat_map(|line| &line.points);
    let bands = lines.iter().flat_map(|line| line.band.iter().map(|(_, _, to)| *to));
    let x_max = all().map(|point| point.0).fold(0.0, f64::max);
    let y_max = all().map(|point| point.1).chain(bands).fold(0.0, f64::max);
    let mut plot = Plot::new(title, x, y, x_max, y_max);
    plot.x_axis();
    for mark in marks.iter().filter(|mark| mark.from <= plot.x_max) {
        let (from, to) = (plot.x(mark.from), plot.x(mark.to.min(plot.x_max)));
        let (width, height) = ((to - from).max(1.5), HEIGHT - TOP - BOTTOM);
        let name = mark.name.clone();
        plot.shapes.push(Shape::Box { x: from, y: TOP, width, height, colour: MARKED, opacity: 0.15, name });
    }
    for (at, line) in lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        if !line.band.is_empty() {
            let low = line.band.iter().map(|(x, from, _)| (plot.x(*x), plot.y(*from)));
            let high = line.band.iter().rev().map(|(x, _, to)| (plot.x(*x), plot.y(*to)));
            plot.shapes.push(Shape::Area { points: low.chain(high).collect(), colour });
        }
        let points: Vec<(f64, f64)> = line.points.iter().map(|(x, y)| (plot.x(*x), plot.y(*y))).collect();
        // A line of one point is seen only if the point is.
        if line.dots || points.len() == 1 {
            let radius = if line.dots { 1.4 } else { 3.0 };
            plot.shapes.extend(points.into_iter().map(|(x, y)| Shape::Dot { x, y, radius, colour }));
        } else {
            plot.shapes.push(Shape::Path { points, colour });
        }
    }
    plot.legend(lines);
    plot
}

/// One bar a name.
pub(super) fn bars(title: &str, x: &str, y: &str, bars: &[(String, f64)]) -> Plot {
    let y_max = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let mut plot = Plot::new(title, x, y, 1.0, y_max);
    plot.x_max = bars.len().max(1) as f64;
    let base = HEIGHT - BOTTOM;
    // Names that would run into one another are left out in part; each bar still has its own when pointed at.
    let longest = bars.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default() as f64 * 5.5 + 4.0;
    let every = (longest * bars.len() as f64 / (WIDTH - LEFT - RIGHT)).ceil().max(1.0) as usize;
    for (at, (name, value)) in bars.iter().enumerate() {
        let (from, to, top) = (plot.x(at as f64 + 0.15), plot.x(at as f64 + 0.85), plot.y(*value));
        let (width, height) = (to - from, (base - top).max(0.0));
        let told = format!("{name}: {}", number(*value));
        plot.shapes.push(Shape::Box { x: from, y: top, width, height, colour: COLOURS[0], opacity: 1.0, name: told });
        if at % every == 0 {
            plot.text((from + to) / 2.0, base + 14.0, 9.0, Anchor::Middle, name);
        }
    }
    plot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.0, 0.2, 7.0, 10.0, 24.0, 1_234.0].map(round_up), [1.0, 0.2, 8.0, 10.0, 25.0, 1_500.0]);
    }

    #[test]
    fn a_band_stands_within_the_axes() {
        let line = Line {
            points: vec![(0.0, 1.0), (4.0, 2.0)],
            band: vec![(0.0, 0.5, 3.0), (4.0, 1.0, 40.0)],
            ..Line::default()
        };
        let plot = lines("t", "x", "y", &[line], &[]);
        let area = plot.shapes.iter().find_map(|shape| match shape {
            Shape::Area { points, .. } => Some(points),
            _ => None,
        });
        let points = area.map_or(&[][..], Vec::as_slice);
        assert_eq!(points.len(), 4);
        assert!(points.iter().all(|(x, y)| (LEFT..=WIDTH).contains(x) && (TOP..=HEIGHT).contains(y)), "{points:?}");
    }
}
