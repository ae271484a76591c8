//! One plot as inline SVG: lines with their names beside them.

use super::axis::Axis;
use super::page::escaped;

// All in units of the drawing, which is scaled to the width of its column.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 270.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;
const LEFT: f64 = 58.0;
/// Two names closer than this would touch.
const NAME_HEIGHT: f64 = 14.0;
/// About what a letter of a name takes.
const LETTER_WIDTH: f64 = 6.3;

pub(super) struct Plot {
    pub(super) title: String,
    /// What somebody who cannot see it is told.
    pub(super) summary: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

pub(super) struct Series {
    pub(super) name: String,
    /// Of the broker, on every plot the same.
    pub(super) color: usize,
    pub(super) lines: Vec<Line>,
    /// x, lowest and highest y.
    pub(super) band: Vec<(f64, f64, f64)>,
}

pub(super) struct Line {
    pub(super) points: Vec<(f64, f64)>,
    pub(super) look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The one that carries the name.
    Main,
    /// With a dot at each point.
    Dotted,
    /// Behind the others.
    Faint,
    Dashed,
}

/// Where the name of a line goes.
struct Name {
    text: String,
    color: usize,
    /// Where the line ends, and where the name stands so that it touches no other.
    end: (f64, f64),
    y: f64,
}

impl Plot {
    fn right(&self) -> f64 {
        let longest = self.series.iter().map(|series| series.name.chars().count());
        (longest.max().unwrap_or(0) as f64 * LETTER_WIDTH + 14.0).clamp(24.0, 150.0)
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let width = WIDTH - LEFT - self.right();
        let height = HEIGHT - TOP - BOTTOM;
        (
            LEFT + self.x.place(x) * width,
            HEIGHT - BOTTOM - self.y.place(y) * height,
        )
    }

    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<figure><svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{}\" data-frame=\"{LEFT} {} {TOP} {}\" data-x=\"{}\" data-y=\"{}\">\n\
             <text class=\"title\" x=\"0\" y=\"12\">{}</text>\n",
            escaped(&self.summary),
            WIDTH - self.right(),
            HEIGHT - BOTTOM,
            self.x.data(),
            self.y.data(),
            escaped(&self.title)
        );
        self.grid(&mut svg);
        for series in &self.series {
            self.band(&mut svg, series);
        }
        for faint in [true, false] {
            for series in &self.series {
                let lines = series.lines.iter();
                for line in lines.filter(|line| (line.look == Look::Faint) == faint) {
                    self.line(&mut svg, series, line);
                }
            }
        }
        self.names(&mut svg);
        svg + "</svg></figure>\n"
    }

    fn grid(&self, svg: &mut String) {
        let right = WIDTH - self.right();
        for (value, text) in &self.y.ticks {
            let y = self.at(0.0, *value).1;
            *svg += &format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                LEFT - 7.0,
                y + 3.8,
                escaped(text)
            );
        }
        let base = HEIGHT - BOTTOM;
        *svg += &format!("<path class=\"base\" d=\"M{LEFT} {base}H{right:.1}\"/>\n");
        let mut free_from = f64::MIN;
        for (value, text) in &self.x.ticks {
            let (x, _) = self.at(*value, 0.0);
            *svg += &format!("<path class=\"base\" d=\"M{x:.1} {base}v4\"/>");
            let half = text.chars().count() as f64 * 2.8;
            // A text that would touch the one before it stays away; its mark stays.
            if x - half >= free_from {
                *svg += &format!(
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}\
                     </text>\n",
                    base + 16.0,
                    escaped(text)
                );
                free_from = x + half + 5.0;
            }
        }
        *svg += &format!(
            "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            right,
            HEIGHT - 3.0,
            escaped(self.x.name)
        );
    }

    fn band(&self, svg: &mut String, series: &Series) {
        if series.band.len() < 2 {
            return;
        }
        let low = series.band.iter().map(|(x, low, _)| self.at(*x, *low));
        let high = series
            .band
            .iter()
            .rev()
            .map(|(x, _, high)| self.at(*x, *high));
        let points: Vec<_> = low.chain(high).map(point).collect();
        *svg += &format!(
            "<polygon class=\"band c{}\" points=\"{}\"/>\n",
            series.color,
            points.join(" ")
        );
    }

    fn line(&self, svg: &mut String, series: &Series, line: &Line) {
        let look = match line.look {
            Look::Main | Look::Dotted => "main",
            Look::Faint => "faint",
            Look::Dashed => "dashed",
        };
        let places = line.points.iter().map(|(x, y)| self.at(*x, *y));
        let points: Vec<_> = places.clone().map(point).collect();
        let data = match line.look {
            Look::Main | Look::Dotted => format!(" data-name=\"{}\"", escaped(&series.name)),
            Look::Faint | Look::Dashed => String::new(),
        };
        *svg += &format!(
            "<polyline class=\"line {look} c{}\" points=\"{}\"{data}/>\n",
            series.color,
            points.join(" ")
        );
        let dotted = line.look == Look::Dotted || line.points.len() == 1;
        for (x, y) in places.filter(|_| dotted) {
            *svg += &format!(
                "<circle class=\"dot c{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>\n",
                series.color
            );
        }
    }

    fn names(&self, svg: &mut String) {
        let mut names = Vec::new();
        for series in &self.series {
            let carries = |line: &&Line| !matches!(line.look, Look::Faint | Look::Dashed);
            let line = series.lines.iter().find(carries);
            if let Some((x, y)) = line.and_then(|line| line.points.last()) {
                let end = self.at(*x, *y);
                names.push(Name {
                    text: series.name.clone(),
                    color: series.color,
                    end,
                    y: end.1,
                });
            }
        }
        spread(&mut names);
        let x = WIDTH - self.right() + 8.0;
        for name in names {
            let (end_x, end_y) = name.end;
            if (name.y - end_y).abs() > 2.0 || x - end_x > 12.0 {
                *svg += &format!(
                    "<path class=\"leader c{}\" d=\"M{:.1} {end_y:.1}L{:.1} {:.1}\"/>",
                    name.color,
                    end_x + 2.0,
                    x - 3.0,
                    name.y
                );
            }
            *svg += &format!(
                "<text class=\"name c{}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>\n",
                name.color,
                name.y + 4.0,
                escaped(&name.text)
            );
        }
    }
}

fn point((x, y): (f64, f64)) -> String {
    format!("{x:.1},{y:.1}")
}

/// Moves names apart until none touches another, as little as that takes, within the plot.
fn spread(names: &mut [Name]) {
    names.sort_by(|one, other| one.y.total_cmp(&other.y));
    let mut free_from = TOP;
    for name in names.iter_mut() {
        name.y = name.y.max(free_from);
        free_from = name.y + NAME_HEIGHT;
    }
    let mut free_to = HEIGHT - BOTTOM + 2.0;
    for name in names.iter_mut().rev() {
        name.y = name.y.min(free_to);
        free_to = name.y - NAME_HEIGHT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(y: f64) -> Name {
        Name {
            text: "n".to_owned(),
            color: 0,
            end: (0.0, y),
            y,
        }
    }

    #[test]
    fn names_are_moved_apart_and_stay_on_the_drawing() {
        for ends in [
            vec![100.0, 101.0, 102.0],
            vec![HEIGHT - BOTTOM; 4],
            vec![TOP; 4],
            vec![50.0, 200.0],
        ] {
            let mut names: Vec<_> = ends.iter().map(|y| name(*y)).collect();
            spread(&mut names);
            for pair in names.windows(2) {
                assert!(pair[1].y - pair[0].y >= NAME_HEIGHT - 1e-9, "{ends:?}");
            }
            assert!(
                names
                    .iter()
                    .all(|name| name.y >= TOP && name.y <= HEIGHT - BOTTOM + 2.0)
            );
        }
        let mut apart = vec![name(50.0), name(200.0)];
        spread(&mut apart);
        assert_eq!(
            (apart[0].y, apart[1].y),
            (50.0, 200.0),
            "nothing moves without need"
        );
    }
}
