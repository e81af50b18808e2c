//! Saying who one is: nothing, a password (RFC 7617), or a token from the server that the registry names (distribution's
//! "Token Authentication Specification").

use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding};
use http_auth::ChallengeRef;
use secrecy::ExposeSecret;
use ureq::http::Method;
use url::Url;

use super::endpoint::Endpoint;
use super::error::refused;
use super::tokens::Token;
use super::{Credential, Registry, RegistryError};
use crate::edge::http::{Answer, Content, Request, shown};

/// What is to be done in a repository.
pub(super) const PULL: &str = "pull";
pub(super) const PUSH: &str = "pull,push";

const LARGEST_TOKEN: u64 = 1 << 20;
/// Of a token that does not say how long it is good for (the specification's default).
const SHORT_LIFE: u64 = 60;

/// How a registry wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The challenges of a `WWW-Authenticate` header that forge can meet. Whatever stands there, the answer is a list.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let Ok(all) = http_auth::parse_challenges(header) else {
        return Vec::new();
    };
    let param = |challenge: &ChallengeRef<'_>, name: &str| {
        let mut params = challenge.params.iter();
        let (_, value) = params.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value.to_unescaped())
    };
    let known = |challenge: &ChallengeRef<'_>| {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(Challenge::Bearer {
            realm: param(challenge, "realm")?,
            service: param(challenge, "service"),
            scope: param(challenge, "scope").filter(|scope| !scope.is_empty()),
        })
    };
    all.iter().filter_map(known).collect()
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        Base64::encode_string(format!("{user}:{password}").as_bytes())
    )
}

impl Registry {
    /// Asks, and asks again with a word on who asks if the registry wants one. The answer may have any status.
    pub(super) fn ask<'a>(
        &self,
        endpoint: &Endpoint,
        actions: &'static str,
        mut request: Request<'a>,
    ) -> Result<Answer, RegistryError> {
        let key = (endpoint.host.clone(), endpoint.path.clone(), actions);
        let own = request.url.origin() == endpoint.base.origin();
        if !own {
            return Ok(self.http.send(&request)?);
        }
        if let Some(header) = self.tokens.get(&key, self.http.clock().now()) {
            request.headers.push(("authorization", header));
        }
        let answer = self.http.send(&request)?;
        // Another host that a redirect led to has no say in this.
        if answer.status != 401 || answer.url.origin() != endpoint.base.origin() {
            return Ok(answer);
        }
        let Some(token) = self.meet(endpoint, actions, &answer)? else {
            return Ok(answer);
        };
        request.headers.retain(|(name, _)| *name != "authorization");
        request
            .headers
            .push(("authorization", token.header.clone()));
        let answer = self.http.send(&request)?;
        if answer.status != 401 {
            self.tokens.put(key, token);
        }
        Ok(answer)
    }

    /// What meets the challenge of this answer; nothing if nobody is logged in and it takes a password.
    fn meet(
        &self,
        endpoint: &Endpoint,
        actions: &str,
        answer: &Answer,
    ) -> Result<Option<Token>, RegistryError> {
        let headers = answer.headers.get_all("www-authenticate").into_iter();
        let all: Vec<Challenge> = headers
            .filter_map(|header| header.to_str().ok())
            .flat_map(challenges)
            .collect();
        let credential = self.credentials.of(&endpoint.login)?;
        for challenge in &all {
            if let Challenge::Bearer {
                realm,
                service,
                scope,
            } = challenge
            {
                let scope = scope
                    .clone()
                    .unwrap_or_else(|| format!("repository:{}:{actions}", endpoint.path));
                return self
                    .token(endpoint, realm, service.as_deref(), &scope, credential)
                    .map(Some);
            }
        }
        Ok(match credential {
            Some(Credential::Password { user, password }) if all.contains(&Challenge::Basic) => {
                Some(Token {
                    header: basic(&user, password.expose_secret()),
                    until: None,
                })
            }
            _ => None,
        })
    }

    fn token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credential: Option<Credential>,
    ) -> Result<Token, RegistryError> {
        let malformed = |reason: &str| RegistryError::Malformed {
            what: format!("the token server of {}", endpoint.host),
            reason: reason.to_owned(),
        };
        let mut url: Url = realm.parse().map_err(|_| malformed("it is no URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if endpoint.plain => {}
            _ => return Err(malformed("it is to be asked without TLS: refused")),
        }
        let scopes = scope.split(' ').filter(|scope| !scope.is_empty());
        let mut form = Vec::new();
        let answer = match credential {
            Some(Credential::Token(token)) => {
                let mut body = url::form_urlencoded::Serializer::new(String::new());
                body.append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", token.expose_secret())
                    .append_pair("client_id", "forge")
                    .append_pair("scope", scope);
                if let Some(service) = service {
                    body.append_pair("service", service);
                }
                form.extend(body.finish().into_bytes());
                let mut request = Request::get(url.clone(), Vec::new());
                request.method = Method::POST;
                request.content = Content::Bytes(&form);
                let kind = "application/x-www-form-urlencoded".to_owned();
                request.headers.push(("content-type", kind));
                self.http.send(&request)?
            }
            other => {
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = service {
                        query.append_pair("service", service);
                    }
                    for scope in scopes {
                        query.append_pair("scope", scope);
                    }
                }
                let mut request = Request::get(url.clone(), Vec::new());
                if let Some(Credential::Password { user, password }) = other {
                    let header = basic(&user, password.expose_secret());
                    request.headers.push(("authorization", header));
                }
                self.http.send(&request)?
            }
        };
        if answer.status != 200 {
            let what = format!("access to {}", endpoint.path);
            return Err(refused(
                answer,
                self.http.clock(),
                &endpoint.host,
                &endpoint.login,
                &what,
            ));
        }
        let body = answer.read(LARGEST_TOKEN)?;
        let body = body.map_err(|error| malformed(&format!("{}: {error}", shown(&url))))?;
        parse_token(&body, self.http.clock().now())
            .ok_or_else(|| malformed("its answer holds no token"))
    }
}

fn parse_token(body: &[u8], now: SystemTime) -> Option<Token> {
    #[derive(serde::Deserialize)]
    struct Body {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let token = body.token.filter(|token| !token.is_empty());
    let token = token.or(body.access_token)?;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    // A day is long enough for any number.
    let life = body.expires_in.unwrap_or(SHORT_LIFE).min(86_400);
    Some(Token {
        header: format!("Bearer {token}"),
        until: Some(now + Duration::from_secs(life)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_and_others_left() {
        let bearer = |scope: Option<&str>| Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry".to_owned()),
            scope: scope.map(str::to_owned),
        };
        assert_eq!(
            challenges(
                r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull""#
            ),
            [bearer(Some("repository:a/b:pull"))]
        );
        assert_eq!(
            challenges(
                r#"Digest realm="x", nonce="y", bearer Realm="https://auth.example/token", Service=registry, Basic realm="z""#
            ),
            [bearer(None), Challenge::Basic]
        );
        for none in [
            "",
            "Bearer",
            "Bearer service=\"x\"",
            "Bearer realm=\"",
            "\u{1}",
            "Negotiate",
        ] {
            assert_eq!(challenges(none), [], "{none:?}");
        }
    }

    #[test]
    fn tokens_are_read_with_their_life() {
        let now = SystemTime::UNIX_EPOCH;
        let token = |text: &str| {
            parse_token(text.as_bytes(), now).map(|token| (token.header, token.until.unwrap()))
        };
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(
            token(r#"{"token":"a"}"#),
            Some(("Bearer a".to_owned(), after(60)))
        );
        assert_eq!(
            token(r#"{"token":"","access_token":"b","expires_in":300}"#),
            Some(("Bearer b".to_owned(), after(300)))
        );
        for none in [
            "",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a\r\nx: y"}"#,
            r#"{"token":7}"#,
        ] {
            assert!(token(none).is_none(), "{none}");
        }
    }
}
