//! What can be wrong with a workflow.

use super::STEP_TYPES;

/// Why a workflow can't be walked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowError {
    /// A step type that doesn't exist.
    #[error("step {step:?}: there is no step type {type_:?}{}; types are {}", did_you_mean(.type_, &STEP_TYPES), STEP_TYPES.join(", "))]
    UnknownType {
        /// The step.
        step: String,
        /// Its type.
        type_: String,
    },
    /// Properties that the type doesn't take.
    #[error("step {step:?}: properties: {message}")]
    Properties {
        /// The step.
        step: String,
        /// What is wrong.
        message: String,
    },
    /// Two steps of one name.
    #[error("step {0:?} stands twice; give each step a name of its own")]
    DuplicateName(String),
    /// A `dependsOn` that names no step.
    #[error("step {step:?}: dependsOn names {name:?}, which is no step of this workflow")]
    UnknownDependency {
        /// The step.
        step: String,
        /// The name.
        name: String,
    },
    /// Steps that wait for each other.
    #[error("steps wait for each other: {}; take one of the dependsOn away", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A time that can't be read.
    #[error("step {step:?}: timeout: {message}")]
    Timeout {
        /// The step.
        step: String,
        /// What is wrong.
        message: String,
    },
    /// A mode that doesn't exist.
    #[error("workflow mode {0:?} doesn't exist; write StepByStep or DAG")]
    UnknownMode(String),
    /// A field that says what can't be carried out.
    #[error("step {step:?}: {field}: {message}")]
    Field {
        /// The step.
        step: String,
        /// The field.
        field: &'static str,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// Two outputs of one name.
    #[error("steps {first:?} and {second:?} both make an output {name:?}; give each a name of its own")]
    DuplicateOutput {
        /// The output.
        name: String,
        /// A step that makes it.
        first: String,
        /// Another.
        second: String,
    },
    /// More than can be kept on record.
    #[error(
        "the workflow has {count} {what}, and at most {most} can be kept on record; split the application"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        most: usize,
    },
}

impl WorkflowError {
    /// A code that a script can match.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => "UnknownStepType",
            Self::Properties { .. } => "InvalidStepProperties",
            Self::DuplicateName(_) => "DuplicateStepName",
            Self::UnknownDependency { .. } => "UnknownStepDependency",
            Self::Cycle(_) => "StepCycle",
            Self::Timeout { .. } => "InvalidTimeout",
            Self::UnknownMode(_) => "UnknownWorkflowMode",
            Self::Field { field, .. } => match *field {
                "if" => "InvalidCondition",
                "retry" => "InvalidRetry",
                "inputs" => "InvalidInput",
                "outputs" => "InvalidOutput",
                "windows" => "InvalidWindow",
                "subSteps" | "mode" => "InvalidStepGroup",
                _ => "UnsupportedStepField",
            },
            Self::DuplicateOutput { .. } => "DuplicateOutput",
            Self::TooMany { .. } => "WorkflowTooLong",
        }
    }
}

pub(super) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|k| (strsim::osa_distance(name, k), k)).min();
    match nearest {
        Some((distance, known)) if distance <= 3 => format!(" (did you mean {known:?}?)"),
        _ => String::new(),
    }
}
