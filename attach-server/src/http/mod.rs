//! What is about requests, whatever they ask for: from the connection they come on to the error they may end with.
//!
//! From the outside in: [`listen`] takes connections (each over a [`socket`]), [`request_id`] names each request, [`observe`] counts it,
//! [`origin`] and [`auth`] say who may pass, [`idempotency`] does nothing twice, [`timeout`] lets nothing take for ever,
//! [`extract`] reads what was sent and checks it against the document ([`schema`]). [`limits`] are limits on how many,
//! [`sse`] streams of events, [`error`] what becomes of errors.

pub(crate) mod auth;
pub(crate) mod error;
pub(crate) mod extract;
pub(crate) mod idempotency;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod observe;
pub(crate) mod origin;
pub(crate) mod request_id;
pub(crate) mod schema;
pub(crate) mod socket;
pub(crate) mod sse;
pub(crate) mod timeout;
