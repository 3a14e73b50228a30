//! Plain plots as SVG: lines and bars, with axes that end at round numbers.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;

/// Colours that are told apart by those who see few colours, too (Okabe and Ito, 2008).
pub(super) const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/// A named line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Points without a line between them.
    pub(super) dots: bool,
}

/// A time at which something began, with its end and name.
pub(super) struct Mark {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}

/// The least round number that is not below a value: 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= value).unwrap_or(10.0);
    factor * power
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn number(value: f64) -> String {
    match value {
        _ if value.abs() >= 1e9 => format!("{:.1}G", value / 1e9),
        _ if value.abs() >= 1e6 => format!("{:.1}M", value / 1e6),
        _ if value.abs() >= 1e4 => format!("{:.0}k", value / 1e3),
        _ if value.fract().abs() < 1e-9 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

struct Frame {
    out: String,
    x_max: f64,
    y_max: f64,
}

impl Frame {
    fn new(title: &str, x: &str, y: &str, x_max: f64, y_max: f64) -> Self {
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"11\" fill=\"currentColor\" role=\"img\"><title>{0}</title><text x=\"{LEFT}\" y=\"16\" \
             font-size=\"13\" font-weight=\"600\">{0}</text>",
            escape(title)
        );
        let (middle, bottom) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0);
        let _ = write!(out, "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{}</text>", escape(x));
        let _ = write!(
            out,
            "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escape(y)
        );
        let mut frame = Self { out, x_max: round_up(x_max), y_max: round_up(y_max) };
        for step in 0..=5 {
            let y_value = frame.y_max * f64::from(step) / 5.0;
            let y = frame.y(y_value);
            let right = WIDTH - RIGHT;
            let _ = write!(
                frame.out,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" \
                 stroke-opacity=\"0.15\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                number(y_value)
            );
        }
        frame
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
            let (x, y) = (self.x(value), HEIGHT - BOTTOM + 16.0);
            let _ = write!(self.out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", number(value));
        }
    }

    fn legend(&mut self, names: &[String]) {
        let mut x = LEFT + 8.0;
        for (at, name) in names.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let _ = write!(
                self.out,
                "<rect x=\"{x:.0}\" y=\"22\" width=\"10\" height=\"4\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"28\">{}</text>",
                x + 14.0,
                escape(name)
            );
            x += 30.0 + 6.5 * name.len() as f64;
        }
    }

    fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// Lines over a common axis, with marked stretches behind them.
pub(super) fn lines(title: &str, x: &str, y: &str, lines: &[Line], marks: &[Mark]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let x_max = all().map(|point| point.0).fold(0.0, f64::max);
    let y_max = all().map(|point| point.1).fold(0.0, f64::max);
    let mut frame = Frame::new(title, x, y, x_max, y_max);
    frame.x_axis();
    for mark in marks.iter().filter(|mark| mark.from <= frame.x_max) {
        let (from, to) = (frame.x(mark.from), frame.x(mark.to.min(frame.x_max)));
        let _ = write!(
            frame.out,
            "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\" fill=\"#d55e00\" fill-opacity=\"0.15\">\
             <title>{}</title></rect>",
            (to - from).max(1.5),
            HEIGHT - TOP - BOTTOM,
            escape(&mark.name)
        );
    }
    for (at, line) in lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        if line.dots {
            for (x, y) in &line.points {
                let (x, y) = (frame.x(*x), frame.y(*y));
                let _ = write!(
                    frame.out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.4\" fill=\"{colour}\" fill-opacity=\"0.6\"/>"
                );
            }
            continue;
        }
        let points: Vec<String> =
            line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", frame.x(*x), frame.y(*y))).collect();
        let points = points.join(" ");
        let _ =
            write!(frame.out, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>");
    }
    frame.legend(&lines.iter().map(|line| line.name.clone()).collect::<Vec<_>>());
    frame.finish()
}

/// One bar a name.
pub(super) fn bars(title: &str, y: &str, bars: &[(String, f64)]) -> String {
    let y_max = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let mut frame = Frame::new(title, "", y, bars.len().max(1) as f64, y_max);
    frame.x_max = bars.len().max(1) as f64;
    for (at, (name, value)) in bars.iter().enumerate() {
        let (from, to, top) = (frame.x(at as f64 + 0.15), frame.x(at as f64 + 0.85), frame.y(*value));
        let base = HEIGHT - BOTTOM;
        let _ = write!(
            frame.out,
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}: {}</title></rect>\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"9\">{}</text>",
            to - from,
            (base - top).max(0.0),
            COLOURS[0],
            escape(name),
            number(*value),
            (from + to) / 2.0,
            base + 14.0,
            escape(name)
        );
    }
    frame.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.0, 0.3, 7.0, 10.0, 1_234.0].map(round_up), [1.0, 0.5, 10.0, 10.0, 2_000.0]);
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let line = Line { name: "<b>".to_owned(), points: vec![(0.0, 0.0), (1.0, 2.0)], dots: false };
        let svg = lines("a & b", "x", "y", &[line], &[]);
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;b&gt;") && svg.ends_with("</svg>\n"));
    }
}
