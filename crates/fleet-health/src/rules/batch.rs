//! Work that ends.

use crate::Health;
use crate::conditions::condition;
use crate::view::View;

pub(super) fn job(view: &View<'_>) -> Health {
    let holds = |kind| condition(view, kind).filter(|condition| condition.is_true());
    if let Some(failed) = holds("Failed").or_else(|| holds("FailureTarget")) {
        return Health::degraded(failed.reason_or("Failed"), failed.message_or("the job has failed"));
    }
    let succeeded = view.count("succeeded");
    if holds("Complete").is_some() {
        let pods = if succeeded == 1 { "pod" } else { "pods" };
        return Health::healthy("Completed", format!("completed by {succeeded} {pods}"));
    }
    if holds("SuccessCriteriaMet").is_some() {
        return Health::progressing("Concluding", "the success criteria are met; the remaining pods end");
    }
    if view.flag(&["spec", "suspend"]) {
        return Health::suspended("Suspended", "the job is suspended");
    }
    let completions =
        view.int(&["spec", "completions"]).or_else(|| view.int(&["spec", "parallelism"])).unwrap_or(1);
    let active = view.count("active");
    let failed = view.count("failed");
    let mut message = format!("{succeeded} of {completions} completions, {active} active");
    if failed > 0 {
        message.push_str(&format!(", {failed} failed"));
    }
    Health::progressing("Running", message)
}

pub(super) fn cron_job(view: &View<'_>) -> Health {
    if view.flag(&["spec", "suspend"]) {
        return Health::suspended("Suspended", "the schedule is suspended");
    }
    Health::healthy("Scheduled", format!("scheduled {:?}", view.text(&["spec", "schedule"])))
}
