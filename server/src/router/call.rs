//! How a method is carried out: what a session asks of the router, and what comes back.
//!
//! A method implements one of four traits, by what it does; `methods.rs` lists it with the function of the
//! same name. **What changes the store can only answer with something [`Committed`]**: [`Change`] and
//! [`Ordered`] give nothing else.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Ready, ready};
use posthouse_protocol::{AccountId, ErrorBody, Method, Outgoing, RequestHead, RequestId, Resume, Token};
use serde::Serialize;

use super::outbox::OutboxSender;
use super::{Inner, refused, store_failed};
use crate::admission::Visitor;
use crate::store::{Committed, Origin, Write};

/// The connection that a call comes from.
#[derive(Clone)]
pub struct Wire {
    /// Its name.
    pub origin: Origin,
    /// Its place, and what it may ask for.
    pub visitor: Arc<Visitor>,
    /// Where it goes on, unless `connect` says so itself.
    pub resume: Option<Resume>,
    /// The token of the browser that opened it, unless `connect` brings one itself.
    pub cookie: Option<Token>,
    /// What everybody but the probe is told, where it was let in for the probe's sake alone.
    pub closed_to_others: Option<ErrorBody>,
    /// Where its events go once it is connected.
    pub outbox: OutboxSender,
}

/// Who asks, on which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose session it is.
    pub account_id: AccountId,
    /// The connection.
    pub origin: Origin,
}

/// A method that needs no session.
pub(super) trait Open: Method {
    fn open(inner: &Inner, wire: Wire, params: Self::Params) -> impl Future<Output = Outcome> + Send;
}

/// A method that changes nothing in the store.
pub(super) trait Read: Method {
    /// What serialises to the method's result.
    type Answer: Serialize + Send + 'static;

    /// The record up to which the caller says by this that it has everything, if it does.
    fn caught_up(_params: &Self::Params) -> Option<u64> {
        None
    }

    fn read(
        inner: &Inner,
        caller: Caller,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self::Answer, ErrorBody>> + Send;
}

/// A method that changes the store, at its own pace: it may look something up or hash a password before.
pub(super) trait Change: Method {
    /// Whether the caller may do it so often, where that is bounded beside the number of its requests.
    fn admit(_visitor: &Visitor, _caller: Caller) -> Result<(), ErrorBody> {
        Ok(())
    }

    fn change(
        inner: &Inner,
        caller: Caller,
        params: Self::Params,
    ) -> impl Future<Output = Result<Committed<Self::Result>, ErrorBody>> + Send;
}

/// A method whose calls are carried out in the order in which one connection makes them: its command is made
/// from the parameters without waiting.
pub(super) trait Ordered: Method {
    /// What the writer decides.
    type Command: Write;

    fn command(caller: Caller, params: Self::Params) -> Result<Self::Command, ErrorBody>;

    fn result(output: <Self::Command as Write>::Output) -> Self::Result;
}

/// What a call came to.
pub type Outcome = Result<Answer, ErrorBody>;

/// The rest of a call, once it has its place in the order.
pub type Completion = BoxFuture<'static, Outcome>;

/// A call that has its place, or waits for one.
pub(super) type Begun = Either<Ready<Completion>, BoxFuture<'static, Completion>>;

/// A result on its way to the client. What changed the store comes as [`Committed`].
pub struct Answer {
    result: Box<dyn Frame>,
    /// Set by `connect`: whose session it is from here on, and the record behind which its events begin.
    pub connected: Option<(Caller, u64)>,
    /// The record up to which the client has said that it has everything.
    pub caught_up: Option<u64>,
}

impl Answer {
    /// Of what changed nothing.
    pub(super) fn read<R: Serialize + Send + 'static>(result: R) -> Self {
        Self { result: Box::new(result), connected: None, caught_up: None }
    }

    /// Of what is durable.
    pub(super) fn committed<R: Serialize + Send + 'static>(result: Committed<R>) -> Self {
        Self::read(result.into_inner())
    }

    /// Of `connect`; events begin behind this record.
    pub fn connected<R: Serialize + Send + 'static>(result: R, caller: Caller, begin: u64) -> Self {
        Self { connected: Some((caller, begin)), ..Self::read(result) }
    }

    /// The same, where the client has said that it has everything up to this record.
    pub fn with_caught_up(self, caught_up: Option<u64>) -> Self {
        Self { caught_up, ..self }
    }

    /// The frame that answers the request.
    pub fn into_frame(self, id: RequestId) -> String {
        self.result.frame(id)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("connected", &self.connected).finish_non_exhaustive()
    }
}

/// Any result, to be written into a frame.
trait Frame: Send {
    fn frame(&self, id: RequestId) -> String;
}

impl<R: Serialize + Send> Frame for R {
    fn frame(&self, id: RequestId) -> String {
        let frame = Outgoing::Result { id, result: self };
        serde_json::to_string(&frame).expect("results have string keys and no failing serialisers")
    }
}

/// A request that the session let through, with its parameters read.
pub struct Call {
    work: Box<dyn Work>,
}

impl Call {
    /// Gives the call its place in the order.
    pub(super) fn begin(self, inner: &Arc<Inner>, wire: &Wire) -> Begun {
        self.work.begin(inner, wire)
    }
}

trait Work: Send {
    fn begin(self: Box<Self>, inner: &Arc<Inner>, wire: &Wire) -> Begun;
}

/// A line of the table of methods.
pub struct Entry {
    /// The `method` of requests.
    pub name: &'static str,
    /// How its calls are made.
    pub access: Access,
}

/// Who may call a method, and how its parameters are read.
pub enum Access {
    /// Anybody.
    Open(fn(&RequestHead<'_>) -> Result<Call, ErrorBody>),
    /// Who has a session.
    Connected(fn(&RequestHead<'_>, Caller) -> Result<Call, ErrorBody>),
}

/// Lists an [`Open`] method.
pub(super) const fn open<M: Open + 'static>() -> Entry {
    struct Opening<M: Open>(M::Params);
    impl<M: Open + 'static> Work for Opening<M> {
        fn begin(self: Box<Self>, inner: &Arc<Inner>, wire: &Wire) -> Begun {
            let (inner, wire) = (Arc::clone(inner), wire.clone());
            begun(async move { M::open(&inner, wire, self.0).await })
        }
    }
    Entry { name: M::NAME, access: Access::Open(|head| Ok(Call { work: Box::new(Opening::<M>(head.params::<M>()?)) })) }
}

/// Lists a [`Read`] method.
pub(super) const fn read<M: Read + 'static>() -> Entry {
    struct Reading<M: Read>(Caller, M::Params);
    impl<M: Read + 'static> Work for Reading<M> {
        fn begin(self: Box<Self>, inner: &Arc<Inner>, _wire: &Wire) -> Begun {
            let inner = Arc::clone(inner);
            let caught_up = M::caught_up(&self.1);
            begun(async move {
                let answer = M::read(&inner, self.0, self.1).await?;
                Ok(Answer::read(answer).with_caught_up(caught_up))
            })
        }
    }
    let make = |head: &RequestHead<'_>, caller| -> Result<Call, ErrorBody> {
        Ok(Call { work: Box::new(Reading::<M>(caller, head.params::<M>()?)) })
    };
    Entry { name: M::NAME, access: Access::Connected(make) }
}

/// Lists a [`Change`] method.
pub(super) const fn change<M: Change + 'static>() -> Entry
where
    M::Result: Send,
{
    struct Changing<M: Change>(Caller, M::Params);
    impl<M: Change + 'static> Work for Changing<M>
    where
        M::Result: Send,
    {
        fn begin(self: Box<Self>, inner: &Arc<Inner>, wire: &Wire) -> Begun {
            let (inner, visitor) = (Arc::clone(inner), Arc::clone(&wire.visitor));
            begun(async move {
                M::admit(&visitor, self.0)?;
                M::change(&inner, self.0, self.1).await.map(Answer::committed)
            })
        }
    }
    let make = |head: &RequestHead<'_>, caller| -> Result<Call, ErrorBody> {
        Ok(Call { work: Box::new(Changing::<M>(caller, head.params::<M>()?)) })
    };
    Entry { name: M::NAME, access: Access::Connected(make) }
}

/// Lists an [`Ordered`] method.
pub(super) const fn ordered<M: Ordered + 'static>() -> Entry
where
    M::Result: Send,
{
    struct Ordering<M: Ordered>(M::Command, std::marker::PhantomData<fn() -> M>);
    impl<M: Ordered + 'static> Work for Ordering<M>
    where
        M::Result: Send,
    {
        fn begin(self: Box<Self>, inner: &Arc<Inner>, _wire: &Wire) -> Begun {
            let (pending, waiting) = inner.store.submit(self.0);
            let rest = async move {
                let answer = pending.done().await.map_err(|error| store_failed(&error))?;
                Ok(Answer::committed(answer.map_err(refused)?.map(M::result)))
            };
            match waiting {
                None => begun(rest),
                Some(waiting) => waiting.map(|()| rest.boxed()).boxed().right_future(),
            }
        }
    }
    let make = |head: &RequestHead<'_>, caller| -> Result<Call, ErrorBody> {
        let command = M::command(caller, head.params::<M>()?)?;
        Ok(Call { work: Box::new(Ordering::<M>(command, std::marker::PhantomData)) })
    };
    Entry { name: M::NAME, access: Access::Connected(make) }
}

/// What follows may run beside other calls.
fn begun(rest: impl Future<Output = Outcome> + Send + 'static) -> Begun {
    ready(rest.boxed()).left_future()
}
