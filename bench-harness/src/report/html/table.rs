//! Figures as numbers and strips: what brokers did, and how many times better the first one is.

use super::curves::Colors;
use super::page::escaped;
use crate::model::{Comparison, Measured};
use crate::report::figures::{METRICS, Metric, Spread, Verdict, compares, metrics_of, valid};
use crate::report::units::{Unit, digits, times};

/// The axis of a strip of factors: both ends, and marks between.
struct Strip {
    low: f64,
    high: f64,
}

impl Strip {
    fn around(factors: &[Spread]) -> Self {
        let low = factors.iter().map(|factor| factor.min).fold(1.0, f64::min);
        let high = factors.iter().map(|factor| factor.max).fold(1.0, f64::max);
        Self {
            low: if low < 1.0 { low / 1.15 } else { 0.87 },
            high: (high * 1.15).max(2.0),
        }
    }

    /// In percent of the width.
    fn place(&self, factor: f64) -> f64 {
        let (low, high) = (self.low.ln(), self.high.ln());
        ((factor.ln() - low) / (high - low) * 100.0).clamp(0.0, 100.0)
    }

    /// Round factors between the ends, few enough to be read.
    fn ticks(&self) -> Vec<f64> {
        let wide = self.high / self.low > 30.0;
        let marks: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = (-4..=6).map(|exponent| 10_f64.powi(exponent));
        let all = decades.flat_map(|decade| marks.iter().map(move |mark| decade * mark));
        all.filter(|tick| *tick >= self.low && *tick <= self.high)
            .collect()
    }

    /// What stands over the strips.
    fn head(&self) -> String {
        let ticks = self.ticks().into_iter().map(|tick| {
            format!(
                "<span style=\"left:{:.1}%\">{}</span>",
                self.place(tick),
                escaped(&times(tick))
            )
        });
        format!("<div class=\"scale\">{}</div>", ticks.collect::<String>())
    }

    fn lines(&self) -> String {
        let ticks = self.ticks().into_iter().map(|tick| {
            let class = if tick == 1.0 { "one" } else { "tick" };
            format!(
                "<i class=\"{class}\" style=\"left:{:.1}%\"></i>",
                self.place(tick)
            )
        });
        ticks.collect()
    }

    fn html(&self, factor: Spread, color: usize) -> String {
        let (from, to) = (self.place(factor.min), self.place(factor.max));
        let (one, at) = (self.place(1.0), self.place(factor.median));
        format!(
            "<div class=\"strip\">{}\
             <i class=\"run c{color}\" style=\"left:{:.1}%;width:{:.1}%\"></i>\
             <i class=\"range c{color}\" style=\"left:{from:.1}%;width:{:.1}%\"></i>\
             <i class=\"mid c{color}\" style=\"left:{at:.1}%\"></i></div>",
            self.lines(),
            one.min(at),
            (one - at).abs(),
            to - from
        )
    }
}

/// The factor in words and digits.
fn factor_text(factor: Spread) -> String {
    let class = match factor.verdict() {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Undecided => "undecided",
    };
    let spread = if factor.rounds > 1 {
        format!(
            " <small>{}–{}</small>",
            digits(factor.min),
            digits(factor.max)
        )
    } else {
        String::new()
    };
    format!(
        "<b class=\"{class}\">{}</b>{spread}",
        escaped(&times(factor.median))
    )
}

fn cell(metric: &Metric, measured: &Measured) -> String {
    match (metric.spread(measured), metric.refuted(measured)) {
        (Some(spread), _) => {
            let shown = |value| escaped(&metric.unit.show(value));
            let all = if spread.rounds > 1 {
                let (low, high) = (shown(spread.min), shown(spread.max));
                format!(" title=\"{low} to {high} in {} rounds\"", spread.rounds)
            } else {
                String::new()
            };
            format!("<td{all}>{}</td>", shown(spread.median))
        }
        (None, Some(spread)) => format!(
            "<td class=\"none\"><s>{}</s> not valid</td>",
            escaped(&metric.unit.show(spread.median))
        ),
        (None, None) if !measured.rounds.iter().any(valid) => {
            "<td class=\"none\">not valid</td>".into()
        }
        (None, None) => "<td class=\"none\">–</td>".into(),
    }
}

/// The table of one workload.
pub(super) fn figures(page: &mut String, comparison: &Comparison, color: Colors<'_>) {
    let Some((first, others)) = comparison.brokers.split_first() else {
        return;
    };
    let metrics: Vec<_> = metrics_of(&comparison.workload, &comparison.brokers).collect();
    let factors = metrics
        .iter()
        .filter(|metric| compares(metric, &comparison.workload));
    let factors = factors.flat_map(|metric| {
        let all = others.iter();
        all.filter_map(|other| metric.factor(first, other))
    });
    let strip = Strip::around(&factors.collect::<Vec<_>>());
    *page += "<div class=\"wide\"><table class=\"figures\">\n<thead><tr><th></th>";
    for measured in &comparison.brokers {
        let name = &measured.broker.name;
        *page += &format!(
            "<th><i class=\"chip c{}\"></i>{}</th>",
            color(name),
            escaped(name)
        );
    }
    if !others.is_empty() {
        *page += &format!(
            "<th class=\"strips\">{}</th><th class=\"factor\">{} is better</th>",
            strip.head(),
            escaped(&first.broker.name)
        );
    }
    *page += "</tr></thead>\n<tbody>\n";
    for metric in metrics {
        *page += &format!("<tr><th>{}</th>", escaped(metric.name));
        for measured in &comparison.brokers {
            *page += &cell(metric, measured);
        }
        if !others.is_empty() {
            let (mut strips, mut texts) = (String::new(), String::new());
            for other in others
                .iter()
                .filter(|_| compares(metric, &comparison.workload))
            {
                if let Some(factor) = metric.factor(first, other) {
                    let color = color(&other.broker.name);
                    strips += &strip.html(factor, color);
                    texts += &format!("<div>{}</div>", factor_text(factor));
                }
            }
            *page +=
                &format!("<td class=\"strips\">{strips}</td><td class=\"factor\">{texts}</td>");
        }
        *page += "</tr>\n";
    }
    *page += "</tbody>\n</table></div>\n";
    not_counted(page, comparison);
}

fn not_counted(page: &mut String, comparison: &Comparison) {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for measured in &comparison.brokers {
        let costs = measured.rounds.iter().filter_map(|run| run.cost.as_ref());
        for why in costs.flat_map(|cost| &cost.not_counted) {
            let one = (&*measured.broker.name, &**why);
            if !all.contains(&one) {
                all.push(one);
            }
        }
        if measured.rounds.iter().all(|run| run.cost.is_none()) {
            let why = "its cost: no process of it was found on this machine";
            all.push((&measured.broker.name, why));
        }
    }
    if !all.is_empty() {
        let texts = all.iter().map(|(name, why)| format!("{name}: {why}"));
        let texts: Vec<_> = texts.collect();
        *page += &format!(
            "<p class=\"note\">Not counted: {}.</p>\n",
            escaped(&texts.join("; "))
        );
    }
}

/// The main factors of all workloads together.
pub(super) fn overview(page: &mut String, comparisons: &[Comparison], color: Colors<'_>) {
    let mut rows = Vec::new();
    for (number, comparison) in (1..).zip(comparisons) {
        let Some((first, others)) = comparison.brokers.split_first() else {
            continue;
        };
        let shown = METRICS.iter().filter(|metric| metric.main);
        for metric in shown.filter(|metric| compares(metric, &comparison.workload)) {
            let factors = others
                .iter()
                .filter_map(|other| Some((&*other.broker.name, metric.factor(first, other)?)));
            let factors: Vec<_> = factors.collect();
            if !factors.is_empty() {
                rows.push((number, comparison, metric, factors));
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    let all = rows.iter().flat_map(|(.., factors)| factors);
    let strip = Strip::around(&all.map(|(_, factor)| *factor).collect::<Vec<_>>());
    let first = &comparisons[0].brokers[0].broker.name;
    *page += &format!(
        "<section>\n<h2>How many times better is {}</h2>\n<p class=\"about\">Dots are medians, \
         the bars around them the spread over the rounds. Right of 1× {0} is better.</p>\n\
         <div class=\"wide\"><table class=\"figures overview\">\n<thead><tr><th></th>\
         <th class=\"strips\">{}</th><th></th></tr></thead>\n<tbody>\n",
        escaped(first),
        strip.head()
    );
    let mut last = None;
    for (number, comparison, metric, factors) in rows {
        if last != Some(number) {
            *page += &format!(
                "<tr class=\"group\"><th colspan=\"3\"><a href=\"#workload-{number}\">{}</a>\
                 </th></tr>\n",
                escaped(&comparison.workload.name)
            );
            last = Some(number);
        }
        let (mut strips, mut texts) = (String::new(), String::new());
        for (name, factor) in factors {
            strips += &strip.html(factor, color(name));
            texts += &format!(
                "<div>{} <span class=\"than c{}\">{}</span></div>",
                factor_text(factor),
                color(name),
                escaped(name)
            );
        }
        *page += &format!(
            "<tr><th>{}</th><td class=\"strips\">{strips}</td><td class=\"factor\">{texts}</td>\
             </tr>\n",
            escaped(metric.name)
        );
    }
    *page += "</tbody>\n</table></div>\n</section>\n";
}

/// CPU per record, split where the kernel splits it.
pub(super) fn bars(page: &mut String, comparison: &Comparison, color: Colors<'_>) {
    let mut all = Vec::new();
    for measured in &comparison.brokers {
        let rounds = measured.rounds.iter().filter(|run| valid(run));
        let parts = rounds.filter_map(|run| {
            let cost = run.cost.as_ref()?;
            let records = match run.counts.acked {
                0 => run.counts.consumed,
                acked => acked,
            };
            let each = |seconds: f64| seconds * 1e9 / records as f64;
            (records > 0 && cost.cpu_s() > 0.0).then(|| (each(cost.user_s), each(cost.system_s)))
        });
        let parts: Vec<_> = parts.collect();
        let user = Spread::of(parts.iter().map(|(user, _)| *user).collect());
        let system = Spread::of(parts.iter().map(|(_, system)| *system).collect());
        if let (Some(user), Some(system)) = (user, system) {
            all.push((&measured.broker.name, user.median, system.median));
        }
    }
    let longest = all.iter().map(|(_, user, system)| user + system);
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);
    if all.is_empty() {
        return;
    }
    *page += "<figure class=\"bars\"><figcaption>Broker CPU for each record <small>user, then \
              kernel in the lighter part</small></figcaption>\n";
    for (name, user, system) in all {
        let color = color(name);
        let width = |part: f64| part / longest * 100.0;
        *page += &format!(
            "<div class=\"bar\"><span>{}</span><div><i class=\"c{color}\" \
             style=\"width:{:.2}%\"></i><i class=\"kernel c{color}\" style=\"width:{:.2}%\"></i>\
             <b>{}</b></div></div>\n",
            escaped(name),
            width(user) * 0.82,
            width(system) * 0.82,
            escaped(&Unit::Nanos.show(user + system))
        );
    }
    *page += "</figure>\n";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(min: f64, median: f64, max: f64) -> Spread {
        Spread {
            median,
            min,
            max,
            rounds: 3,
        }
    }

    #[test]
    fn factors_lie_around_one_on_a_scale_of_ratios() {
        let strip = Strip::around(&[factor(0.5, 0.6, 0.7), factor(8.0, 9.0, 10.0)]);
        let one = strip.place(1.0);
        assert!(strip.place(0.5) > 0.0 && strip.place(10.0) < 100.0);
        assert!((strip.place(2.0) - one - (one - strip.place(0.5))).abs() < 1e-9);
    }

    #[test]
    fn a_factor_says_whether_the_rounds_agree() {
        assert!(factor_text(factor(2.0, 3.0, 4.0)).contains("class=\"better\">3×"));
        assert!(factor_text(factor(0.2, 0.3, 0.4)).contains("worse"));
        assert!(factor_text(factor(0.9, 1.3, 1.4)).contains("undecided"));
    }
}
