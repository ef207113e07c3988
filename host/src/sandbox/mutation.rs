//! Random messages, and mutations of sample messages. Of an attempt, the answers are mutated. The same seed and position always give the same
//! message.
//!
//! Mutation knows no plugin: the samples decide how far the messages get.

use fastrand::Rng;
use tocsin_plugin_api::{
    notification::{Kind, Subject},
    step::HttpAnswer,
};

use super::{
    attempt::ScriptedAttempt,
    message::{Body, Bytes, Message},
};

/// The longest body. Many short messages find more than a few large ones, which other checks send.
pub(crate) const LONGEST_BODY_BYTES: usize = 16 * 1024;

/// Pieces of text that often break parsers and patterns.
const PIECES: &[&str] = &[
    "",
    "&",
    "=",
    "%",
    "%2",
    "%zz",
    "%00",
    "%ff",
    "+",
    "\0",
    "\n",
    "\r\n",
    "\t",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "null",
    "true",
    "-",
    "-1",
    "0",
    "1e999",
    "1e-999",
    "9007199254740993",
    "18446744073709551616",
    "NaN",
    "Infinity",
    ",",
    ":",
    "<",
    ">",
    "<@U1|x>",
    "<!channel>",
    "<http://",
    "&amp;",
    "&lt",
    "${x}",
    "{{x}}",
    "{0}",
    "%s",
    "*",
    "**",
    "_",
    "`",
    "~",
    "#",
    "@",
    "../",
    "\u{feff}",
    "\u{202e}",
    "\u{0301}",
    "é",
    "İ",
    "ß",
    "ﬃ",
    "日本",
    "👩‍👩‍👧",
    "\u{10ffff}",
    "text",
    "title",
    "message",
    "token",
    "user",
    "status",
    "urgency",
    "critical",
    "high",
    "panic",
    "hang",
    "spin",
    "--",
    ";",
    "'",
    "http://[::1",
    "https://example.com/a?b=c#d",
    "1970-01-01T00:00:00Z",
    "2026-02-30T25:61:61Z",
    "1355517523.000005",
    "99999999999999999999.9",
];

const TYPES: &[&str] = &[
    "",
    "application/json",
    "application/json; charset=utf-8",
    "application/x-www-form-urlencoded",
    "text/plain",
    "text/plain; charset=latin1",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "APPLICATION/JSON",
    "application/",
    ";",
    "text/html",
    "\u{ff}",
];

/// Returns the [`Message`] at a position of the fuzz run with this seed.
pub(crate) fn message(samples: &[Message], seed: u64, index: usize) -> Message {
    let mut rng = Rng::with_seed(seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let Some(known) = rng.choice(samples) else { return random(&mut rng, 0) };
    match rng.u8(..10) {
        0..7 => mutated(&mut rng, known.clone(), samples),
        _ => match &known.attempt {
            Some(attempt) => random_attempt(&mut rng, known.options, attempt),
            None => random(&mut rng, known.options),
        },
    }
}

fn mutated(rng: &mut Rng, mut message: Message, samples: &[Message]) -> Message {
    if let Some(attempt) = &mut message.attempt {
        change_attempt(rng, attempt, samples);
        return message;
    }
    let mut body = message.body.bytes();
    body.truncate(LONGEST_BODY_BYTES);
    for _ in 0..rng.usize(1..5) {
        change(rng, &mut body, samples);
    }
    body.truncate(LONGEST_BODY_BYTES);
    message.body = Body::Whole(Bytes(body));
    if rng.u8(..4) == 0 {
        change_headers(rng, &mut message.headers);
    }
    if rng.u8(..16) == 0 {
        message.query = piece(rng).into();
    }
    message
}

fn change(rng: &mut Rng, body: &mut Vec<u8>, samples: &[Message]) {
    let (from, to) = range(rng, body.len());
    match rng.u8(..9) {
        0 => body[from..to].iter_mut().for_each(|byte| *byte ^= 1 << rng.u8(..8)),
        1 => drop(body.drain(from..to)),
        2 => body.truncate(from),
        3 => {
            let again = body[from..to].to_vec();
            body.splice(from..from, again);
        }
        4 => drop(body.splice(from..to, piece(rng).bytes())),
        5 => drop(body.splice(from..from, piece(rng).bytes())),
        6 => {
            let many = piece(rng).repeat(rng.usize(..200));
            body.splice(from..from, many.bytes());
        }
        7 => {
            let noise: Vec<u8> = (0..rng.usize(..32)).map(|_| rng.u8(..)).collect();
            body.splice(from..to, noise);
        }
        _ => {
            let other = rng.choice(samples).map(|message| message.body.bytes()).unwrap_or_default();
            let (start, end) = range(rng, other.len());
            body.splice(from..to, other[start..end].iter().copied());
        }
    }
}

/// Returns a random range of a sequence with this length, more often a short one.
fn range(rng: &mut Rng, length: usize) -> (usize, usize) {
    let from = rng.usize(..=length);
    let longest = if rng.bool() { 8 } else { length };
    (from, (from + rng.usize(..=longest)).min(length))
}

fn change_headers(rng: &mut Rng, headers: &mut Vec<(String, Bytes)>) {
    match rng.u8(..5) {
        0 => headers.clear(),
        1 => {
            headers.retain(|(name, _)| name != "content-type");
            headers.push(("content-type".into(), content_type(rng).into()));
        }
        2 => {
            if let Some((_, Bytes(value))) = rng.choice(headers.iter_mut()) {
                *value = piece(rng).repeat(rng.usize(..300)).into_bytes();
            }
        }
        3 => {
            let again = rng.choice(headers.iter()).cloned();
            headers.extend(again);
        }
        _ => {
            let noise = (0..rng.usize(..64)).map(|_| rng.u8(..)).collect();
            headers.push((format!("x-{}", piece(rng).len()), Bytes(noise)));
        }
    }
}

/// Changes one answer of the server, and sometimes what the notifier is told.
fn change_attempt(rng: &mut Rng, attempt: &mut ScriptedAttempt, samples: &[Message]) {
    let notification = &mut attempt.notification;
    match rng.u8(..8) {
        0 => notification.state = serde_json::from_str(&json(rng, 3)).ok(),
        1 => notification.in_doubt = !notification.in_doubt,
        2 => notification.kind = *rng.choice(&Kind::ALL).unwrap_or(&notification.kind),
        3 => {
            if let Subject::Alert(alert) = &mut notification.subject {
                alert.title = piece(rng).repeat(rng.usize(..100));
                alert.description = Some(piece(rng).repeat(rng.usize(..100)));
            }
        }
        _ => {}
    }
    let Some(answer) = rng.choice(attempt.answers.iter_mut()) else { return };
    if rng.bool() {
        answer.status = rng.u16(200..600);
    }
    let mut body = std::mem::take(&mut answer.body).into_bytes();
    body.truncate(LONGEST_BODY_BYTES);
    for _ in 0..rng.usize(1..5) {
        change(rng, &mut body, samples);
    }
    body.truncate(LONGEST_BODY_BYTES);
    answer.body = String::from_utf8_lossy(&body).into_owned();
    if rng.u8(..4) == 0 {
        answer.headers.push(("retry-after".into(), piece(rng).into()));
    }
}

/// Returns an attempt with the same notification and random answers.
fn random_attempt(rng: &mut Rng, options: usize, known: &ScriptedAttempt) -> Message {
    let answer = |rng: &mut Rng| {
        let body = match rng.u8(..3) {
            0 => (0..rng.usize(..40)).map(|_| piece(rng)).collect(),
            _ => json(rng, 4),
        };
        HttpAnswer::new("", rng.u16(200..600))
            .with_body(body)
            .with_header("content-type", content_type(rng))
    };
    let answers = (0..rng.usize(1..6)).map(|_| answer(rng)).collect();
    let attempt = ScriptedAttempt { notification: known.notification.clone(), answers };
    Message::of_attempt("random", options, attempt)
}

fn random(rng: &mut Rng, options: usize) -> Message {
    let (content_type, body) = match rng.u8(..4) {
        0 => ("application/x-www-form-urlencoded", form(rng).into_bytes()),
        1 => ("application/json", json(rng, 4).into_bytes()),
        2 => ("text/plain", (0..rng.usize(..40)).map(|_| piece(rng)).collect::<String>().into()),
        _ => (content_type(rng), (0..rng.usize(..512)).map(|_| rng.u8(..)).collect()),
    };
    Message { options, ..Message::new("random", content_type, body) }
}

fn form(rng: &mut Rng) -> String {
    let field = |rng: &mut Rng| format!("{}={}", piece(rng), piece(rng).repeat(rng.usize(..3)));
    let fields: Vec<_> = (0..rng.usize(..20)).map(|_| field(rng)).collect();
    fields.join("&")
}

fn json(rng: &mut Rng, depth: usize) -> String {
    let kinds = if depth == 0 { 3 } else { 6 };
    match rng.u8(..kinds) {
        0 => {
            (*rng.choice(["null", "true", "0", "-1", "1e999", "1.5"].iter()).unwrap_or(&"0")).into()
        }
        1 | 2 => serde_json::Value::from(piece(rng)).to_string(),
        3 => {
            let items: Vec<_> = (0..rng.usize(..5)).map(|_| json(rng, depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let field = |rng: &mut Rng| {
                format!("{}:{}", serde_json::Value::from(piece(rng)), json(rng, depth - 1))
            };
            let fields: Vec<_> = (0..rng.usize(..6)).map(|_| field(rng)).collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

fn piece(rng: &mut Rng) -> &'static str {
    rng.choice(PIECES.iter()).copied().unwrap_or_default()
}

fn content_type(rng: &mut Rng) -> &'static str {
    rng.choice(TYPES.iter()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::{
        Urgency,
        notification::{Alert, Notification, Time},
    };

    use super::*;

    #[test]
    fn a_fuzz_run_can_be_repeated_from_any_position() {
        let samples = [
            Message::new("form", "application/x-www-form-urlencoded", "text=disk+full&user=steve"),
            Message::new("json", "application/json", r#"{"text":"disk full"}"#),
        ];
        for index in 0..2000 {
            let made = message(&samples, 7, index);
            assert_eq!(made, message(&samples, 7, index));
            assert!(made.body.bytes().len() <= LONGEST_BODY_BYTES);
        }
        let differing =
            (0..100).filter(|at| message(&samples, 7, *at) != message(&samples, 8, *at));
        assert!(differing.count() > 90);
    }

    #[test]
    fn attempts_keep_their_instance_and_get_other_answers() {
        let at = Time::from_unix_seconds(0);
        let alert = Alert::new(1, "disk full", Urgency::High, at);
        let notification = Notification::new("d1", Kind::Opened, alert, at);
        let answers = vec![HttpAnswer::new("", 200).with_body(r#"{"ok":true}"#)];
        let attempt = ScriptedAttempt { notification, answers };
        let samples = [Message::of_attempt("opened", 3, attempt)];
        let mut statuses = std::collections::BTreeSet::new();
        for index in 0..2000 {
            let made = message(&samples, 7, index);
            assert_eq!(made, message(&samples, 7, index));
            assert_eq!(made.options, 3);
            let attempt = made.attempt.expect("an attempt");
            assert!((1..6).contains(&attempt.answers.len()));
            statuses.extend(attempt.answers.iter().map(|answer| answer.status));
        }
        assert!(statuses.len() > 100 && statuses.iter().all(|status| (200..600).contains(status)));
    }

    #[test]
    fn messages_without_samples_are_random() {
        assert_eq!(message(&[], 1, 1).name, "random");
    }
}
