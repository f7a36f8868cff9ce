//! Charts as inline SVG that takes its colours from the page.

use std::fmt::Write as _;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 280.0;
/// Space for labels: left, top, right, bottom.
const MARGIN: [f64; 4] = [76.0, 14.0, 14.0, 46.0];

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mark {
    Line,
    Dots,
}

/// Points with a name. `class` is one of the page's colours, `s0` to `s4`.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) class: usize,
    pub(super) mark: Mark,
    pub(super) points: Vec<[f64; 2]>,
}

/// Axes and what is drawn between them.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// An axis from `low` to `high` in units of the points, with ticks there.
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Round ticks over what the points span.
    pub(super) fn linear(label: &str, values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low < high {
            (low, high)
        } else {
            (low - 0.5, low + 0.5)
        };
        let step = round_step((high - low) / 5.0);
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let digits = (-step.log10()).ceil().max(0.0) as usize;
        let tick = |i| (i as f64 * step, format!("{:.digits$}", i as f64 * step));
        Self {
            label: label.into(),
            low: first as f64 * step,
            high: last as f64 * step,
            ticks: (first..=last).map(tick).collect(),
        }
    }

    /// Points are log10 of what the ticks say.
    pub(super) fn logarithmic(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| v.is_finite()) {
            (low, high) = (low.min(v), high.max(v));
        }
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let (first, last) = (
            low.floor() as i32,
            (high.ceil() as i32).max(low.floor() as i32 + 1),
        );
        let tick = |i: i32| (f64::from(i), power(i));
        Self {
            label: label.into(),
            low: first.into(),
            high: last.into(),
            ticks: (first..=last).map(tick).collect(),
        }
    }

    /// Points are decades of what is missing to 1: `-log10(1 - v)`. Ticks at 0, 0.9, 0.99 ..
    pub(super) fn towards_one(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(1.0, f64::max).ceil();
        let tick = |i: usize| (i as f64, format!("{:.i$}", 1.0 - 10f64.powi(-(i as i32))));
        Self {
            label: label.into(),
            low: 0.0,
            high: most,
            ticks: (0..=most as usize).map(tick).collect(),
        }
    }

    fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// `0.01`, `1`, `100k`.
fn power(exponent: i32) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let digits = (-exponent).max(0) as usize;
    let unit = (exponent.max(0) as usize / 3).min(UNITS.len() - 1);
    format!(
        "{:.digits$}{}",
        10f64.powi(exponent - 3 * unit as i32),
        UNITS[unit]
    )
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let ten = 10f64.powf(step.log10().floor());
    let lead = [1.0, 2.0, 5.0].into_iter().find(|l| l * ten >= step);
    lead.unwrap_or(10.0) * ten
}

fn x_of(chart: &Chart, value: f64) -> f64 {
    MARGIN[0] + chart.x.place(value) * (WIDTH - MARGIN[0] - MARGIN[2])
}

fn y_of(chart: &Chart, value: f64) -> f64 {
    HEIGHT - MARGIN[3] - chart.y.place(value) * (HEIGHT - MARGIN[1] - MARGIN[3])
}

impl Chart {
    /// The chart as an `svg` element.
    pub(super) fn svg(&self) -> String {
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            super::page::escape(&self.title)
        );
        self.axes(&mut out);
        for series in &self.series {
            self.draw(series, &mut out);
        }
        self.legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn axes(&self, out: &mut String) {
        let (left, right) = (MARGIN[0], WIDTH - MARGIN[2]);
        let (top, bottom) = (MARGIN[1], HEIGHT - MARGIN[3]);
        for (value, word) in &self.x.ticks {
            let x = x_of(self, *value);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{word}</text>",
                bottom + 16.0
            );
        }
        for (value, word) in &self.y.ticks {
            let y = y_of(self, *value);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{word}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            HEIGHT - 8.0,
            super::page::escape(&self.x.label)
        );
        let middle = (top + bottom) / 2.0;
        let _ = writeln!(
            out,
            "<text x=\"14\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle:.1})\">{}</text>",
            super::page::escape(&self.y.label)
        );
    }

    fn draw(&self, series: &Series, out: &mut String) {
        let inside = |p: &&[f64; 2]| p.iter().all(|v| v.is_finite());
        let places = series.points.iter().filter(inside);
        let places: Vec<_> = places
            .map(|p| (x_of(self, p[0]), y_of(self, p[1])))
            .collect();
        match series.mark {
            Mark::Line => {
                let path: Vec<_> = places
                    .iter()
                    .map(|(x, y)| format!("{x:.1},{y:.1}"))
                    .collect();
                let _ = writeln!(
                    out,
                    "<polyline class=\"line s{}\" points=\"{}\"/>",
                    series.class,
                    path.join(" ")
                );
            }
            Mark::Dots => {
                for (x, y) in places {
                    let _ = writeln!(
                        out,
                        "<circle class=\"dot s{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>",
                        series.class
                    );
                }
            }
        }
    }

    /// Names in the upper left corner, where rising curves are not.
    fn legend(&self, out: &mut String) {
        for (i, series) in self
            .series
            .iter()
            .filter(|s| !s.name.is_empty())
            .enumerate()
        {
            let (x, y) = (MARGIN[0] + 10.0, MARGIN[1] + 14.0 + 15.0 * i as f64);
            let mark = match series.mark {
                Mark::Line => format!("<path class=\"line s{}\" d=\"M{x} {y}h16\"/>", series.class),
                Mark::Dots => format!(
                    "<circle class=\"dot s{}\" cx=\"{}\" cy=\"{y}\" r=\"4\"/>",
                    series.class,
                    x + 8.0
                ),
            };
            let _ = writeln!(
                out,
                "{mark}<text x=\"{}\" y=\"{}\">{}</text>",
                x + 22.0,
                y + 4.0,
                super::page::escape(&series.name)
            );
        }
    }
}

/// A histogram as bars; heights are log10 of the counts, empty bins have none.
pub(super) fn histogram(counts: &[u64], low: f64, high: f64) -> String {
    let height = |n: u64| {
        if n == 0 {
            0.0
        } else {
            (n as f64).log10() + 0.3
        }
    };
    let bins = counts.len().max(1) as f64;
    let mut chart = Chart {
        title: "Histogram of the values".into(),
        x: Axis {
            low,
            high: if high > low { high } else { low + 1.0 },
            ..Axis::linear("value", [low, high].into_iter())
        },
        y: Axis {
            ticks: (0..=counts.iter().max().map_or(0, |&n| height(n) as i32))
                .map(|i| (f64::from(i) + 0.3, power(i)))
                .collect(),
            low: 0.0,
            high: counts.iter().map(|&n| height(n)).fold(1.0, f64::max) * 1.05,
            label: "voxels of the sample".into(),
        },
        series: Vec::new(),
    };
    let (first, last) = (chart.x.low, chart.x.high);
    chart.x.ticks.retain(|t| (first..=last).contains(&t.0));
    let mut out = chart.svg();
    out.truncate(out.len() - "</svg>\n".len());
    let step = (chart.x.high - chart.x.low) / bins;
    for (i, &n) in counts.iter().enumerate() {
        let x = x_of(&chart, chart.x.low + i as f64 * step);
        let (y, bottom) = (y_of(&chart, height(n)), y_of(&chart, 0.0));
        let width = (WIDTH - MARGIN[0] - MARGIN[2]) / bins - 1.0;
        let _ = writeln!(
            out,
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
            bottom - y
        );
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all() {
        let axis = Axis::linear("x", [3.2, 17.0].into_iter());
        assert_eq!((axis.low, axis.high), (0.0, 20.0));
        assert_eq!(axis.ticks[1].1, "5");
        let axis = Axis::logarithmic("x", [-1.3, 0.4].into_iter());
        let words: Vec<_> = axis.ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(words, ["0.01", "0.1", "1", "10"]);
        assert_eq!([power(3), power(5), power(-3)], ["1k", "100k", "0.001"]);
        let axis = Axis::towards_one("x", [0.5, 2.2, f64::NAN].into_iter());
        let words: Vec<_> = axis.ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(words, ["0", "0.9", "0.99", "0.999"]);
        // No spread, and nothing at all.
        assert!(Axis::linear("x", [2.0].into_iter()).low < 2.0);
        assert_eq!(Axis::logarithmic("x", [].into_iter()).ticks.len(), 2);
    }
}
