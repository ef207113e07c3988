//! Who may send: the `Authorization` header shows a credential that is configured.
//!
//! It looks at nothing else, so that whoever has none learns nothing by trying. A token in the
//! query has no place there: proxies log it.

use base64::prelude::{BASE64_STANDARD, Engine};
use tocsin_plugin_api::{OptionsError, Refusal, Request, Secret, Secrets};

use crate::options::BasicAuth;

/// Who may send.
pub(crate) enum Senders {
    /// Whoever reaches the endpoint: the operator has said so.
    Anyone,
    /// Whoever shows a token or an account that is among these.
    Holders(Credentials),
}

/// At least one of the two is there.
pub(crate) struct Credentials {
    tokens: Option<Secrets>,
    account: Option<Account>,
}

struct Account {
    username: Secret,
    passwords: Secrets,
}

impl Senders {
    /// From the options `bearer_token`, `basic_auth` and `unauthenticated`: either the last alone,
    /// or one or both of the others.
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
                Ok(Self::Holders(Credentials { tokens: bearer_token, account }))
            }
            (None, true) => Ok(Self::Anyone),
            (None, false) => Err(OptionsError::at(
                "bearer_token",
                "missing, and so is `basic_auth`: anyone could raise alerts\n\
                 hint: set one of them to what Alertmanager shows, or set \
                 `unauthenticated = true` if anyone may",
            )),
            (Some(key), true) => Err(OptionsError::at(
                "unauthenticated",
                format!(
                    "contradicts `{key}`, which would never be looked at\n\
                     hint: remove one of the two"
                ),
            )),
        }
    }

    /// Compares every byte of what is shown with all that is configured, in constant time.
    pub(crate) fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        match self {
            Self::Anyone => Ok(()),
            Self::Holders(credentials) => {
                credentials.admit(authorization(request)).map_err(Refusal::unauthorized)
            }
        }
    }
}

impl Credentials {
    fn admit(&self, authorization: Result<&[u8], &'static str>) -> Result<(), &'static str> {
        let value = authorization?.trim_ascii();
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, shown) = (&value[..end], value[end..].trim_ascii());
        match (self, scheme) {
            (Self { tokens: Some(tokens), .. }, bearer) if is(bearer, "Bearer") => {
                let known = tokens.match_any(shown);
                known.then_some(()).ok_or("the bearer token is not one of those configured")
            }
            (Self { account: Some(account), .. }, basic) if is(basic, "Basic") => {
                account.admit(shown)
            }
            _ => Err("the scheme of `Authorization` is not one of those configured"),
        }
    }
}

impl Account {
    fn new(BasicAuth { username, password }: BasicAuth) -> Result<Self, OptionsError> {
        // An empty one is allowed: Alertmanager then shows `:password`.
        if username.contains(':') {
            return Err(OptionsError::at(
                "basic_auth.username",
                "has a colon, at which a user name ends\n\
                 hint: RFC 7617 forbids it; choose another one",
            ));
        }
        Ok(Self { username: Secret::new(username), passwords: password })
    }

    /// Both are compared whichever is wrong, so that a user name can't be found by itself.
    fn admit(&self, encoded: &[u8]) -> Result<(), &'static str> {
        let malformed = "`Authorization` has no user name and password in base64";
        let decoded = BASE64_STANDARD.decode(encoded).map_err(|_| malformed)?;
        let colon = decoded.iter().position(|byte| *byte == b':').ok_or(malformed)?;
        let (username, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let known = self.username.matches(username) & self.passwords.match_any(password);
        known.then_some(()).ok_or("user name and password are not those configured")
    }
}

/// The one header line of that name.
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

fn is(scheme: &[u8], name: &str) -> bool {
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

    fn holders(tokens: Option<Secrets>, account: Option<BasicAuth>) -> Senders {
        Senders::new(tokens, account, false).expect("credentials are enough")
    }

    fn both() -> Senders {
        holders(Some(secrets(&["t1", "t2"])), Some(account("am")))
    }

    fn admit(senders: &Senders, authorization: &str) -> Result<(), Refusal> {
        let request = Request::post(b"");
        senders.admit(&request.with_header("Authorization", authorization.as_bytes()))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    fn refused(why: &str) -> Result<(), Refusal> {
        Err(Refusal::unauthorized(why))
    }

    #[test]
    fn any_configured_credential_admits() {
        for shown in ["Bearer t1", "bearer t2", "BEARER  t2", "Bearer t1 "] {
            assert_eq!(admit(&both(), shown), Ok(()), "{shown}");
        }
        for shown in ["am:old: é", "am:new"] {
            assert_eq!(admit(&both(), &basic(shown)), Ok(()), "{shown}");
            assert_eq!(admit(&both(), &basic(shown).replace("Basic", "bAsIc")), Ok(()), "{shown}");
        }
    }

    #[test]
    fn a_token_that_is_only_like_one_does_not() {
        let refusal = refused("the bearer token is not one of those configured");
        for shown in ["Bearer", "Bearer ", "Bearer T1", "Bearer t", "Bearer t1t2", "Bearer t1,t2"] {
            assert_eq!(admit(&both(), shown), refusal, "{shown}");
        }
    }

    #[test]
    fn both_user_name_and_password_have_to_be_right() {
        let refusal = refused("user name and password are not those configured");
        for shown in ["am:", "am:old", "AM:new", "a:new", ":new", ":", "am:new:", "am: new"] {
            assert_eq!(admit(&both(), &basic(shown)), refusal, "{shown}");
        }
    }

    #[test]
    fn what_is_no_account_is_refused() {
        let refusal = refused("`Authorization` has no user name and password in base64");
        for shown in ["Basic", "Basic !", "Basic YW0", "Basic am:new", "Basic YW06bmV3 YW06bmV3"] {
            assert_eq!(admit(&both(), shown), refusal, "{shown}");
        }
        assert_eq!(admit(&both(), &basic("am")), refusal);
    }

    #[test]
    fn a_scheme_that_is_not_configured_is_refused() {
        let refusal = refused("the scheme of `Authorization` is not one of those configured");
        for shown in ["", " ", "t1", "Bearert1", "Digest t1", "Token t1", "Bearer\tt1"] {
            assert_eq!(admit(&both(), shown), refusal, "{shown}");
        }
        let tokens = holders(Some(secrets(&["t1"])), None);
        assert_eq!(admit(&tokens, &basic("am:new")), refusal);
        let account = holders(None, Some(account("am")));
        assert_eq!(admit(&account, "Bearer t1"), refusal);
        assert_eq!(admit(&account, &basic("am:new")), Ok(()));
    }

    #[test]
    fn the_header_comes_once() {
        assert_eq!(both().admit(&Request::post(b"")), refused("`Authorization` is missing"));
        let twice = Request::post(b"")
            .with_header("authorization", b"Bearer t1")
            .with_header("Authorization", b"Bearer t1");
        assert_eq!(both().admit(&twice), refused("`Authorization` is repeated"));
        let other = Request::post(b"").with_header("proxy-authorization", b"Bearer t1");
        assert_eq!(both().admit(&other), refused("`Authorization` is missing"));
    }

    #[test]
    fn bytes_that_are_no_text_are_only_wrong() {
        let request = Request::post(b"").with_header("authorization", b"Bearer \xff\xfe");
        assert!(both().admit(&request).is_err());
    }

    #[test]
    fn without_credentials_anyone_is_admitted() {
        let anyone = Senders::new(None, None, true).expect("it was said");
        assert_eq!(anyone.admit(&Request::post(b"")), Ok(()));
        assert_eq!(admit(&anyone, "Digest x"), Ok(()));
    }

    #[test]
    fn a_user_name_that_could_never_match_is_an_error() {
        for username in [":", "a:m"] {
            let error = Senders::new(None, Some(account(username)), false).err().expect("refused");
            assert_eq!(error.path, "basic_auth.username");
        }
    }

    #[test]
    fn an_empty_user_name_admits_its_password_alone() {
        let senders = holders(None, Some(account("")));
        for shown in [":old: é", ":new"] {
            assert_eq!(admit(&senders, &basic(shown)), Ok(()), "{shown}");
        }
        let refusal = refused("user name and password are not those configured");
        for shown in [":", "am:new", "new:", "::new", " :new", ":new ", ":old"] {
            assert_eq!(admit(&senders, &basic(shown)), refusal, "{shown}");
        }
        let malformed = refused("`Authorization` has no user name and password in base64");
        assert_eq!(admit(&senders, &basic("new")), malformed);
        assert_eq!(admit(&senders, "Basic"), malformed);
    }
}
