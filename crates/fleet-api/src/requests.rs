//! What people ask about single targets of a run: the annotation [`crate::names::TARGET_REQUESTS`], a JSON list. Later
//! entries count before earlier ones about the same target. Who asked is a claim.

use serde::{Deserialize, Serialize};

/// How many requests stand at once.
pub const MOST_REQUESTS: usize = 256;
/// How long a reason may be, in characters.
pub const LONGEST_REASON: usize = 256;
/// How long the annotation may be, in bytes.
const LONGEST_TEXT: usize = 192 * 1024;

/// What becomes of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetAction {
    /// The run goes on without it, until somebody asks to retry it.
    Skip,
    /// It is tried again, from the start.
    Retry,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRequest {
    /// Tells it from any other about the same target.
    pub id: String,
    /// The Run that it is about; to another one it says nothing.
    pub run: String,
    /// What is asked for.
    pub action: TargetAction,
    /// The cluster, by name.
    pub cluster: String,
    /// The step; every step of the run where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Who asks, as they say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Reads the annotation.
///
/// # Errors
/// In words: what is wrong with it, and what to do.
pub fn read_requests(text: &str) -> Result<Vec<TargetRequest>, String> {
    let wrong = |problem: String| {
        format!(
            "metadata.annotations[{}]: {problem}; nothing of it counts; write it with fleetctl workflow skip or retry, or take it away",
            crate::names::TARGET_REQUESTS
        )
    };
    if text.len() > LONGEST_TEXT {
        return Err(wrong(format!("it is longer than {LONGEST_TEXT} bytes")));
    }
    let requests: Vec<TargetRequest> =
        serde_json::from_str(text).map_err(|error| wrong(format!("it isn't a list of requests: {error}")))?;
    if requests.len() > MOST_REQUESTS {
        return Err(wrong(format!("it holds {} requests, {MOST_REQUESTS} are the most", requests.len())));
    }
    for request in &requests {
        if request.id.is_empty() || request.run.is_empty() || request.cluster.is_empty() {
            return Err(wrong("a request has no id, run or cluster".to_owned()));
        }
        if request.reason.chars().count() > LONGEST_REASON {
            let cluster = &request.cluster;
            return Err(wrong(format!(
                "the reason for {cluster} is longer than {LONGEST_REASON} characters"
            )));
        }
        if request.action == TargetAction::Skip && request.reason.trim().is_empty() {
            return Err(wrong(format!("the request to skip {} gives no reason", request.cluster)));
        }
    }
    Ok(requests)
}

/// The annotation with one more request: what is about other runs, or is answered by this one, goes.
///
/// # Errors
/// In words: why it can't stand there.
pub fn with_request(before: Option<&str>, new: TargetRequest) -> Result<String, String> {
    // What can't be read says nothing, and is replaced.
    let mut requests = before.and_then(|text| read_requests(text).ok()).unwrap_or_default();
    requests.retain(|known| {
        let answered = known.cluster == new.cluster && (new.step.is_none() || known.step == new.step);
        known.run == new.run && !answered
    });
    requests.push(new);
    let text = serde_json::to_string(&requests).map_err(|error| error.to_string())?;
    read_requests(&text).map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, cluster: &str, step: Option<&str>) -> TargetRequest {
        TargetRequest {
            id: id.to_owned(),
            run: "web-1".to_owned(),
            action: TargetAction::Skip,
            cluster: cluster.to_owned(),
            step: step.map(str::to_owned),
            by: "ada".to_owned(),
            reason: "maintenance".to_owned(),
        }
    }

    // Broken: an annotation grows with every request until the server refuses the Application.
    #[test]
    fn a_request_replaces_what_it_answers() {
        let one = with_request(None, request("1", "m1", Some("first"))).unwrap();
        let two = with_request(Some(&one), request("2", "m2", None)).unwrap();
        let three = with_request(Some(&two), request("3", "m1", None)).unwrap();
        let ids = |text: &str| read_requests(text).unwrap().into_iter().map(|r| r.id).collect::<Vec<_>>();
        assert_eq!(
            (ids(&two), ids(&three)),
            (vec!["1".to_owned(), "2".into()], vec!["2".into(), "3".into()])
        );
        let next_run = TargetRequest { run: "web-2".into(), ..request("4", "m3", None) };
        assert_eq!(ids(&with_request(Some(&three), next_run).unwrap()), ["4"]);
        assert_eq!(ids(&with_request(Some("nonsense"), request("5", "m1", None)).unwrap()), ["5"]);
    }

    #[test]
    fn what_cant_stand_there_is_said() {
        let many: Vec<TargetRequest> = (0..257).map(|n| request("1", &format!("m{n}"), None)).collect();
        let no_reason = TargetRequest { reason: " ".into(), ..request("1", "m1", None) };
        let long = TargetRequest { reason: "x".repeat(257), ..request("1", "m1", None) };
        for (text, word) in [
            ("{".to_owned(), "isn't a list"),
            ("[{\"id\":\"1\"}]".to_owned(), "missing field"),
            (serde_json::to_string(&many).unwrap(), "256 are the most"),
            (serde_json::to_string(&[no_reason]).unwrap(), "no reason"),
            (serde_json::to_string(&[long]).unwrap(), "longer than 256"),
            (" ".repeat(200 * 1024), "longer than"),
        ] {
            let said = read_requests(&text).unwrap_err();
            assert!(said.contains(word) && said.contains("fleetctl workflow skip"), "{said}");
        }
    }
}
