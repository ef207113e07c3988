//! The boundary between a plugin and its host: the only file that names abi_stable.
//!
//! Five functions cross the boundary. Borrowed bytes go in and JSON comes out, so the data can gain
//! fields while the layout stays. This file decides nothing: `guard.rs` catches panics, and the host
//! chooses which libraries may be opened.
//!
//! # What may change in a minor version
//!
//! - Functions may be appended to [`PluginModule`] after its last prefix field, `drop_instance`. If a
//!   module was built before a function was appended, a host reads that function as `None`.
//! - JSON may gain fields with defaults.
//! - A new capability needs neither a new function nor a new field: a host calls the function of a
//!   capability by its name through `call`, and refuses a plugin whose manifest lists a capability that the
//!   host does not know.
//!
//! The other structs of this file, the names of symbols, and every existing function and field stay
//! unchanged in all of 1.x.

#![expect(
    unsafe_code,
    reason = "instances cross the boundary as pointers that only the plugin can read"
)]

use std::{fmt, marker::PhantomData};

use abi_stable::{
    StableAbi,
    library::{
        __call_root_module_loader, CheckTypeLayout, LibHeader, RootModule, RootModuleResult,
    },
    package_version_strings,
    prefix_type::WithMetadata,
    sabi_types::VersionStrings,
    std_types::{RSlice, RStr, RVec},
};

use crate::{
    Request,
    capability::{Capability, Plugin, Receive},
    guard,
    manifest::RECEIVE,
};

/// The exported symbol through which a host finds the [`PluginModule`] of a library. Until the host has
/// checked the layout of the module, it can rely on this name alone.
pub const HEADER_SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";

// The name is written both in this file and in `export_plugin!`, because `export_name` accepts only a
// literal. abi_stable dictates the name.
const _: () = assert!(same(HEADER_SYMBOL, abi_stable::library::ROOT_MODULE_LOADER_NAME));

/// The type of the static with the name [`HEADER_SYMBOL`].
pub type LibraryHeader = LibHeader;

/// A header of a [`Request`]: its name in lower case, its value as it was sent.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct Header<'a> {
    name: RStr<'a>,
    value: RSlice<'a, u8>,
}

impl<'a> Header<'a> {
    /// A header. A host passes the name in lower case.
    pub fn new(name: &'a str, value: &'a [u8]) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// Returns the name, in lower case if it comes from a host.
    pub fn name(&self) -> &'a str {
        self.name.as_str()
    }

    /// Returns the value: any bytes that HTTP allows, not always UTF-8.
    pub fn value(&self) -> &'a [u8] {
        self.value.as_slice()
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be credentials.
        f.debug_struct("Header").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A [`Request`] in the form in which it crosses the boundary.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiRequest<'a> {
    method: RStr<'a>,
    query: RStr<'a>,
    headers: RSlice<'a, Header<'a>>,
    body: RSlice<'a, u8>,
    /// A JSON object for fields that later versions add; empty so far.
    extra: RSlice<'a, u8>,
}

impl<'a> AbiRequest<'a> {
    #[cfg(feature = "host")]
    fn lend(request: &'a Request<'_>) -> Self {
        Self {
            method: request.method().into(),
            query: request.query().into(),
            headers: request.headers().into(),
            body: request.body().into(),
            extra: RSlice::EMPTY,
        }
    }

    fn to_request(&self) -> Request<'a> {
        let headers = self.headers.as_slice();
        Request::new(self.method.as_str(), self.query.as_str(), headers, self.body.as_slice())
    }
}

/// The answer to a call: a code, and bytes whose meaning depends on the code.
#[repr(C)]
#[derive(StableAbi)]
pub struct Answer {
    code: u32,
    bytes: RVec<u8>,
}

/// The call returned; the bytes are its JSON.
const DONE: u32 = 0;
/// The plugin refused the options; the bytes are an [`OptionsError`](crate::OptionsError) as JSON.
const REFUSED: u32 = 1;
/// The plugin panicked; the bytes are the message.
const PANICKED: u32 = 2;
/// The plugin has no function for the capability; the bytes are the name of the capability.
const NO_FUNCTION: u32 = 3;
/// The plugin cannot read the input; the bytes are the reason.
const BAD_INPUT: u32 = 4;

impl Answer {
    fn new(code: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { code, bytes: RVec::from(bytes.into()) }
    }

    fn of(called: Result<Vec<u8>, guard::Panic>) -> Self {
        match called {
            Ok(json) => Self::new(DONE, json),
            Err(guard::Panic(message)) => Self::new(PANICKED, message),
        }
    }
}

/// The answer of `new_instance`. The pointer is null unless the call made an instance.
#[repr(C)]
#[derive(StableAbi)]
pub struct NewInstance {
    instance: *mut (),
    answer: Answer,
}

/// The functions of a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef, prefix_fields = PluginModulePrefix)))]
pub struct PluginModule {
    /// Returns the JSON Schema of the options.
    pub options_schema: extern "C" fn() -> Answer,
    /// Makes an instance from options, a JSON object.
    pub new_instance: extern "C" fn(options: RSlice<'_, u8>) -> NewInstance,
    /// Translates a request.
    ///
    /// # Safety
    ///
    /// `instance` comes from `new_instance` of this module and was not dropped.
    pub receive: unsafe extern "C" fn(instance: *const (), request: &AbiRequest<'_>) -> Answer,
    /// Drops an instance.
    ///
    /// # Safety
    ///
    /// The same as for `receive`. The instance must not be used afterwards.
    #[sabi(last_prefix_field)]
    pub drop_instance: unsafe extern "C" fn(instance: *mut ()) -> Answer,
    /// Calls the function of a capability, from JSON to JSON. Since 1.1.
    ///
    /// # Safety
    ///
    /// The same as for `receive`.
    pub call: unsafe extern "C" fn(
        instance: *const (),
        capability: RStr<'_>,
        input: RSlice<'_, u8>,
    ) -> Answer,
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}

    const BASE_NAME: &'static str = "tocsin_plugin";
    const NAME: &'static str = "tocsin_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// The header that [`export_plugin!`](crate::export_plugin) puts under [`HEADER_SYMBOL`].
#[doc(hidden)]
pub const fn library_header<T: Plugin>() -> LibraryHeader {
    // SAFETY: `module` returns the `PluginModuleRef` that the type argument names, erased by abi_stable
    // itself.
    unsafe { LibHeader::from_constructor::<PluginModuleRef>(module::<T>, CheckTypeLayout::Yes) }
}

extern "C" fn module<T: Plugin>() -> RootModuleResult {
    __call_root_module_loader(|| {
        guard::keep_panics_quiet();
        PluginModuleRef(Shims::<T>::MODULE.static_as_prefix())
    })
}

/// The functions of [`PluginModule`] for one plugin type.
struct Shims<T>(PhantomData<T>);

impl<T: Plugin> Shims<T> {
    const RECEIVE: Option<Receive<T>> = Capability::receive_in(T::CAPABILITIES);

    const MODULE: abi_stable::sabi_types::StaticRef<WithMetadata<PluginModule>> =
        abi_stable::sabi_types::StaticRef::new(&WithMetadata::new(PluginModule {
            options_schema: Self::options_schema,
            new_instance: Self::new_instance,
            receive: Self::receive,
            drop_instance: Self::drop_instance,
            call: Self::call,
        }));

    extern "C" fn options_schema() -> Answer {
        Answer::of(guard::options_schema::<T>())
    }

    extern "C" fn new_instance(options: RSlice<'_, u8>) -> NewInstance {
        let nothing = std::ptr::null_mut();
        match guard::new_instance::<T>(options.as_slice()) {
            Ok(Ok(instance)) => {
                let instance = Box::into_raw(Box::new(instance)).cast();
                NewInstance { instance, answer: Answer::new(DONE, []) }
            }
            Ok(Err(refused)) => {
                // Strings can always be written as JSON.
                let json = serde_json::to_vec(&refused).unwrap_or_default();
                NewInstance { instance: nothing, answer: Answer::new(REFUSED, json) }
            }
            Err(panic) => NewInstance { instance: nothing, answer: Answer::of(Err(panic)) },
        }
    }

    unsafe extern "C" fn receive(instance: *const (), request: &AbiRequest<'_>) -> Answer {
        // SAFETY: the caller gives an instance of this module that was not dropped, which
        // `new_instance` made as a `T`. `T: Sync` lets any thread read it.
        let instance = unsafe { &*instance.cast::<T>() };
        match Self::RECEIVE {
            Some(receive) => Answer::of(guard::receive(instance, receive, &request.to_request())),
            None => Answer::new(NO_FUNCTION, RECEIVE),
        }
    }

    unsafe extern "C" fn call(
        instance: *const (),
        capability: RStr<'_>,
        input: RSlice<'_, u8>,
    ) -> Answer {
        // SAFETY: as above.
        let instance = unsafe { &*instance.cast::<T>() };
        let Some(call) = Capability::call_in(T::CAPABILITIES, capability.as_str()) else {
            return Answer::new(NO_FUNCTION, capability.as_str());
        };
        match guard::call(instance, call, input.as_slice()) {
            Ok(Err(why)) => Answer::new(BAD_INPUT, why),
            Ok(Ok(json)) => Answer::new(DONE, json),
            Err(panic) => Answer::of(Err(panic)),
        }
    }

    unsafe extern "C" fn drop_instance(instance: *mut ()) -> Answer {
        // SAFETY: as above, and the caller gives the instance up. `T: Send` lets any thread drop it.
        let instance = unsafe { Box::from_raw(instance.cast::<T>()) };
        Answer::of(guard::drop_instance(instance))
    }
}

const fn same(one: &str, other: &str) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one.as_bytes()[at] != other.as_bytes()[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(feature = "host")]
pub use calling::{BoundaryError, CallError, Instance, Module, NewInstanceError};

/// The host's side of the boundary.
#[cfg(feature = "host")]
mod calling {
    use std::fmt;

    use abi_stable::{
        abi_stability::abi_checking::check_layout_compatibility,
        library::{AbiHeaderRef, LibHeader, LibraryError},
        std_types::{RSlice, RVec},
    };

    use super::{
        AbiRequest, Answer, BAD_INPUT, DONE, NO_FUNCTION, NewInstance, PluginModuleRef, REFUSED,
    };
    use crate::{OptionsError, Request, outcome::Outcome};

    /// The reason why the module of a library cannot be used.
    #[derive(Debug)]
    #[non_exhaustive]
    pub struct BoundaryError {
        /// A sentence for the operator, perhaps with a `hint:` line.
        pub message: String,
        /// Details for the log at debug level. abi_stable describes a mismatch in tens of kilobytes. Empty
        /// if there are no details.
        pub detail: String,
    }

    impl BoundaryError {
        fn new(message: impl Into<String>, detail: impl fmt::Display) -> Self {
            Self { message: message.into(), detail: detail.to_string() }
        }
    }

    impl fmt::Display for BoundaryError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.message)
        }
    }

    impl std::error::Error for BoundaryError {}

    /// The module of a library that stays mapped until the process ends.
    #[derive(Clone, Copy)]
    pub struct Module(PluginModuleRef);

    impl Module {
        /// Reads the module behind the header of a mapped library.
        ///
        /// # Errors
        ///
        /// If the library does not match this boundary, or has the layout check switched off.
        ///
        /// # Safety
        ///
        /// `header` is the address of the symbol [`HEADER_SYMBOL`](super::HEADER_SYMBOL) in a
        /// library that stays mapped until the process ends.
        pub unsafe fn open(header: *const ()) -> Result<Self, BoundaryError> {
            // SAFETY: the caller gives the address of a `LibraryHeader` static. Its contents may still be
            // anything; `upgrade` compares the magic string and the version before it reads on.
            let header: AbiHeaderRef = unsafe { std::mem::transmute(&*header) };
            let header = header.upgrade().map_err(|error| {
                BoundaryError::new(
                    "was built with another version of abi_stable\n\
                     hint: build it again with the plugin-api of this host",
                    error,
                )
            })?;
            let Some(layout) = header.layout() else {
                return Err(BoundaryError::new(
                    "has its layout check switched off, so nothing shows that its functions are \
                     what they claim\nhint: export it with `export_plugin!`",
                    "",
                ));
            };
            let theirs = header.version_strings().version;
            if major(theirs.as_str()) != major(crate::VERSION) {
                return Err(BoundaryError::new(
                    format!(
                        "was built for plugin-api {theirs}, this host has {ours}\nhint: build it \
                         again with the plugin-api of this host",
                        ours = crate::VERSION,
                    ),
                    "",
                ));
            }
            if is_older(theirs.as_str()) {
                // abi_stable refuses a module with fewer fields than expected, though the missing ones
                // would read as `None`. With the arguments swapped, this version's module is the plugin's
                // module with fields appended, which abi_stable accepts.
                check_layout_compatibility(layout, PluginModuleRef::LAYOUT_OF)
                    .map_err(|error| mismatch(header, error))?;
                // SAFETY: the check above found the layouts compatible but for missing fields.
                unsafe { header.init_root_module_with_unchecked_layout::<PluginModuleRef>() }
            } else {
                header.init_root_module::<PluginModuleRef>()
            }
            .map(Self)
            .map_err(|error| match error {
                LibraryError::RootModule { .. } => {
                    BoundaryError::new("panicked while its module was made", error)
                }
                error => mismatch(header, error),
            })
        }

        /// Returns the JSON Schema of the plugin's options.
        ///
        /// # Errors
        ///
        /// If the plugin panicked.
        pub fn options_schema(&self) -> Result<Vec<u8>, CallError> {
            done((self.0.options_schema())()).map(RVec::into_vec)
        }

        /// Makes an instance from options, a JSON object.
        ///
        /// # Errors
        ///
        /// If the plugin refused the options or panicked.
        pub fn instance(&self, options: &[u8]) -> Result<Instance, NewInstanceError> {
            let options = RSlice::from_slice(options);
            let NewInstance { instance, answer } = (self.0.new_instance())(options);
            if answer.code == REFUSED {
                let refused = serde_json::from_slice(&answer.bytes);
                return Err(NewInstanceError::Refused(refused.unwrap_or_else(|_| {
                    OptionsError::new("refused, with an answer that is not JSON")
                })));
            }
            done(answer).map_err(NewInstanceError::Call)?;
            Ok(Instance { module: self.0, instance })
        }
    }

    impl PluginModuleRef {
        const LAYOUT_OF: &'static abi_stable::type_layout::TypeLayout =
            <Self as abi_stable::StableAbi>::LAYOUT;
    }

    /// An instance of a plugin. Dropping this value runs the destructor in the plugin and ignores a panic in
    /// it; [`close`](Self::close) reports the panic.
    pub struct Instance {
        module: PluginModuleRef,
        instance: *mut (),
    }

    // SAFETY: the pointer is a `T: Plugin`, which is `Send` and `Sync`.
    unsafe impl Send for Instance {}
    // SAFETY: as above.
    unsafe impl Sync for Instance {}

    impl Instance {
        /// Translates a request.
        ///
        /// # Errors
        ///
        /// If the plugin panicked, or this version cannot read its answer.
        pub fn receive(&self, request: &Request<'_>) -> Result<Outcome, CallError> {
            let read = self.receive_json(request, Outcome::from_json)?;
            read.map_err(|error| CallError::NotUnderstood(error.to_string()))
        }

        /// Translates a request, and gives the JSON of the [`Outcome`] to a closure. The JSON need not be
        /// valid.
        ///
        /// # Errors
        ///
        /// If the plugin panicked.
        pub fn receive_json<R>(
            &self,
            request: &Request<'_>,
            read: impl FnOnce(&[u8]) -> R,
        ) -> Result<R, CallError> {
            let request = AbiRequest::lend(request);
            // SAFETY: the instance comes from this module. Only `close_once` drops it, which needs
            // `&mut self`.
            let answer = unsafe { self.module.receive()(self.instance, &request) };
            Ok(read(&done(answer)?))
        }

        /// Calls the function of a capability, from JSON to JSON. `receive` has a function of its own:
        /// [`receive`](Self::receive).
        ///
        /// # Errors
        ///
        /// If the plugin panicked, has no such capability, or cannot read the input.
        pub fn call(&self, capability: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
            // A module that was built with plugin-api 1.0 has no function `call`.
            let Some(call) = self.module.call() else {
                return Err(CallError::NoFunction(capability.into()));
            };
            // SAFETY: as for `receive`.
            let answer =
                unsafe { call(self.instance, capability.into(), RSlice::from_slice(input)) };
            done(answer).map(RVec::into_vec)
        }

        /// Drops the instance in the plugin.
        ///
        /// # Errors
        ///
        /// If the destructor panicked. The instance is dropped even then.
        pub fn close(mut self) -> Result<(), CallError> {
            self.close_once()
        }

        fn close_once(&mut self) -> Result<(), CallError> {
            let instance = std::mem::replace(&mut self.instance, std::ptr::null_mut());
            if instance.is_null() {
                return Ok(());
            }
            // SAFETY: the instance comes from this module, and the line above took its pointer.
            let answer = unsafe { self.module.drop_instance()(instance) };
            done(answer).map(drop)
        }
    }

    impl Drop for Instance {
        fn drop(&mut self) {
            let _ = self.close_once();
        }
    }

    impl fmt::Debug for Instance {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Instance").finish_non_exhaustive()
        }
    }

    /// The reason why a call failed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum CallError {
        /// The plugin panicked, with this message.
        Panicked(String),
        /// The plugin's answer cannot be read by this version of plugin-api, for the given reason.
        NotUnderstood(String),
        /// The plugin's answer breaks a rule of the host, for the given reason.
        Forbidden(String),
        /// The plugin has no function for the capability with this name.
        NoFunction(String),
        /// The plugin cannot read its input, for this reason.
        BadInput(String),
    }

    impl fmt::Display for CallError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Panicked(message) => write!(f, "panicked: {message}"),
                Self::NotUnderstood(why) => {
                    write!(f, "gave an answer that this host does not understand: {why}")
                }
                Self::Forbidden(why) => write!(f, "gave an answer that this host refuses: {why}"),
                Self::NoFunction(name) => write!(f, "has no capability `{name}`"),
                Self::BadInput(why) => write!(f, "cannot read what this host sends: {why}"),
            }
        }
    }

    impl std::error::Error for CallError {}

    /// The reason why no instance could be made.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum NewInstanceError {
        /// The plugin refused its options.
        Refused(OptionsError),
        /// The call into the plugin failed.
        Call(CallError),
    }

    impl fmt::Display for NewInstanceError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Refused(error) => write!(f, "refused its options: {error}"),
                Self::Call(error) => error.fmt(f),
            }
        }
    }

    impl std::error::Error for NewInstanceError {}

    fn done(answer: Answer) -> Result<RVec<u8>, CallError> {
        if answer.code == DONE {
            return Ok(answer.bytes);
        }
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        Err(match answer.code {
            NO_FUNCTION => CallError::NoFunction(text),
            BAD_INPUT => CallError::BadInput(text),
            _ => CallError::Panicked(text),
        })
    }

    fn mismatch(header: &LibHeader, error: impl fmt::Display) -> BoundaryError {
        let theirs = header.version_strings().version;
        let message = format!(
            "its functions do not match those of this host, though it says plugin-api {theirs} and \
             the host has {ours}\nhint: build it again with an unchanged plugin-api",
            ours = crate::VERSION,
        );
        BoundaryError::new(message, error)
    }

    /// Returns true if the minor number of this version is lower than that of this crate.
    fn is_older(version: &str) -> bool {
        number(version, 1) < number(crate::VERSION, 1)
    }

    fn major(version: &str) -> Option<u64> {
        number(version, 0)
    }

    fn number(version: &str, at: usize) -> Option<u64> {
        version.split('.').nth(at).and_then(|number| number.parse().ok())
    }
}
