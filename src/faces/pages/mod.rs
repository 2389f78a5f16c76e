//! The web page: plain HTML, rendered here, no script. Never inlines an event's data unescaped,
//! never shows a target's path, query or headers.

mod home;
mod login;
mod phrase;
mod render;
mod setup;

pub(crate) use home::home;
pub(crate) use login::{login, login_form, logout};
pub(crate) use render::style;
pub(crate) use setup::{setup, setup_form};
