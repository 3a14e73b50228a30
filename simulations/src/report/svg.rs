//! A plot as SVG. It takes the colour of the page around it, so that it is read on light and dark ones.

use super::plot::{Anchor, HEIGHT, Plot, Shape, WIDTH};
use std::fmt::Write as _;

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The plot as the text of a file.
pub(super) fn svg(plot: &Plot) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         fill=\"currentColor\" role=\"img\"><title>{}</title>",
        escape(&plot.title)
    );
    plot.shapes.iter().for_each(|shape| draw(&mut out, shape));
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, shape: &Shape) {
    let _ = match shape {
        Shape::Text { x, y, size, anchor, bold, upwards, text } => {
            let place = if *upwards {
                format!("transform=\"translate({x:.1} {y:.1}) rotate(-90)\"")
            } else {
                format!("x=\"{x:.1}\" y=\"{y:.1}\"")
            };
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::End => " text-anchor=\"end\"",
            };
            let bold = if *bold { " font-weight=\"600\"" } else { "" };
            write!(out, "<text {place} font-size=\"{size}\"{anchor}{bold}>{}</text>", escape(text))
        }
        Shape::Grid { x1, x2, y } => write!(
            out,
            "<line x1=\"{x1}\" x2=\"{x2}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" stroke-opacity=\"0.15\"/>"
        ),
        Shape::Box { x, y, width, height, colour, opacity, name } => {
            let opacity = if *opacity < 1.0 { format!(" fill-opacity=\"{opacity}\"") } else { String::new() };
            write!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"{opacity}>\
                 <title>{}</title></rect>",
                escape(name)
            )
        }
        Shape::Dot { x, y, radius, colour } => {
            write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" fill-opacity=\"0.6\"/>")
        }
        Shape::Path { points, colour } => write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>",
            list(points)
        ),
        Shape::Area { points, colour } => {
            write!(out, "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\"0.2\"/>", list(points))
        }
    };
}

fn list(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::plot::{Line, lines};
    use super::*;

    #[test]
    fn names_cannot_break_the_picture() {
        let line = Line { name: "<b>".to_owned(), points: vec![(0.0, 0.0), (1.0, 2.0)], ..Line::default() };
        let svg = svg(&lines("a & b", "x", "y", &[line], &[]));
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;b&gt;") && svg.ends_with("</svg>\n"));
    }
}
