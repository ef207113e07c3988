//! Wrong on purpose: has habits that a host cannot see and `tocsin plugins certify` has to detect. The
//! options choose a habit; without one, the plugin behaves well.
//!
//! The habits share one plugin, because every plugin takes time to link.

mod options;

use std::{
    collections::HashMap,
    env, fs,
    hash::{BuildHasher, RandomState},
    net::UdpSocket,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use tocsin_plugin_api::prelude::*;

use crate::options::{Habit, Options};

struct BadHabits {
    options: Options,
    calls: AtomicU64,
}

impl Integration for BadHabits {
    type Options = Options;

    fn new(options: Options) -> Result<Self, OptionsError> {
        if options.habit == Some(Habit::FileInNew) {
            let _ = fs::read("/etc/hostname");
        }
        while options.habit == Some(Habit::HangInNew) {
            thread::sleep(Duration::from_secs(1));
        }
        if let (Some(Habit::SecretInRefusal), Some(token)) = (options.habit, &options.token)
            && token.expose().contains(char::is_whitespace)
        {
            let message = format!("`{}` has white space in it", token.expose());
            return Err(OptionsError::at("token", message));
        }
        Ok(Self { options, calls: AtomicU64::new(0) })
    }

    fn receive(&self, request: &Request<'_>) -> Result<Received, Refusal> {
        let text = std::str::from_utf8(request.body())
            .map_err(|_| Refusal::malformed("the body is not UTF-8"))?;
        if let Some(token) = &self.options.token
            && !token.matches(request.header("x-token").unwrap_or_default())
        {
            return Err(Refusal::unauthorized(match self.options.habit {
                Some(Habit::SecretInReason) => format!("expected `{}`", token.expose()),
                _ => "wrong or missing x-token".into(),
            }));
        }
        let event = Event::create(text).dedup_key(format!("key {text}")).event_id(text);
        Ok(self.options.habit.map_or(event.clone(), |habit| self.indulge(habit, event)).into())
    }
}

impl BadHabits {
    fn indulge(&self, habit: Habit, mut event: Event) -> Event {
        let text = event.title.clone();
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        match habit {
            Habit::File => drop(fs::read("/etc/hostname")),
            Habit::Socket => drop(UdpSocket::bind("127.0.0.1:0")),
            Habit::Thread => drop(thread::spawn(|| ()).join()),
            Habit::Environment => drop(env::var("HOME")),
            #[expect(clippy::print_stdout, reason = "a bad habit")]
            Habit::Prints => println!("{text}"),
            Habit::Leak => drop(Box::leak(Box::new([0_u8; 16]))),
            Habit::Quadratic => return event.detail("Repeats", repeats(&text).to_string()),
            Habit::Exit if text.contains("kernel panic") => std::process::exit(3),
            Habit::Overflow => return event.detail("Depth", depth(text.as_bytes()).to_string()),
            Habit::Counter => return event.detail("Calls", calls.to_string()),
            Habit::Clock => return event.detail("Time", seconds().to_string()),
            Habit::Random => return event.detail("Hash", hash(&text).to_string()),
            Habit::CountedKey => return event.event_id(format!("{calls} {text}")),
            Habit::ConstantId => return event.event_id("always the same"),
            Habit::SecretInEvent => {
                let token = self.options.token.as_ref().map(Secret::expose).unwrap_or_default();
                return event.detail("Token", token);
            }
            Habit::WrongTitle => event.title = text.to_uppercase(),
            Habit::Exit
            | Habit::FileInNew
            | Habit::HangInNew
            | Habit::SecretInReason
            | Habit::SecretInRefusal
            | Habit::LyingSchema
            | Habit::LooseTypes
            | Habit::SilentRefusal
            | Habit::UnknownKeys => {}
        }
        event
    }
}

/// Counts the pairs of positions with the same byte. A megabyte has 5 * 10^11 pairs.
fn repeats(text: &str) -> usize {
    let bytes = text.as_bytes();
    let of = |at: usize| bytes[at + 1..].iter().filter(|other| **other == bytes[at]).count();
    (0..bytes.len()).map(of).sum()
}

/// Counts the opening brackets at the beginning, with a recursive call for each.
fn depth(text: &[u8]) -> usize {
    let room = std::hint::black_box([0_u8; 128]);
    match text.split_first() {
        Some((b'[', rest)) => 1 + depth(rest) + usize::from(room[0]),
        _ => 0,
    }
}

fn seconds() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map(|since| since.as_secs()).unwrap_or_default()
}

/// The keys of a `HashMap` differ from process to process.
fn hash(text: &str) -> u64 {
    HashMap::<(), (), RandomState>::default().hasher().hash_one(text)
}

tocsin_plugin_api::export_plugin!(BadHabits);
