//! Who may ask for what, and where it goes.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use posthouse_protocol::appliance::PlainHttp;
use posthouse_protocol::update::{
    ApplyParams, POSTPONED_DAYS_MAX, PostponeParams, UPDATE_PATH, UpdateHistory, UpdateRequest, UpdateState,
};
use posthouse_protocol::{AccountRole, ErrorBody, ErrorCode, Profile, Token, strict};
use posthouse_updater::Sha256;
use serde::de::DeserializeOwned;

use super::Updates;
use super::refusal::Refused;
use super::report::newer;
use super::schedule;
use crate::listener::{Carrier, Visit};
use crate::{body, page};

/// Longest JSON body, in bytes.
const BODY_LEN_MAX: usize = 1024;

/// Where bundles are, by their hashes.
const BUNDLES: &str = "/bundles/";

type Answer = Result<Response<Full<Bytes>>, Refused>;

/// Whether a path is about updates.
pub fn is_ours(path: &str) -> bool {
    below(path).is_some()
}

fn below(path: &str) -> Option<&str> {
    path.strip_prefix(UPDATE_PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What there is.
enum Route {
    Status,
    History,
    Check,
    Apply,
    Rollback,
    Postpone,
    Held(Sha256),
    Take(Sha256),
    Forget(Sha256),
}

impl Route {
    /// The listener lets in what is in the list of routes, so that only what a bundle is called can be wrong here.
    fn of(method: &Method, path: &str) -> Result<Self, Refused> {
        let nothing = Refused::NotFound("there is nothing by that path");
        let rest = below(path).unwrap_or_default();
        if let Some(hash) = rest.strip_prefix(BUNDLES) {
            let hash = hash.parse().map_err(|_| Refused::NotFound("a bundle is named by the SHA-256 of its file"))?;
            return match *method {
                Method::HEAD => Ok(Self::Held(hash)),
                Method::PATCH => Ok(Self::Take(hash)),
                Method::DELETE => Ok(Self::Forget(hash)),
                _ => Err(nothing),
            };
        }
        match (method.as_str(), rest) {
            ("GET" | "HEAD", "") => Ok(Self::Status),
            ("GET" | "HEAD", "/history") => Ok(Self::History),
            ("POST", "/check") => Ok(Self::Check),
            ("POST", "/apply") => Ok(Self::Apply),
            ("POST", "/rollback") => Ok(Self::Rollback),
            ("POST", "/postpone") => Ok(Self::Postpone),
            _ => Err(nothing),
        }
    }

    /// Whether somebody may ask for it.
    fn check_role(&self, role: AccountRole) -> Result<(), Refused> {
        match (self, role) {
            (_, AccountRole::Owner) | (Self::Status | Self::History, AccountRole::Administrator) => Ok(()),
            (Self::Status | Self::History, _) => Err(Refused::Role("the owner and administrators")),
            _ => Err(Refused::Role("the owner")),
        }
    }
}

impl Updates {
    /// Answers a request that is about updates.
    pub(super) async fn respond(self: Arc<Self>, request: Request<Incoming>, visit: Visit) -> Response<Full<Bytes>> {
        match self.answer(request, &visit).await {
            Ok(response) => response,
            Err(refused) => refused.response(),
        }
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>, visit: &Visit) -> Answer {
        let (head, body) = request.into_parts();
        let caller = self.caller(&head.headers, visit).await?;
        let route = Route::of(&head.method, head.uri.path())?;
        route.check_role(caller.role)?;
        let by = caller.username.as_str();
        if matches!(route, Route::Status | Route::History) {
            return Ok(self.shown(&route));
        }
        self.inbox()?;
        match route {
            Route::Held(hash) => self.held(hash),
            Route::Take(hash) => {
                // By itself, so that what has come is written down also where the device has gone.
                let (updates, headers) = (Arc::clone(self), head.headers);
                let taken = tokio::spawn(async move { updates.take(hash, &headers, body).await }).await;
                taken.unwrap_or_else(|panic| Err(Refused::Io(std::io::Error::other(panic))))
            }
            Route::Forget(hash) => self.forget(hash),
            Route::Check => self.check().await,
            Route::Apply => self.apply(read(&head.headers, body).await?, by).await,
            Route::Rollback => self.roll_back(by),
            Route::Postpone => self.postpone(read(&head.headers, body).await?, by),
            Route::Status | Route::History => Ok(self.shown(&route)),
        }
    }

    /// Whose device asks. Everything else comes after that: who has no business here learns nothing.
    async fn caller(&self, headers: &HeaderMap, visit: &Visit) -> Result<Profile, Refused> {
        let refused = |code, message: &str| Refused::Caller(ErrorBody::new(code, message));
        if self.router.owner().borrow().is_none() {
            return Err(refused(ErrorCode::Unclaimed, "nobody owns this box yet: claim it first, at /claim"));
        }
        if visit.carrier == Carrier::Plain && self.plain_http == PlainHttp::Refused {
            let message = "this box wants what is sent to it protected: use https://";
            return Err(refused(ErrorCode::Forbidden, message));
        }
        let now = Instant::now();
        let Some(token) = headers.get(AUTHORIZATION).and_then(|header| bearer(header.to_str().ok()?)) else {
            visit.visitor.request(None, now).map_err(Refused::Caller)?;
            return Err(refused(ErrorCode::NotConnected, "the header Authorization: Bearer takes a device's token"));
        };
        match self.router.device_owner(&token).await {
            Ok(profile) => {
                visit.visitor.request(Some(profile.account_id), now).map_err(Refused::Caller)?;
                Ok(profile)
            }
            Err(error) => {
                visit.visitor.request(None, now).map_err(Refused::Caller)?;
                Err(Refused::Caller(error))
            }
        }
    }

    fn shown(&self, route: &Route) -> Response<Full<Bytes>> {
        match route {
            Route::History => page::json(StatusCode::OK, &UpdateHistory { history: self.state().history }),
            _ => page::json(StatusCode::OK, &self.status()),
        }
    }

    async fn check(&self) -> Answer {
        self.look_now().await?;
        Ok(self.shown(&Route::Status))
    }

    async fn look_now(&self) -> Result<(), Refused> {
        match &self.source {
            Ok(Some(source)) => self.look(source, self.inbox()?).await,
            Ok(None) => Err(Refused::Conflict(
                "no update URL is set (`[updates] url` in posthouse.toml): bring a bundle with `posthouse update push`"
                    .to_owned(),
            )),
            Err(error) => Err(Refused::Conflict(error.to_string())),
        }
    }

    async fn apply(&self, params: ApplyParams, by: &str) -> Answer {
        let state = self.state();
        self.check_idle(&state)?;
        if let Some(bundle) = params.bundle {
            let hash: Sha256 = bundle.parse().map_err(|error| Refused::Odd(format!("bundle: {error}")))?;
            let held = self.inbox()?.held(hash);
            if held.offset == 0 {
                return Err(Refused::NotFound("no such bundle is here: bring it with `posthouse update push`"));
            }
            if !held.is_complete {
                let message = format!("only {} bytes of this bundle are here: send the rest first", held.offset);
                return Err(Refused::Conflict(message));
            }
            tracing::info!(by, %hash, "an update is handed to the updater");
            self.inbox()?.ask(&UpdateRequest::Install { bundle: hash.to_string(), by: by.to_owned() })?;
            return Ok(self.shown(&Route::Status));
        }
        if self.fetching.try_lock().is_ok() {
            self.look_now().await?;
        }
        if newer(&self.kept(), &state).is_none() {
            let message = format!("the update URL has nothing newer than version {}", state.current.version);
            return Err(Refused::Conflict(message));
        }
        self.live().wanted = Some(by.to_owned());
        self.nudge.notify_one();
        Ok(self.shown(&Route::Status))
    }

    fn roll_back(&self, by: &str) -> Answer {
        let state = self.state();
        self.check_idle(&state)?;
        if state.previous.is_none() {
            return Err(Refused::Conflict("there is no version to go back to".to_owned()));
        }
        let needs = self.router.database_needs().map_err(|error| std::io::Error::other(error.to_string()))?;
        tracing::info!(by, "the updater is asked to go back to the version before");
        self.inbox()?.ask(&UpdateRequest::Rollback { by: by.to_owned(), needs })?;
        Ok(self.shown(&Route::Status))
    }

    fn postpone(&self, params: PostponeParams, by: &str) -> Answer {
        let PostponeParams { days } = params;
        if days > POSTPONED_DAYS_MAX {
            return Err(Refused::Odd(format!("days: at most {POSTPONED_DAYS_MAX}")));
        }
        let until = (days > 0).then(|| schedule::in_days(days, (self.senses.now_ms)()));
        tracing::info!(by, days, "updates are not installed by themselves for some days");
        let mut live = self.live();
        let kept = super::kept::Kept { postponed_until_ms: until, ..live.kept.clone() };
        self.keeping.write(&kept)?;
        live.kept = kept;
        drop(live);
        Ok(self.shown(&Route::Status))
    }

    /// Whether the updater has nothing else to do.
    fn check_idle(&self, state: &UpdateState) -> Result<(), Refused> {
        if let Some(trial) = &state.trial {
            let message = format!("version {} is being tried: wait for its verdict", trial.slot.version);
            return Err(Refused::Conflict(message));
        }
        if state.busy || self.inbox()?.is_asked() {
            return Err(Refused::Conflict("another request is being carried out: wait for it".to_owned()));
        }
        Ok(())
    }
}

/// A body that is JSON; an empty one is as `{}`.
async fn read<T: DeserializeOwned>(headers: &HeaderMap, sent: Incoming) -> Result<T, Refused> {
    if !page::is_json(headers) {
        return Err(Refused::MediaType("application/json"));
    }
    let read = body::read(sent, BODY_LEN_MAX).await;
    let bytes = read.map_err(|unread| Refused::Unread { status: unread.status, message: unread.message })?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    strict::from_slice(text).map_err(|error| Refused::Odd(error.to_string()))
}

fn bearer(header: &str) -> Option<Token> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Token(token.trim().to_owned()))
}
