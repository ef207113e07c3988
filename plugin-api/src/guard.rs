//! The guard around every call into a plugin: catches panics inside the plugin's library.
//!
//! A panic that leaves an `extern "C"` function aborts the process. So no panic may leave this file: not
//! from a call, not from the constructor or the destructor, not from a panic's own payload.

use std::{
    any::Any,
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
};

use schemars::generate::SchemaSettings;

use crate::{
    OptionsError, Request,
    capability::{Call, Plugin, Receive},
    outcome::Outcome,
};

/// A caught panic: its message and, if known, its place in the source.
#[derive(Debug)]
pub(crate) struct Panic(pub(crate) String);

/// Returns the JSON Schema (draft 2020-12) of a plugin's options.
pub(crate) fn options_schema<T: Plugin>() -> Result<Vec<u8>, Panic> {
    catch(|| {
        let generator = SchemaSettings::draft2020_12().into_generator();
        let schema = generator.into_root_schema_for::<T::Options>();
        // A schema can always be written as JSON.
        serde_json::to_vec(&schema).unwrap_or_default()
    })
}

/// Makes an instance from its options, a JSON object.
pub(crate) fn new_instance<T: Plugin>(options: &[u8]) -> Result<Result<T, OptionsError>, Panic> {
    catch(|| {
        let mut json = serde_json::Deserializer::from_slice(options);
        let options = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = match error.path().to_string() {
                root if root == "." => String::new(),
                path => path,
            };
            OptionsError::at(path, without_position(&error.into_inner().to_string()))
        })?;
        T::new(options)
    })
}

/// Translates a request into the JSON of an [`Outcome`].
pub(crate) fn receive<T>(
    plugin: &T,
    receive: Receive<T>,
    request: &Request<'_>,
) -> Result<Vec<u8>, Panic> {
    catch(|| Outcome::from(receive(plugin, request)).to_json())
}

/// Calls a function from JSON to JSON. The inner error says why the input cannot be read.
pub(crate) fn call<T>(
    plugin: &T,
    call: Call<T>,
    input: &[u8],
) -> Result<Result<Vec<u8>, String>, Panic> {
    catch(|| call(plugin, input).map_err(|error| error.to_string()))
}

/// Drops a plugin's instance.
pub(crate) fn drop_instance<T>(plugin: Box<T>) -> Result<Vec<u8>, Panic> {
    catch(|| {
        drop(plugin);
        Vec::new()
    })
}

/// Installs a panic hook that prints nothing, because stderr is the host's log, and remembers the place
/// of the panic in the source.
///
/// A library has its own copy of std, so the hooks of the host and of other plugins stay as they are.
pub(crate) fn keep_panics_quiet() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        // On a thread that is ending, the thread-local variable for the place no longer exists.
        let _ = PLACE.try_with(|last| *last.borrow_mut() = place);
    }));
}

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Panic> {
    // Unwind safe: the host does not use an instance again after a panic in it.
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let message = message(&*payload);
        // Read the place first: dropping the payload may panic again.
        let place = PLACE.try_with(|last| last.borrow_mut().take()).ok().flatten();
        // The payload can be of any type, even one whose destructor panics.
        if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        match place {
            Some(place) => Panic(format!("{message} ({place})")),
            None => Panic(message),
        }
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).into();
    }
    payload
        .downcast_ref::<String>()
        .map_or_else(|| "a panic without a message".into(), Clone::clone)
}

/// Removes the line and column of a JSON error. The operator wrote TOML, where they mean nothing.
fn without_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |position| &message[..position])
}
