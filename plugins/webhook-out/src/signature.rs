//! Signatures of requests by [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks),
//! version 1 with symmetric keys: HMAC-SHA256 of id, time and body.

use base64::{
    alphabet,
    engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tocsin_plugin_api::{OptionsError, Secret, Secrets, step::HttpRequest};
use zeroize::Zeroizing;

/// Beginning of a symmetric key.
const PREFIX: &str = "whsec_";

/// Allowed length of a key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Most keys of a destination: each adds a signature to the header.
const MOST_KEYS: usize = 8;

/// Base64 with or without padding: keys are copied from receivers of many kinds.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Keys that sign the requests of one destination, at least one.
pub(crate) struct Signer {
    keys: Vec<Zeroizing<Vec<u8>>>,
}

impl Signer {
    /// Takes the option `secrets`.
    ///
    /// # Errors
    ///
    /// If there are too many keys, or one of them is not a symmetric key of Standard Webhooks.
    pub(crate) fn new(secrets: &Secrets) -> Result<Self, OptionsError> {
        if secrets.iter().len() > MOST_KEYS {
            let message = "has more than 8 keys\n\
                           hint: remove those that no receiver uses";
            return Err(OptionsError::at("secrets", message));
        }
        let read = |(at, secret): (usize, &Secret)| {
            key(secret).map_err(|fault| OptionsError::at(format!("secrets[{at}]"), fault))
        };
        Ok(Self { keys: secrets.iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// Adds the three headers of Standard Webhooks to a request. Every key makes a signature, so that a
    /// receiver with any one of them accepts the request.
    pub(crate) fn sign(
        &self,
        request: HttpRequest,
        id: &str,
        seconds: i64,
        body: &str,
    ) -> HttpRequest {
        let signatures = self.keys.iter().filter_map(|key| {
            // HMAC takes keys of any length.
            let mut hmac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            hmac.update(format!("{id}.{seconds}.").as_bytes());
            hmac.update(body.as_bytes());
            Some(format!("v1,{}", BASE64_STANDARD.encode(hmac.finalize().into_bytes())))
        });
        request
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signatures.collect::<Vec<_>>().join(" "))
    }
}

fn key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let Some(encoded) = secret.expose().strip_prefix(PREFIX) else {
        return Err("does not begin with `whsec_`\n\
                    hint: use the key as the receiver shows it, or make one with \
                    `echo whsec_$(head -c 32 /dev/urandom | base64)`");
    };
    let key = BASE64.decode(encoded).map(Zeroizing::new);
    let key = key.map_err(|_| {
        "is not base64 behind `whsec_`\nhint: copy the key again, without white space around it"
    })?;
    if !KEY_BYTES.contains(&key.len()) {
        return Err("is not 24 to 64 bytes long, as Standard Webhooks asks\n\
                    hint: make a new key with `echo whsec_$(head -c 32 /dev/urandom | base64)`");
    }
    Ok(key)
}
