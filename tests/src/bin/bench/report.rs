//! Figures, what was aimed at, and how they are printed. Nothing here fails: a miss is printed as a miss.

use serde::Serialize;

/// What a figure should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Target::AtMost(limit) => value <= limit,
            Target::AtLeast(limit) => value >= limit,
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) measure: &'static str,
    /// On what.
    pub(crate) subject: String,
    /// The median, or what the unit says; none where it could not be measured.
    pub(crate) value: Option<f64>,
    /// Of the value.
    pub(crate) unit: &'static str,
    /// What it should be, where something was promised.
    pub(crate) target: Option<Target>,
    /// Whether it is.
    pub(crate) met: Option<bool>,
    /// More about it.
    pub(crate) note: String,
}

/// All lines, in the order they were measured.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure that nothing is promised about.
    pub(crate) fn add(
        &mut self,
        measure: &'static str,
        subject: &str,
        value: f64,
        unit: &'static str,
        note: String,
    ) {
        self.push(measure, subject, Some(value), unit, None, note);
    }

    /// Adds a figure that is held against a target.
    pub(crate) fn judge(
        &mut self,
        measure: &'static str,
        subject: &str,
        value: f64,
        unit: &'static str,
        target: Target,
        note: String,
    ) {
        self.push(measure, subject, Some(value), unit, Some(target), note);
    }

    /// Says that something could not be measured, and why.
    pub(crate) fn missing(&mut self, measure: &'static str, subject: &str, why: &anyhow::Error) {
        self.push(measure, subject, None, "", None, format!("not measured: {why:#}"));
    }

    fn push(
        &mut self,
        measure: &'static str,
        subject: &str,
        value: Option<f64>,
        unit: &'static str,
        target: Option<Target>,
        note: String,
    ) {
        let met = target.zip(value).map(|(target, value)| target.met(value));
        let figure = Figure { measure, subject: subject.into(), value, unit, target, met, note };
        eprintln!("{}", line(&figure));
        self.figures.push(figure);
    }

    /// As text, one line a figure under one heading a measure.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let mut last = "";
        for figure in &self.figures {
            if figure.measure != last {
                last = figure.measure;
                out.push_str(&format!("\n{last}\n"));
            }
            out.push_str(&line(figure));
            out.push('\n');
        }
        let judged = self.figures.iter().filter_map(|f| f.met);
        let (met, all) = judged.fold((0, 0), |(met, all), m| (met + usize::from(m), all + 1));
        out.push_str(&format!("\n{met} of {all} targets met\n"));
        out
    }

    /// As JSON.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn line(figure: &Figure) -> String {
    let value = figure.value.map_or("-".into(), |v| format!("{} {}", digits(v), figure.unit));
    let target = match figure.target {
        Some(Target::AtMost(limit)) => format!("≤ {}", digits(limit)),
        Some(Target::AtLeast(limit)) => format!("≥ {}", digits(limit)),
        None => String::new(),
    };
    let verdict = match figure.met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    format!("  {:<30} {value:>14}  {target:<9} {verdict:<6} {}", figure.subject, figure.note)
        .trim_end()
        .to_owned()
}

/// Three digits that count.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
