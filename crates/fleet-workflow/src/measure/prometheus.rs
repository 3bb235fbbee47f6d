//! What Prometheus' HTTP API answers to an instant query.
//! <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>

use fleet_api::Outcome;
use serde_json::{Value, json};

use super::{Comparison, Condition, Reading};

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A single number.
    Scalar(f64),
    /// One number for each series.
    Vector(Vec<f64>),
}

/// How an answer is judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// By expressions over `result`: a number, or a list of them for a vector.
    Expressions {
        /// Says that all is well; where there is none, all that doesn't fail is well.
        success: Option<Condition>,
        /// Says that it isn't; where there is none, all that isn't well fails.
        failure: Option<Condition>,
    },
    /// Each number, compared.
    Each(Comparison),
}

/// Reads an answer's body.
///
/// # Errors
/// In words, where it isn't one or tells of an error.
pub fn read(body: &Value) -> Result<Answer, String> {
    if body.get("status").and_then(Value::as_str) != Some("success") {
        let said = body.get("error").and_then(Value::as_str);
        return Err(said.map_or_else(
            || "the answer isn't one of Prometheus' HTTP API (no status: success)".to_owned(),
            |said| format!("Prometheus refused the query: {said}"),
        ));
    }
    let kind = body.pointer("/data/resultType").and_then(Value::as_str).unwrap_or_default();
    let result = body.pointer("/data/result");
    let number = |sample: Option<&Value>| {
        let text = sample.and_then(|sample| sample.get(1)).and_then(Value::as_str);
        text.and_then(|text| text.parse::<f64>().ok()).ok_or_else(|| "a sample holds no number".to_owned())
    };
    match kind {
        "scalar" => Ok(Answer::Scalar(number(result)?)),
        "vector" => {
            let series = result.and_then(Value::as_array).ok_or("a vector without a list of series")?;
            let numbers = series.iter().map(|series| number(series.get("value")));
            Ok(Answer::Vector(numbers.collect::<Result<_, _>>()?))
        }
        other => Err(format!("the query gives a {other:?}; ask for a scalar or an instant vector")),
    }
}

impl Answer {
    fn numbers(&self) -> &[f64] {
        match self {
            Self::Scalar(number) => std::slice::from_ref(number),
            Self::Vector(numbers) => numbers,
        }
    }

    /// What it says by these conditions. No data and NaN say nothing.
    pub fn judge(&self, judgement: &Judgement) -> Reading {
        let numbers = self.numbers();
        let value = self.to_string();
        let reading = |outcome, message: String| Reading {
            outcome,
            value: value.clone(),
            message,
            ..Reading::default()
        };
        if numbers.is_empty() {
            return reading(Outcome::Inconclusive, "the query found no data".to_owned());
        }
        if numbers.iter().any(|number| number.is_nan()) {
            return reading(Outcome::Inconclusive, "the query's answer isn't a number (NaN)".to_owned());
        }
        let judged = match judgement {
            Judgement::Each(comparison) => Ok(if numbers.iter().all(|number| comparison.test(*number)) {
                Outcome::Successful
            } else {
                Outcome::Failed
            }),
            Judgement::Expressions { success, failure } => {
                let result = self.json();
                let test = |condition: &Option<Condition>| {
                    condition.as_ref().map(|condition| condition.test(&result)).transpose()
                };
                test(success).and_then(|success| Ok(outcome(success, test(failure)?)))
            }
        };
        match judged {
            Ok(outcome) => {
                let message = match outcome {
                    Outcome::Inconclusive => format!("{value} neither succeeds nor fails"),
                    _ => String::new(),
                };
                Reading { output: Some(json!({ "result": self.json() })), ..reading(outcome, message) }
            }
            Err(problem) => reading(Outcome::Error, format!("the condition can't be evaluated: {problem}")),
        }
    }

    /// As expressions see it. JSON has no infinity; the largest number stands for it.
    fn json(&self) -> Value {
        let finite = |number: &f64| json!(number.clamp(f64::MIN, f64::MAX));
        match self {
            Self::Scalar(number) => finite(number),
            Self::Vector(numbers) => numbers.iter().map(finite).collect(),
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scalar(number) => write!(f, "{number}"),
            Self::Vector(numbers) => {
                let numbers: Vec<String> = numbers.iter().take(32).map(f64::to_string).collect();
                write!(f, "[{}]", numbers.join(", "))
            }
        }
    }
}

/// What two conditions mean together: failure comes first; where both are written, neither being true says nothing.
fn outcome(success: Option<bool>, failure: Option<bool>) -> Outcome {
    match (success, failure) {
        (_, Some(true)) | (Some(false), None) => Outcome::Failed,
        (Some(true), _) | (None, Some(false) | None) => Outcome::Successful,
        (Some(false), Some(false)) => Outcome::Inconclusive,
    }
}
