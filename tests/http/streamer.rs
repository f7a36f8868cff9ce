//! A streamer over HTTP: bad networks and replaced files.

use std::sync::Arc;
use std::time::Duration;

use hgv::Limits;
use hgv::stream::{StreamOptions, StreamProgress, Streamable, Streamer, VolumeContent};

use crate::bricks::{camera, check, look};
use crate::faults::case;
use crate::server::{Answer, Server, Step, hasty};
use crate::versions::{Tells, other, swapping};

/// Opens the file of a server and wants all of it.
fn shown(server: &Server) -> (Streamer, StreamProgress) {
    let url = server.url();
    let open = move || {
        let content = VolumeContent::open_http(&hasty(), &url, Limits::default())?;
        Ok(Arc::new(content) as Arc<dyn Streamable>)
    };
    let mut options = StreamOptions::default();
    options.decoders = 1;
    let streamer = Streamer::new(open, options).unwrap();
    look(&streamer, camera([80.0, 50.0, -30.0], 2000));
    let progress = streamer.wait_until(Duration::from_secs(60), |p| p.settled);
    (streamer, progress)
}

#[test]
fn one_request_opens_and_the_rest_comes_in_few() {
    let server = Server::good(case().file.clone());
    let (streamer, progress) = shown(&server);
    assert!(progress.settled && progress.error.is_none(), "{progress:?}");
    assert!(check(&streamer.bricks().held, &case().file) > 20);
    let seen = server.seen();
    assert!(seen.most_at_once <= 10);
    assert!(
        (3..60).contains(&seen.requests.len()),
        "{}",
        seen.requests.len()
    );
}

#[test]
fn answers_that_break_off_or_fail_change_nothing() {
    let file = case().file.clone();
    let server = Server::start(move |asked| match asked.number % 4 {
        1 => Answer::status(503).send(),
        2 => {
            let mut bytes = match Answer::part(&file, Some("\"v1\""), asked).send().remove(0) {
                Step::Send(bytes) => bytes,
                _ => Vec::new(),
            };
            bytes.truncate(bytes.len() * 3 / 4);
            vec![Step::Send(bytes), Step::Close]
        }
        _ => Answer::part(&file, Some("\"v1\""), asked).send(),
    });
    let (streamer, progress) = shown(&server);
    assert!(progress.settled && progress.error.is_none(), "{progress:?}");
    assert!(check(&streamer.bricks().held, &case().file) > 20);
}

/// Wherever the swap falls, all that is shown in the end is of one file, and there is an end.
#[test]
fn a_file_replaced_in_mid_stream_is_opened_anew_once() {
    for tells in [Tells::Etag, Tells::Length, Tells::Nothing] {
        for swap in [1, 2] {
            let server = swapping(tells, swap, usize::MAX);
            let (streamer, progress) = shown(&server);
            assert!(progress.settled, "{tells:?}, {swap}: {progress:?}");
            if tells == Tells::Nothing {
                // The new file is cut off at the length of the old one and cannot be opened.
                assert!(progress.error.is_some(), "{swap}: {progress:?}");
                check(&streamer.bricks().held, &case().file);
                continue;
            }
            assert_eq!(progress.reopened, 1, "{tells:?}, {swap}: {progress:?}");
            assert!(check(&streamer.bricks().held, &other().0) > 20);
        }
    }
}

#[test]
fn a_file_that_keeps_changing_comes_to_an_end() {
    let file = case().file.clone();
    let server = Server::start(move |asked| {
        let etag = format!("\"{}\"", asked.number / 2);
        Answer::part(&file, Some(&etag), asked).send()
    });
    let (_, progress) = shown(&server);
    let error = progress.error.unwrap_or_default();
    assert!(progress.settled && error.contains("changed"), "{error}");
    assert_eq!(progress.reopened, 1);
}
