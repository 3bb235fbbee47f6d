//! Who a request comes from, beyond what the connection tells.

pub(crate) mod impersonation;
