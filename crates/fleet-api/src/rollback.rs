//! Going back to an earlier revision: what a person asks for, as the annotation [`crate::names::ROLLBACK`], and what a Run
//! that does it says about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::requests::LONGEST_REASON;

/// How long the annotation may be, in bytes.
const LONGEST_TEXT: usize = 4 * 1024;

/// A request to go back. It is about one Run and says nothing to a later one, so the run that it starts answers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackRequest {
    /// The newest Run when it was asked.
    pub run: String,
    /// The ApplicationRevision to go back to; where there is none, the newest that was completed before what that Run
    /// delivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who asks, as they say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The generation of the Application that the asker saw: an edit that came later counts before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The request for a restart that the asker saw: a later one counts before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// The publishVersion that the asker saw: a later one counts before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_version: Option<String>,
    /// Clusters that the revision names and that left the fleet are passed over; else nothing starts while there are any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_missing: bool,
}

impl RollbackRequest {
    /// Reads the annotation.
    ///
    /// # Errors
    /// In words: what is wrong with it, and what to do.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = |problem: String| {
            format!(
                "metadata.annotations[{}]: {problem}; write it with fleetctl workflow rollback, or take it away",
                crate::names::ROLLBACK
            )
        };
        if text.len() > LONGEST_TEXT {
            return Err(wrong(format!("it is longer than {LONGEST_TEXT} bytes")));
        }
        let request: Self = serde_json::from_str(text)
            .map_err(|error| wrong(format!("it isn't a request to go back: {error}")))?;
        if request.run.is_empty() || request.to.as_ref().is_some_and(String::is_empty) {
            return Err(wrong("it names no run, or an empty revision".to_owned()));
        }
        if request.reason.chars().count() > LONGEST_REASON {
            return Err(wrong(format!("its reason is longer than {LONGEST_REASON} characters")));
        }
        Ok(request)
    }

    /// The annotation's value.
    ///
    /// # Errors
    /// In words: why it can't stand there.
    pub fn write(&self) -> Result<String, String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        Self::read(&text).map(|_| text)
    }
}

/// What a Run says that goes back to an earlier revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The revision that the Application said when it went back: while it says that, nothing starts by itself.
    pub from: String,
    /// The revision that ran until then.
    pub replaced: String,
    /// The number of the run that delivered this run's revision before; none where that run isn't kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<i64>,
    /// Nobody asked: a step failed that says `onFailure: Rollback`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// Who asked, as they say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Rollback {
    /// Who or what started it, in a few words.
    pub fn by(&self) -> &str {
        match (self.automatic, self.requested_by.as_str()) {
            (true, _) => "onFailure: Rollback",
            (false, "") => "a person",
            (false, by) => by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Broken: a request that nobody can read is taken for none, or one written by hand for another than it is.
    #[test]
    fn what_cant_stand_there_is_said() {
        let long = RollbackRequest {
            run: "web-1".to_owned(),
            reason: "x".repeat(LONGEST_REASON + 1),
            ..RollbackRequest::default()
        };
        for (text, word) in [
            ("{".to_owned(), "isn't a request"),
            ("{}".to_owned(), "missing field"),
            (r#"{"run":""}"#.to_owned(), "names no run"),
            (r#"{"run":"web-1","to":""}"#.to_owned(), "empty revision"),
            (r#"{"run":"web-1","too":"web-2"}"#.to_owned(), "unknown field"),
            (serde_json::to_string(&long).unwrap(), "longer than 256"),
            (" ".repeat(LONGEST_TEXT + 1), "longer than"),
        ] {
            let said = RollbackRequest::read(&text).unwrap_err();
            assert!(said.contains(word) && said.contains("fleetctl workflow rollback"), "{said}");
        }
        let plain = RollbackRequest { run: "web-1".to_owned(), ..RollbackRequest::default() };
        assert_eq!(plain.write().unwrap(), r#"{"run":"web-1"}"#);
        assert_eq!(RollbackRequest::read(&plain.write().unwrap()).unwrap(), plain);
    }
}
