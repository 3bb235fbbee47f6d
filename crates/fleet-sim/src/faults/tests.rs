use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::time::Instant;
use tower::{ServiceExt as _, service_fn};

use super::{Fault, Faults, Weather};

type Answer = Result<Response<Full<Bytes>>, Infallible>;

fn ask(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(path).body(()).unwrap()
}

async fn answers(_: Request<()>) -> Answer {
    Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
}

/// A member that is full or rejects must still be read, and one that refuses must not.
#[tokio::test(start_paused = true)]
async fn each_fault_refuses_what_it_should() {
    let cases = [
        (Fault::None, "PATCH", StatusCode::OK),
        (Fault::Refuse, "GET", StatusCode::SERVICE_UNAVAILABLE),
        (Fault::Full, "GET", StatusCode::OK),
        (Fault::Full, "DELETE", StatusCode::INSUFFICIENT_STORAGE),
        (Fault::Reject, "PATCH", StatusCode::FORBIDDEN),
        (Fault::Reject, "DELETE", StatusCode::OK),
    ];
    for (fault, method, code) in cases {
        let faults = Faults::new();
        faults.set(fault);
        let answer = faults.before(service_fn(answers)).oneshot(ask(method, "/api")).await.unwrap();
        assert_eq!(answer.status(), code, "{fault:?} {method}");
    }
}

/// A member that is down mustn't fail at once: that would be a refusal, which is something else to the engine.
#[tokio::test(start_paused = true)]
async fn requests_to_one_that_is_down_hang_and_break_when_it_is_back() {
    let faults = Faults::new();
    faults.set(Fault::Down);
    let asked = faults.before(service_fn(answers)).oneshot(ask("GET", "/api"));
    let mut asked = std::pin::pin!(asked);
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, &mut asked).await.is_err(), "it answers");
    faults.set(Fault::None);
    assert!(asked.await.is_err(), "the connection survived");
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_answers_late() {
    let faults = Faults::new();
    faults.set(Fault::Slow(Duration::from_secs(3)));
    let began = Instant::now();
    faults.before(service_fn(answers)).oneshot(ask("GET", "/api")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

async fn watch(
    _: Request<()>,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin>, Infallible> {
    let events = futures::stream::iter(0..100_u8)
        .map(|number| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(vec![number]))));
    Ok(Response::new(StreamBody::new(Box::pin(events.chain(futures::stream::pending())))))
}

use futures::StreamExt as _;

/// A watch that the server ended while events were still on their way is told to its end, and not asked again.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_outlives_the_end_of_a_watch() {
    async fn short(
        _: Request<()>,
    ) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin>, Infallible> {
        let events = futures::stream::unfold(0_u8, |number| async move {
            (number < 3)
                .then(|| (Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(vec![number]))), number + 1))
        });
        Ok(Response::new(StreamBody::new(Box::pin(events))))
    }
    let faults = Faults::new();
    faults.set(Fault::Slow(Duration::from_secs(1)));
    let answer =
        faults.before(service_fn(short)).oneshot(ask("GET", "/api/v1/pods?watch=true")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().as_ref(), [0, 1, 2]);
}

/// What a watch brings under some weather, until it breaks.
async fn brought(weather: Weather) -> Vec<u8> {
    let faults = Faults::new();
    faults.set_weather(weather);
    let answer =
        faults.before(service_fn(watch)).oneshot(ask("GET", "/api/v1/pods?watch=true")).await.unwrap();
    let mut body = answer.into_body();
    let mut all = Vec::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(Duration::from_secs(60), body.frame()).await {
        all.extend(frame.into_data().unwrap());
    }
    all
}

/// Events are late, come twice and are lost with their connection, but one connection keeps their order, and the same
/// seed has the same faults.
#[tokio::test(start_paused = true)]
async fn the_weather_of_a_watch_is_that_of_its_seed() {
    let weather =
        Weather { seed: 7, late: 300, longest: Duration::from_secs(5), twice: 300, ..Weather::default() };
    let all = brought(weather).await;
    assert!(all.is_sorted(), "{all:?}");
    assert!(all.len() > 110, "some come twice: {}", all.len());
    assert_eq!(all, brought(weather).await);
    assert_ne!(all, brought(Weather { seed: 8, ..weather }).await);
    let broken = brought(Weather { broken: 100, ..weather }).await;
    assert!(broken.len() < 100, "{}", broken.len());
}
