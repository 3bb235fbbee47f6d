//! Which cluster answers as a member: read when a connection is made, and again whenever it may have been replaced.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::member::answer_of;
use crate::registry::MemberEvent;
use crate::{Hold, Member, MemberError, Reachability};

/// The namespace that every cluster has, whose UID tells clusters apart.
pub(crate) const SYSTEM: &str = "kube-system";

#[derive(Debug, Default)]
struct State {
    uid: Option<String>,
    /// How often it was doubted that the same cluster still answers.
    doubts: u64,
    /// The doubts that the UID was read after.
    settled: Option<u64>,
    /// When the member was last heard.
    heard: Option<Instant>,
}

/// What is known of who answers.
#[derive(Debug)]
pub(crate) struct Recognition {
    state: Mutex<State>,
    /// One reads, the others wait for what it finds.
    reading: Semaphore,
}

impl Default for Recognition {
    fn default() -> Self {
        Self { state: Mutex::default(), reading: Semaphore::new(1) }
    }
}

impl Recognition {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The UID, as long as nothing has happened since it was read that may have replaced the cluster.
    fn certain(&self) -> Option<String> {
        let state = self.lock();
        (state.settled == Some(state.doubts)).then(|| state.uid.clone()).flatten()
    }

    pub(crate) fn uid(&self) -> Option<String> {
        self.lock().uid.clone()
    }

    fn doubts(&self) -> u64 {
        self.lock().doubts
    }

    fn doubt(&self) {
        let mut state = self.lock();
        state.doubts = state.doubts.wrapping_add(1);
    }

    /// True where it is another one than before, or the first.
    fn found(&self, uid: &str, after: u64) -> bool {
        let mut state = self.lock();
        let news = state.uid.as_deref() != Some(uid);
        state.uid = Some(uid.to_owned());
        state.settled = Some(after);
        news
    }

    pub(crate) fn hear(&self) {
        self.lock().heard = Some(Instant::now());
    }

    pub(crate) fn heard(&self) -> Option<Instant> {
        self.lock().heard
    }
}

impl Member {
    /// The UID of the `kube-system` namespace of what answered last; `None` before the first answer.
    pub fn found_uid(&self) -> Option<String> {
        self.recognition.uid()
    }

    /// When it was last heard: an answer, or a watch's event.
    pub fn heard(&self) -> Option<Instant> {
        self.recognition.heard()
    }

    /// Why what answers isn't the cluster that joined under this name, where that is known.
    pub(crate) fn standing(&self) -> Option<Hold> {
        self.shared.roll.judge(self.name(), &self.recognition.uid()?)
    }

    /// From now on another cluster may answer (a connection broke, or was made anew): nothing is sent before its
    /// UID was read again.
    pub fn doubt(&self) {
        self.recognition.doubt();
    }

    /// Makes sure that the cluster that joined is the one that answers: one request when that is in doubt, else none.
    ///
    /// # Errors
    /// [`MemberError::Held`] where it is another one; [`MemberError::Unreachable`] where it can't be told.
    pub async fn recognise(self: &Arc<Self>) -> Result<(), MemberError> {
        let uid = match self.recognition.certain() {
            Some(uid) => uid,
            None => self.read_uid().await?,
        };
        match self.shared.roll.judge(self.name(), &uid) {
            None => Ok(()),
            Some(hold) => Err(MemberError::Held { cluster: self.name().to_owned(), hold }),
        }
    }

    async fn read_uid(self: &Arc<Self>) -> Result<String, MemberError> {
        let unreachable =
            |message: String| MemberError::Unreachable { cluster: self.name().to_owned(), message };
        let _reading = self
            .recognition
            .reading
            .acquire()
            .await
            .map_err(|_| unreachable("it was taken out of the fleet".to_owned()))?;
        if let Some(uid) = self.recognition.certain() {
            return Ok(uid);
        }
        if let Reachability::Unreachable { message, .. } = self.reachability() {
            return Err(unreachable(message));
        }
        match self.identify().await {
            Ok(uid) => {
                self.answered();
                Ok(uid)
            }
            Err(message) => {
                self.unreachable(&message);
                Err(unreachable(message))
            }
        }
    }

    /// One read of the UID, whatever is known; in words why not.
    pub(crate) async fn identify(&self) -> Result<String, String> {
        let after = self.recognition.doubts();
        let api: Api<Namespace> = Api::all(self.client());
        let deadline = self.shared.options.request_timeout;
        let began = Instant::now();
        let outcome = tokio::time::timeout(deadline, api.get_metadata(SYSTEM)).await;
        self.shared.options.telemetry.asked(self.name(), "identify", answer_of(&outcome), began.elapsed());
        let unknown = |why: &str| format!("which cluster answers can't be told: {why}");
        let found = match outcome {
            Ok(Ok(found)) => found,
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Err(unknown(&format!(
                    "{}; let the account that fleetctl uses there get the namespace {SYSTEM}",
                    status.message
                )));
            }
            // Whatever asks first learns what to do about credentials that hold no longer.
            Ok(Err(kube::Error::Api(status))) if status.code != 401 => return Err(unknown(&status.message)),
            Ok(Err(error)) => return Err(in_words(self.name(), &error)),
            Err(_) => return Err(format!("no answer within {} s", deadline.as_secs_f32())),
        };
        let Some(uid) = found.metadata.uid else {
            return Err(unknown(&format!("its namespace {SYSTEM} has no UID; this isn't a Kubernetes API")));
        };
        self.recognition.hear();
        if self.recognition.found(&uid, after) {
            self.shared.send(MemberEvent::Recognised { cluster: self.name().to_owned() });
        }
        Ok(uid)
    }

    /// Finds out who is there, and asks again whenever nothing was heard for a while.
    pub(crate) async fn keep_in_touch(self: Arc<Self>) {
        let silence = self.shared.options.silence;
        loop {
            let quiet = self.recognition.heard().map(|at| at.elapsed());
            match quiet {
                Some(quiet) if quiet < silence => tokio::time::sleep(silence.saturating_sub(quiet)).await,
                _ if self.reachability() != Reachability::Reachable => {
                    // It is being probed.
                    let mut turned = std::pin::pin!(self.turned.notified());
                    turned.as_mut().enable();
                    if self.reachability() != Reachability::Reachable {
                        turned.await;
                    }
                }
                quiet => {
                    if quiet.is_some() {
                        self.doubt();
                    }
                    // Together with all the others at a start: some at a time.
                    let Ok(_place) = self.shared.greetings.acquire().await else { return };
                    // What is found is told by an event.
                    let _ = self.recognise().await;
                }
            }
        }
    }

    /// Resolves once it answers and is the right cluster.
    pub(crate) async fn at_hand(self: &Arc<Self>) {
        loop {
            let turned = self.turned.notified();
            let mut turned = std::pin::pin!(turned);
            turned.as_mut().enable();
            if self.reachability() == Reachability::Reachable && self.recognise().await.is_ok() {
                return;
            }
            turned.await;
        }
    }

    /// Its standing may have changed: who waits for it looks again.
    pub(crate) fn turn(&self) {
        self.turned.notify_waiters();
    }
}

fn in_words(cluster: &str, error: &kube::Error) -> String {
    match MemberError::from_kube(cluster, error) {
        MemberError::Unreachable { message, .. } => message,
        other => other.to_string(),
    }
}
