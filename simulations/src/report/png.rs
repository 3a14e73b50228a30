//! A plot as PNG, for where SVG is not read: black on white, twice as large, with letters of DejaVu Sans.

use super::plot::{Anchor, HEIGHT, Plot, Shape, WIDTH};
use anyhow::Context as _;
use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};
use ttf_parser::{Face, OutlineBuilder};

/// Pixels for each unit of a plot.
const SCALE: f32 = 2.0;

/// The plot as the bytes of a file.
pub(super) fn png(plot: &Plot) -> anyhow::Result<Vec<u8>> {
    let size = |units: f64| (units as f32 * SCALE) as u32;
    let mut pixels = Pixmap::new(size(WIDTH), size(HEIGHT)).context("a plot has no size")?;
    pixels.fill(Color::WHITE);
    let letters = Letters::new()?;
    plot.shapes.iter().for_each(|shape| draw(&mut pixels, &letters, shape));
    pixels.encode_png().context("a plot cannot be encoded")
}

fn draw(pixels: &mut Pixmap, letters: &Letters<'_>, shape: &Shape) {
    let scale = Transform::from_scale(SCALE, SCALE);
    match shape {
        Shape::Text { x, y, size, anchor, bold, upwards, text } => {
            let mut at = scale.pre_translate(*x as f32, *y as f32);
            if *upwards {
                at = at.pre_rotate(-90.0);
            }
            if let Some(path) = letters.path(text, *size as f32, *anchor, *bold) {
                pixels.fill_path(&path, &ink("#1a1a1a", 1.0), FillRule::Winding, at, None);
            }
        }
        Shape::Grid { x1, x2, y } => {
            let path = line(&[(*x1, *y), (*x2, *y)], false);
            stroke(pixels, path, &ink("#000000", 0.15), 1.0);
        }
        Shape::Box { x, y, width, height, colour, opacity, .. } => {
            let rect = Rect::from_xywh(*x as f32, *y as f32, *width as f32, *height as f32);
            if let Some(rect) = rect {
                pixels.fill_rect(rect, &ink(colour, *opacity), scale, None);
            }
        }
        Shape::Dot { x, y, radius, colour } => {
            if let Some(path) = PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32) {
                pixels.fill_path(&path, &ink(colour, 0.6), FillRule::Winding, scale, None);
            }
        }
        Shape::Path { points, colour } => stroke(pixels, line(points, false), &ink(colour, 1.0), 1.8),
        Shape::Area { points, colour } => {
            if let Some(path) = line(points, true) {
                pixels.fill_path(&path, &ink(colour, 0.2), FillRule::Winding, scale, None);
            }
        }
    }
}

fn stroke(pixels: &mut Pixmap, path: Option<Path>, paint: &Paint<'_>, width: f32) {
    let Some(path) = path else { return };
    let stroke = Stroke { width, ..Stroke::default() };
    pixels.stroke_path(&path, paint, &stroke, Transform::from_scale(SCALE, SCALE), None);
}

fn line(points: &[(f64, f64)], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (at, (x, y)) in points.iter().enumerate() {
        let (x, y) = (*x as f32, *y as f32);
        if at == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    if closed {
        path.close();
    }
    path.finish()
}

/// A colour written as `#rrggbb`.
fn ink(colour: &str, opacity: f64) -> Paint<'static> {
    let part =
        |at: usize| colour.get(at..at + 2).and_then(|part| u8::from_str_radix(part, 16).ok()).unwrap_or_default();
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(part(1), part(3), part(5), (opacity * 255.0).round() as u8);
    paint
}

/// The letters of a font as outlines.
struct Letters<'a> {
    regular: Face<'a>,
    bold: Face<'a>,
}

impl Letters<'_> {
    fn new() -> anyhow::Result<Self> {
        let face = |bytes| Face::parse(bytes, 0).context("the built-in font cannot be read");
        Ok(Self { regular: face(dejavu::sans::regular())?, bold: face(dejavu::sans::bold())? })
    }

    /// A text that starts, ends or has its middle at the origin; none if nothing of it is seen.
    fn path(&self, text: &str, size: f32, anchor: Anchor, bold: bool) -> Option<Path> {
        let face = if bold { &self.bold } else { &self.regular };
        let unit = size / f32::from(face.units_per_em());
        let glyphs: Vec<_> = text.chars().map(|letter| face.glyph_index(letter).unwrap_or_default()).collect();
        let advance = |glyph| f32::from(face.glyph_hor_advance(glyph).unwrap_or_default()) * unit;
        let width: f32 = glyphs.iter().map(|glyph| advance(*glyph)).sum();
        let start = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        };
        let mut pen = Pen { path: PathBuilder::new(), x: start, unit };
        for glyph in glyphs {
            face.outline_glyph(glyph, &mut pen);
            pen.x += advance(glyph);
        }
        pen.path.finish()
    }
}

/// Takes a glyph's outline at its place. Fonts count upwards, pictures downwards.
struct Pen {
    path: PathBuilder,
    x: f32,
    unit: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.unit, -y * self.unit)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::plot::{Line, lines};
    use super::*;

    #[test]
    fn a_picture_shows_lines_in_their_colours_and_letters() {
        let flat = Line { name: String::new(), points: vec![(0.0, 5.0), (10.0, 5.0)], ..Line::default() };
        let bytes = png(&lines("", "", "", &[flat], &[])).unwrap();
        let pixels = Pixmap::decode_png(&bytes).unwrap();
        let coloured = |pixels: &Pixmap, (r, g, b): (u8, u8, u8)| {
            pixels.pixels().iter().filter(|pixel| (pixel.red(), pixel.green(), pixel.blue()) == (r, g, b)).count()
        };
        assert_eq!((pixels.width(), pixels.height()), (1_440, 600));
        assert!(coloured(&pixels, (0, 0x72, 0xb2)) > 1_000, "the line is not seen");
        let titled = png(&lines("Titel äöü", "", "", &[], &[])).unwrap();
        let titled = Pixmap::decode_png(&titled).unwrap();
        assert!(coloured(&titled, (0x1a, 0x1a, 0x1a)) > coloured(&pixels, (0x1a, 0x1a, 0x1a)), "no letters are seen");
    }
}
