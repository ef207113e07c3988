//! Authentication of the sender by the header `Authorization`.
//!
//! The header is checked before any other part of the request, so a sender without credentials
//! learns nothing from the answer. A token in the query is not accepted, because proxies log
//! queries.

use base64::prelude::{BASE64_STANDARD, Engine};
use tocsin_plugin_api::{OptionsError, Refusal, Request, Secret, Secrets};

use crate::options::BasicAuth;

/// Authentication that the operator configured.
pub(crate) enum Authentication {
    /// Every sender is accepted (option `unauthenticated`).
    Unauthenticated,
    /// Senders with one of these credentials are accepted.
    Required(Credentials),
}

/// Configured credentials, at least one of the two kinds.
pub(crate) struct Credentials {
    tokens: Option<Secrets>,
    account: Option<Account>,
}

struct Account {
    username: Secret,
    passwords: Secrets,
}

impl Authentication {
    /// Takes the options `bearer_token`, `basic_auth` and `unauthenticated`.
    ///
    /// # Errors
    ///
    /// If neither credentials nor `unauthenticated` are set, or if both are set.
    pub(crate) fn new(
        bearer_token: Option<Secrets>,
        basic_auth: Option<BasicAuth>,
        unauthenticated: bool,
    ) -> Result<Self, OptionsError> {
        let given = match (&bearer_token, &basic_auth) {
            (Some(_), _) => Some("bearer_token"),
            (None, Some(_)) => Some("basic_auth"),
            (None, None) => None,
        };
        match (given, unauthenticated) {
            (Some(_), false) => {
                let account = basic_auth.map(Account::new).transpose()?;
                Ok(Self::Required(Credentials { tokens: bearer_token, account }))
            }
            (None, true) => Ok(Self::Unauthenticated),
            (None, false) => Err(OptionsError::at(
                "bearer_token",
                "missing, and so is `basic_auth`, so anyone could raise alerts\n\
                 hint: set one of them to the credential that Alertmanager sends, or set \
                 `unauthenticated = true` to let anyone raise alerts; a destination needs `url`",
            )),
            (Some(key), true) => Err(OptionsError::at(
                "unauthenticated",
                format!(
                    "contradicts `{key}`, which would never be checked\n\
                     hint: remove one of the two"
                ),
            )),
        }
    }

    /// Accepts or refuses the sender of a request. Credentials are compared in constant time, each
    /// with all configured ones.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthorized`] if the request does not show exactly one configured credential.
    pub(crate) fn check(&self, request: &Request<'_>) -> Result<(), Refusal> {
        match self {
            Self::Unauthenticated => Ok(()),
            Self::Required(credentials) => {
                credentials.check(authorization(request)).map_err(Refusal::unauthorized)
            }
        }
    }
}

impl Credentials {
    fn check(&self, authorization: Result<&[u8], &'static str>) -> Result<(), &'static str> {
        let value = authorization?.trim_ascii();
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, shown) = (&value[..end], value[end..].trim_ascii());
        match (self, scheme) {
            (Self { tokens: Some(tokens), .. }, bearer) if is_scheme(bearer, "Bearer") => {
                let known = tokens.match_any(shown);
                known.then_some(()).ok_or("the bearer token is not one of those configured")
            }
            (Self { account: Some(account), .. }, basic) if is_scheme(basic, "Basic") => {
                account.check(shown)
            }
            _ => Err("the scheme of `Authorization` is not one of those configured"),
        }
    }
}

impl Account {
    fn new(BasicAuth { username, password }: BasicAuth) -> Result<Self, OptionsError> {
        // An empty user name is allowed: Alertmanager then sends `:password`.
        if username.contains(':') {
            return Err(OptionsError::at(
                "basic_auth.username",
                "contains a colon, which RFC 7617 does not allow in a user name\n\
                 hint: choose another user name",
            ));
        }
        Ok(Self { username: Secret::new(username), passwords: password })
    }

    /// Compares user name and password. Both are compared even if the user name is wrong, so
    /// response times do not reveal user names.
    fn check(&self, encoded: &[u8]) -> Result<(), &'static str> {
        let malformed = "`Authorization` has no user name and password in base64";
        let decoded = BASE64_STANDARD.decode(encoded).map_err(|_| malformed)?;
        let colon = decoded.iter().position(|byte| *byte == b':').ok_or(malformed)?;
        let (username, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let known = self.username.matches(username) & self.passwords.match_any(password);
        known.then_some(()).ok_or("user name and password are not those configured")
    }
}

/// Returns the value of the header, which must come exactly once.
fn authorization<'a>(request: &Request<'a>) -> Result<&'a [u8], &'static str> {
    let mut lines = request
        .headers()
        .iter()
        .filter(|header| header.name().eq_ignore_ascii_case("authorization"));
    let line = lines.next().ok_or("`Authorization` is missing")?;
    match lines.next() {
        Some(_) => Err("`Authorization` is repeated"),
        None => Ok(line.value()),
    }
}

fn is_scheme(scheme: &[u8], name: &str) -> bool {
    scheme.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(secrets: &[&str]) -> Secrets {
        Secrets::new(secrets.iter().map(|secret| Secret::new(*secret)))
    }

    fn account(username: &str) -> BasicAuth {
        BasicAuth { username: username.into(), password: secrets(&["old: é", "new"]) }
    }

    fn required(tokens: Option<Secrets>, account: Option<BasicAuth>) -> Authentication {
        Authentication::new(tokens, account, false).expect("credentials are enough")
    }

    fn both() -> Authentication {
        required(Some(secrets(&["t1", "t2"])), Some(account("am")))
    }

    fn check(authentication: &Authentication, authorization: &str) -> Result<(), Refusal> {
        let request = Request::post(b"");
        authentication.check(&request.with_header("Authorization", authorization.as_bytes()))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    fn refused(why: &str) -> Result<(), Refusal> {
        Err(Refusal::unauthorized(why))
    }

    #[test]
    fn each_configured_credential_is_accepted() {
        for shown in ["Bearer t1", "bearer t2", "BEARER  t2", "Bearer t1 "] {
            assert_eq!(check(&both(), shown), Ok(()), "{shown}");
        }
        for shown in ["am:old: é", "am:new"] {
            assert_eq!(check(&both(), &basic(shown)), Ok(()), "{shown}");
            assert_eq!(check(&both(), &basic(shown).replace("Basic", "bAsIc")), Ok(()), "{shown}");
        }
    }

    #[test]
    fn a_token_that_only_resembles_a_configured_one_is_refused() {
        let refusal = refused("the bearer token is not one of those configured");
        for shown in ["Bearer", "Bearer ", "Bearer T1", "Bearer t", "Bearer t1t2", "Bearer t1,t2"] {
            assert_eq!(check(&both(), shown), refusal, "{shown}");
        }
    }

    #[test]
    fn user_name_and_password_must_both_match() {
        let refusal = refused("user name and password are not those configured");
        for shown in ["am:", "am:old", "AM:new", "a:new", ":new", ":", "am:new:", "am: new"] {
            assert_eq!(check(&both(), &basic(shown)), refusal, "{shown}");
        }
    }

    #[test]
    fn basic_credentials_that_cannot_be_decoded_are_refused() {
        let refusal = refused("`Authorization` has no user name and password in base64");
        for shown in ["Basic", "Basic !", "Basic YW0", "Basic am:new", "Basic YW06bmV3 YW06bmV3"] {
            assert_eq!(check(&both(), shown), refusal, "{shown}");
        }
        assert_eq!(check(&both(), &basic("am")), refusal);
    }

    #[test]
    fn a_scheme_that_is_not_configured_is_refused() {
        let refusal = refused("the scheme of `Authorization` is not one of those configured");
        for shown in ["", " ", "t1", "Bearert1", "Digest t1", "Token t1", "Bearer\tt1"] {
            assert_eq!(check(&both(), shown), refusal, "{shown}");
        }
        let tokens = required(Some(secrets(&["t1"])), None);
        assert_eq!(check(&tokens, &basic("am:new")), refusal);
        let account = required(None, Some(account("am")));
        assert_eq!(check(&account, "Bearer t1"), refusal);
        assert_eq!(check(&account, &basic("am:new")), Ok(()));
    }

    #[test]
    fn a_missing_or_repeated_header_is_refused() {
        assert_eq!(both().check(&Request::post(b"")), refused("`Authorization` is missing"));
        let twice = Request::post(b"")
            .with_header("authorization", b"Bearer t1")
            .with_header("Authorization", b"Bearer t1");
        assert_eq!(both().check(&twice), refused("`Authorization` is repeated"));
        let other = Request::post(b"").with_header("proxy-authorization", b"Bearer t1");
        assert_eq!(both().check(&other), refused("`Authorization` is missing"));
    }

    #[test]
    fn credentials_that_are_not_utf8_are_refused() {
        let request = Request::post(b"").with_header("authorization", b"Bearer \xff\xfe");
        assert!(both().check(&request).is_err());
    }

    #[test]
    fn every_sender_is_accepted_if_unauthenticated() {
        let unauthenticated = Authentication::new(None, None, true).expect("the option is enough");
        assert_eq!(unauthenticated.check(&Request::post(b"")), Ok(()));
        assert_eq!(check(&unauthenticated, "Digest x"), Ok(()));
    }

    #[test]
    fn a_user_name_with_a_colon_is_refused() {
        for username in [":", "a:m"] {
            let error =
                Authentication::new(None, Some(account(username)), false).err().expect("refused");
            assert_eq!(error.path, "basic_auth.username");
        }
    }

    #[test]
    fn an_empty_user_name_accepts_the_password_alone() {
        let authentication = required(None, Some(account("")));
        for shown in [":old: é", ":new"] {
            assert_eq!(check(&authentication, &basic(shown)), Ok(()), "{shown}");
        }
        let refusal = refused("user name and password are not those configured");
        for shown in [":", "am:new", "new:", "::new", " :new", ":new ", ":old"] {
            assert_eq!(check(&authentication, &basic(shown)), refusal, "{shown}");
        }
        let malformed = refused("`Authorization` has no user name and password in base64");
        assert_eq!(check(&authentication, &basic("new")), malformed);
        assert_eq!(check(&authentication, "Basic"), malformed);
    }
}
